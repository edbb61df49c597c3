package checkpointstore

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ea947076/checkpointstore/internal/layout"
)

// The kinds of failure that a caller can act on. Test for them with
// [errors.Is]; the operation, partition and blob are in [Error].
var (
	// ErrInvalidArgument means that a name, owner ID, ETag, position or option
	// cannot be stored or cannot take effect. Nothing was sent.
	ErrInvalidArgument = errors.New("invalid argument")

	// ErrContainerNotFound means that the container does not exist. The store
	// creates it only in [BlobCheckpointStore.EnsureContainer].
	ErrContainerNotFound = errors.New("container not found")

	// ErrNotAuthorized means that the service refused the credential (401, 403), or
	// a request without one. The text names the cause: the key, the SAS, the clock,
	// a missing permission, or the firewall.
	ErrNotAuthorized = errors.New("not authorized")

	// ErrCredential means that the token credential returned no token, so that the
	// request could not be sent. [errors.As] finds the credential's own error, such
	// as *azidentity.AuthenticationFailedError. It may be temporary, for example if
	// the endpoint of a managed identity does not respond.
	ErrCredential = errors.New("no token")

	// ErrStaleCheckpoint means that the position is behind the stored one and was
	// not stored. Either the partition has another owner now, or updates of one
	// owner arrived out of order. An owner can go on reading.
	ErrStaleCheckpoint = errors.New("stale checkpoint")

	// ErrRewound means that somebody rewound the partition: the update belongs to
	// an earlier generation than the stored checkpoint, and was not stored. Give
	// the partition up, and start again from the stored checkpoint. [errors.Is]
	// also finds [ErrStaleCheckpoint].
	ErrRewound error = rewoundError{}

	// ErrRecordChanged means that the record was written since it was listed, and
	// was not deleted.
	ErrRecordChanged = errors.New("record changed")

	// ErrNotFound means that the partition has no such record.
	ErrNotFound = errors.New("not found")
)

// rewoundError is the type of [ErrRewound].
type rewoundError struct{}

func (rewoundError) Error() string        { return "rewound" }
func (rewoundError) Is(target error) bool { return target == ErrStaleCheckpoint }

// Error is the failure of one operation, on one partition if it is about one. Its
// text is one line and never contains a credential: no SAS, key, token or query
// string.
//
// [errors.Is] finds the sentinel. [errors.As] finds the cause, such as
// *azcore.ResponseError with the service's response, or *url.Error. Both are
// copies, from which credentials and the query are removed.
type Error struct {
	// Op is the method that failed, such as "ClaimOwnership". It is empty for an
	// error of a Validate method or function.
	Op string

	// PartitionID is empty if the operation is not about one partition.
	PartitionID string

	// BlobName is the name of the blob in the container, or the prefix of a list.
	// It is empty if the store does not use blobs or sent nothing.
	BlobName string

	// Detail says what happened and what to do about it.
	Detail string

	// Kind is one of the sentinels of this package, or nil.
	Kind error

	// Err is the cause, or nil.
	Err error
}

// Error returns one line: the operation, partition and blob, and what happened.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("checkpointstore: ")
	if e.Op != "" {
		b.WriteString(e.Op + ": ")
	}
	if e.PartitionID != "" {
		fmt.Fprintf(&b, "partition %s: ", layout.Quote(e.PartitionID))
	}
	if e.BlobName != "" {
		fmt.Fprintf(&b, "blob %q: ", e.BlobName)
	}
	b.WriteString(e.reason())
	return b.String()
}

// reason is the text without operation, partition and blob.
func (e *Error) reason() string {
	switch {
	case e.Kind != nil && e.Detail != "":
		return e.Kind.Error() + ": " + e.Detail
	case e.Kind != nil:
		return e.Kind.Error()
	case e.Detail != "":
		return e.Detail
	case e.Err != nil:
		return oneLine(e.Err.Error())
	}
	return "unknown failure"
}

// Unwrap returns the sentinel and the cause, for [errors.Is] and [errors.As].
func (e *Error) Unwrap() []error {
	var errs []error
	if e.Kind != nil {
		errs = append(errs, e.Kind)
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}

// PartitionErrors has one error for each partition whose claim ClaimOwnership could
// not decide. ClaimOwnership returns it, always as a pointer, together with the
// records that it won.
//
//	won, err := store.ClaimOwnership(ctx, claims, nil)
//	var failed *checkpointstore.PartitionErrors
//	if errors.As(err, &failed) {
//		for _, f := range failed.Errors {
//			log.Print(f.PartitionID, f)
//		}
//	}
type PartitionErrors struct {
	Errors []*Error // one for each partition, in the order asked
}

// Error returns one line: the first partition's error, the number of other
// partitions that failed, and the first of their IDs.
func (e *PartitionErrors) Error() string {
	if len(e.Errors) == 0 {
		return "checkpointstore: no partition failed"
	}
	first, others := e.Errors[0].Error(), e.Errors[1:]
	if len(others) == 0 {
		return first
	}
	const max = 16
	ids := make([]string, 0, max+1)
	for i, f := range others {
		if i == max {
			ids = append(ids, "…")
			break
		}
		ids = append(ids, layout.Quote(f.PartitionID))
	}
	return fmt.Sprintf("%s (%d more failed: partition %s)", first, len(others), strings.Join(ids, ", "))
}

// Unwrap returns every partition's error, for [errors.Is] and [errors.As].
func (e *PartitionErrors) Unwrap() []error {
	errs := make([]error, len(e.Errors))
	for i, f := range e.Errors {
		errs[i] = f
	}
	return errs
}

// withOp sets the method of an [Error] that a Validate function returned.
func withOp(op string, err error) error {
	var e *Error
	if errors.As(err, &e) {
		e.Op = op
	}
	return err
}

// oneLine folds white space, replaces characters that do not print and cuts long
// texts: text from elsewhere must not forge lines in a log or colours on a
// terminal.
func oneLine(s string) string {
	const max = 600
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > max {
		s = strings.ToValidUTF8(s[:max], "") + "…"
	}
	return printable(s)
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, s)
}
