package checkpointstore

import (
	"context"
	"errors"
	"fmt"
)

// What ended a call without a response of the service: a timeout, a deadline, or
// the caller.

// endedBy is what ended a request.
type endedBy int

const (
	byNothing    endedBy = iota
	byTimeout            // the store's Timeout
	byTryTimeout         // the client's TryTimeout, in the last try
	byDeadline           // the deadline of the caller's context
	byCancel             // the caller
)

// timeoutEnded is the cause of a context that the store's Timeout ended.
type timeoutEnded struct{}

func (timeoutEnded) Error() string { return "the store's Timeout ended the call" }

func (timeoutEnded) Unwrap() error { return context.DeadlineExceeded }

// endOf returns what ended a context.
func endOf(ctx context.Context) endedBy {
	switch {
	case ctx.Err() == nil:
		return byNothing
	case context.Cause(ctx) == error(timeoutEnded{}):
		return byTimeout
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return byDeadline
	}
	return byCancel
}

// endedError is the failure of a request that was ended early, with the last
// failure before that.
type endedError struct {
	err    error // the context's, or that of the last try
	by     endedBy
	tries  int
	before error // what was known before, nil if nothing was
}

func (e *endedError) Error() string { return e.err.Error() }

func (e *endedError) Unwrap() []error {
	if e.before == nil {
		return []error{e.err}
	}
	return []error{e.err, e.before}
}

// ended is the error for a context that ended after the failure before, which may
// be nil.
func ended(ctx context.Context, before error) error {
	if before != nil && errors.Is(before, ctx.Err()) {
		return before
	}
	return &endedError{err: ctx.Err(), by: endOf(ctx), before: before}
}

// limitText names the option that ended a request. It is empty if the caller did.
func (s *BlobCheckpointStore) limitText(by endedBy) string {
	switch {
	case by == byTimeout:
		return fmt.Sprintf("the store's Timeout (%s)", s.settings.Timeout)
	case by == byTryTimeout && s.decodesLists: // the store built the client
		return fmt.Sprintf("ClientOptions.Retry.TryTimeout (%s)", s.tryTimeout())
	case by == byTryTimeout:
		return "RetryOptions.TryTimeout of the client"
	}
	return ""
}

// untilText describes the end of a request that had no response.
func (s *BlobCheckpointStore) untilText(e *endedError) string {
	switch limit := s.limitText(e.by); {
	case e.by == byDeadline:
		return "before the deadline of the caller's context"
	case e.by == byCancel:
		return "before the caller canceled the context"
	case e.by == byTryTimeout && e.tries > 1:
		return fmt.Sprintf("within %s, in %d tries", limit, e.tries)
	default:
		return "within " + limit
	}
}

// thenText describes the end of a call that followed another failure.
func (s *BlobCheckpointStore) thenText(e *endedError) string {
	switch e.by {
	case byDeadline:
		return "; then the deadline of the caller's context ended the call"
	case byCancel:
		return "; then the caller canceled the context"
	}
	return "; then " + s.limitText(e.by) + " ended the call"
}
