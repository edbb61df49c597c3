package checkpointstore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/ea947076/checkpointstore/internal/redact"
)

// requestContext is the context of one request, with all its tries. It observes
// what azcore's pipeline looks up in it, which works with any client, also one
// that the caller built:
//
//   - azcore asks for the additional headers of a request ([policy.WithHTTPHeader])
//     once in every try, below the retries and the credential and above the
//     transport. azcore hides this key from the requests of a credential.
//   - azcore asks where to put the response ([policy.WithCaptureResponse]) when it
//     has the last one, which it otherwise drops if the context ends between two
//     tries.
type requestContext struct {
	context.Context // the call's

	host  string // of the request's URL; if empty, connections are not observed
	hooks httptrace.ClientTrace

	answer   *http.Response  // the last one, once azcore has given up
	captured **http.Response // where somebody above wants it instead

	mu     sync.Mutex // guards what follows
	tries  int
	unsent int  // tries, before this one, for which there was no connection
	ours   bool // the last connection that was asked for is to the request's host
	asked  bool // this try asked for a connection to it
	had    bool // this try had one
}

// headerKey and responseKey have one value each, which only azcore's keys find.
var (
	headerKey   = policy.WithHTTPHeader(context.Background(), http.Header{})
	responseKey = policy.WithCaptureResponse(context.Background(), new(*http.Response))
)

// Value implements [context.Context].
func (r *requestContext) Value(key any) any {
	value := r.Context.Value(key)
	switch {
	case headerKey.Value(key) != nil:
		r.try()
	case responseKey.Value(key) == nil:
	case value == nil:
		return &r.answer
	default:
		r.captured, _ = value.(**http.Response)
	}
	return value
}

// try begins a try.
func (r *requestContext) try() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked && !r.had {
		r.unsent++
	}
	r.tries++
	r.ours, r.asked, r.had = false, false, false
}

// traced is the context with hooks that tell which tries had no connection.
func (r *requestContext) traced() context.Context {
	r.hooks.GetConn = r.getConn
	r.hooks.GotConn = r.gotConn
	return httptrace.WithClientTrace(r, &r.hooks)
}

// getConn takes note that a connection was asked for. A credential may use the
// same context for requests of its own, to other hosts.
func (r *requestContext) getConn(hostPort string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ours = isHostOf(hostPort, r.host)
	r.asked = r.asked || r.ours
}

func (r *requestContext) gotConn(httptrace.GotConnInfo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.had = r.had || r.ours
}

// sent is how many tries may have reached the service: all of them, except those
// whose transport reported that it had no connection to the service. It is not
// known if no try was seen at all.
func (r *requestContext) sent() (n int, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n = r.tries - r.unsent
	if r.asked && !r.had {
		n--
	}
	return n, r.tries > 0
}

// isHostOf reports whether a connection to host:port is one to a URL's host.
func isHostOf(hostPort, host string) bool {
	if len(hostPort) < len(host) || !strings.EqualFold(hostPort[:len(host)], host) {
		return false
	}
	port := hostPort[len(host):]
	return port == "" || port == ":443" || port == ":80"
}

// hostOf is the host of a URL, with the port if it has one.
func hostOf(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}

// endedBy says what ended a request.
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

// endOf says what ended a context.
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

// endedError is the failure of a request that was ended, with the last answer that
// there was before.
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

// ended is the error of a context that ended, after the failure before, which may
// be nil.
func ended(ctx context.Context, before error) error {
	if before != nil && errors.Is(before, ctx.Err()) {
		return before
	}
	return &endedError{err: ctx.Err(), by: endOf(ctx), before: before}
}

// credentialError is the failure of a token credential.
type credentialError struct{ err error }

func (e *credentialError) Error() string { return e.err.Error() }
func (e *credentialError) Unwrap() error { return e.err }

// explain adds to a request's error what azcore leaves out: the last answer if
// the context ended before the next try, what ended the request, and that it was
// the credential that failed.
func (r *requestContext) explain(err error) error {
	if _, answered := err.(*azcore.ResponseError); answered || err == nil {
		return err
	}
	r.mu.Lock()
	tries := r.tries
	r.mu.Unlock()
	by := endOf(r.Context)
	if by == byNothing && wraps(err, func(err error) bool { return err == context.DeadlineExceeded }) {
		by = byTryTimeout
	}
	if by != byNothing {
		e := &endedError{err: err, by: by, tries: tries}
		if answer := r.lastAnswer(); answer != nil && answer.StatusCode >= http.StatusBadRequest {
			e.before = runtime.NewResponseError(answer)
		}
		err = e
	}
	if isCredentialFailure(err, tries) {
		return &credentialError{err}
	}
	return err
}

// lastAnswer is the last response that azcore had, nil if there was none.
func (r *requestContext) lastAnswer() *http.Response {
	if r.answer == nil && r.captured != nil {
		return *r.captured
	}
	return r.answer
}

// isCredentialFailure reports whether an error is that of a token credential. A
// client that the store built marks them. Of other clients, the errors of
// azidentity are recognized by their types, and those of other credentials by
// azcore's mark that they are not worth a retry, before anything was sent.
func isCredentialFailure(err error, tries int) bool {
	const azidentity = "github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	var marked *redact.CredentialError
	var notRetriable interface {
		error
		NonRetriable()
	}
	return errors.As(err, &marked) ||
		wraps(err, func(err error) bool {
			t := reflect.TypeOf(err)
			return t.Kind() == reflect.Pointer && t.Elem().PkgPath() == azidentity
		}) ||
		tries == 0 && errors.As(err, &notRetriable)
}

// wraps reports whether an error, or one that it wraps, is of a kind.
func wraps(err error, is func(error) bool) bool {
	if err == nil {
		return false
	}
	if is(err) {
		return true
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return wraps(e.Unwrap(), is)
	case interface{ Unwrap() []error }:
		for _, cause := range e.Unwrap() {
			if wraps(cause, is) {
				return true
			}
		}
	}
	return false
}

// isCredential reports whether it was the credential that failed.
func isCredential(err error) bool {
	var credential *credentialError
	return errors.As(err, &credential)
}

// answerIn is the service's answer in an error, nil if there is none. What a
// credential's own service answered is none.
func answerIn(err error) *azcore.ResponseError {
	var answer *azcore.ResponseError
	if isCredential(err) || !errors.As(err, &answer) {
		return nil
	}
	return answer
}

// observed makes one request and explains its error.
func observed[T any](ctx context.Context, request func(context.Context) (T, error)) (T, error) {
	r := &requestContext{Context: ctx}
	answer, err := request(r)
	return answer, r.explain(err)
}

// tryTimeout bounds a single try that the store asks for itself, without the
// client's retries: as the options say, of a client that the store built.
func (s *BlobCheckpointStore) tryTimeout() time.Duration {
	if d := s.settings.ClientOptions.Retry.TryTimeout; d != 0 {
		return d
	}
	if s.settings.Timeout < 0 {
		return defaultTryTimeout(DefaultTimeout)
	}
	return defaultTryTimeout(s.settings.Timeout)
}

func defaultTryTimeout(timeout time.Duration) time.Duration { return timeout * 7 / 30 }

// limit names the option that ended a request, empty if it was the caller.
func (s *BlobCheckpointStore) limit(by endedBy) string {
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

// until says when a request ended that had no answer.
func (s *BlobCheckpointStore) until(e *endedError) string {
	switch limit := s.limit(e.by); {
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

// then says what ended a call after something else had failed.
func (s *BlobCheckpointStore) then(e *endedError) string {
	switch e.by {
	case byDeadline:
		return "; then the deadline of the caller's context ended the call"
	case byCancel:
		return "; then the caller canceled the context"
	}
	return "; then " + s.limit(e.by) + " ended the call"
}
