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
	// ErrInvalidArgument: a name, owner id, ETag, position or option that cannot
	// be stored or cannot take effect. Nothing was sent.
	ErrInvalidArgument = errors.New("invalid argument")

	// ErrContainerNotFound: the container does not exist. The store creates it
	// only when asked to, see [BlobCheckpointStore.EnsureContainer].
	ErrContainerNotFound = errors.New("container not found")

	// ErrNotAuthorized: the service refused the credential (401, 403), or a
	// request without one. The text says which of its causes it is: the key, the
	// SAS, the time, a missing permission, the firewall.
	ErrNotAuthorized = errors.New("not authorized")

	// ErrCredential: the token credential gave no token, so the request could not
	// be sent. [errors.As] finds the credential's own error, such as
	// *azidentity.AuthenticationFailedError. It may pass, as when the endpoint of
	// a managed identity does not answer.
	ErrCredential = errors.New("no token")

	// ErrStaleCheckpoint: the position is behind the stored one and was not stored.
	// Either the partition has another owner now, or updates of one owner arrived
	// out of order. An owner can go on reading.
	ErrStaleCheckpoint = errors.New("stale checkpoint")

	// ErrRewound: the update belongs to an earlier generation than the stored
	// checkpoint, because somebody rewound the partition, and was not stored. Give
	// the partition up, and start again from what is stored. [errors.Is] finds
	// [ErrStaleCheckpoint] in it as well.
	ErrRewound error = rewoundError{}

	// ErrRecordChanged: the record was written since it was listed, so it was not
	// deleted.
	ErrRecordChanged = errors.New("record changed")

	// ErrNotFound: the partition has no such record.
	ErrNotFound = errors.New("not found")
)

// rewoundError is the type of [ErrRewound].
type rewoundError struct{}

func (rewoundError) Error() string        { return "rewound" }
func (rewoundError) Is(target error) bool { return target == ErrStaleCheckpoint }

// Error is the failure of one operation, on one partition where there is one.
// Its text is one line and never holds a credential: no SAS, no key, no token,
// no query string.
//
// [errors.Is] finds the sentinel and [errors.As] the cause, among others
// *azcore.ResponseError with the service's answer. No cause holds a credential
// either: this one and *url.Error are copies without it, and without the query.
type Error struct {
	// Op is the method that failed: "ClaimOwnership". Empty for what a Validate
	// method or function found.
	Op string

	// PartitionID is empty where the operation is not about one partition.
	PartitionID string

	// BlobName is the name of the blob in the container, or the prefix that was
	// listed. Empty where the store does not use blobs, or nothing was sent.
	BlobName string

	// Detail says in words what happened and what to do about it.
	Detail string

	// Kind is one of the sentinels of this package, or nil.
	Kind error

	// Err is the cause, or nil.
	Err error
}

// Error returns one line: operation, partition, blob, what happened.
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

// reason is the text without the place: the kind, then the detail.
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

// Unwrap gives the sentinel and the cause to [errors.Is] and [errors.As].
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

// PartitionErrors says which partitions one ClaimOwnership call could not decide.
// It comes together with the records that were won, and always as a pointer, so
// that it compares like any other error.
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

// Error returns one line: how many partitions failed, the first one's reason,
// and which others there are.
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

// Unwrap gives every partition's error to [errors.Is] and [errors.As].
func (e *PartitionErrors) Unwrap() []error {
	errs := make([]error, len(e.Errors))
	for i, f := range e.Errors {
		errs[i] = f
	}
	return errs
}

// withOp puts the method into an [Error] that has none yet.
func withOp(op string, err error) error {
	var e *Error
	if errors.As(err, &e) {
		e.Op = op
	}
	return err
}

// oneLine folds white space, replaces what does not print and cuts what is long:
// a text that somebody else wrote cannot forge lines in a log, nor colours on a
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
