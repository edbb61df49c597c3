package processor

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/go-amqp"

	"github.com/ea947076/checkpointstore"
)

// The reasons why a handler's context ends. [context.Cause] and ReceiveEvents return
// one of these errors, or an error that wraps one. [errors.Is] finds
// [context.Canceled] in each.
var (
	// ErrStopping: Run is stopping.
	ErrStopping error = &cause{text: "processor: stopping"}

	// ErrPartitionLost: another owner won the partition, another receiver took the
	// link, or the ownership record was deleted or written again by somebody else.
	// The store may still accept a checkpoint.
	ErrPartitionLost error = &cause{text: "processor: partition lost to another owner"}

	// ErrRebalanced: this owner has more than its share of the partitions, and
	// releases this one for another owner when the handler has returned.
	ErrRebalanced error = &cause{text: "processor: partition handed over to another owner"}

	// ErrRewound: somebody rewound the checkpoint. The partition is released, claimed
	// again, and read from the stored position. The error wraps
	// [checkpointstore.ErrRewound], with which the store refuses older checkpoints.
	ErrRewound error = &cause{text: "processor: checkpoint rewound", wraps: checkpointstore.ErrRewound}

	// ErrLinkFailed: the partition's link to Event Hubs failed; the error also wraps
	// the reason.
	ErrLinkFailed error = &cause{text: "processor: link to Event Hubs failed"}

	// ErrRelinquished: the handler returned [Relinquish]; the error also wraps its
	// reason.
	ErrRelinquished error = &cause{text: "processor: partition relinquished by its handler"}

	// ErrOutage: the store could not be listed for Options.MaxOutage.
	ErrOutage error = &cause{text: "processor: store out of reach for too long"}
)

// cause is why a handler's context ended.
type cause struct {
	text  string
	wraps error
}

func (c *cause) Error() string        { return c.text }
func (c *cause) Unwrap() error        { return c.wraps }
func (c *cause) Is(target error) bool { return target == context.Canceled }

// Fatal returns an error that a handler returns to end Run, which then returns err.
// Fatal(nil) is nil.
func Fatal(err error) error {
	if err == nil {
		return nil
	}
	return &fatalError{err}
}

type fatalError struct{ err error }

func (e *fatalError) Error() string { return e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }

// Relinquish returns an error that a handler returns to release the partition, so
// that another owner can try. This owner claims it again after Options.MaxBackoff at
// the earliest. Relinquish(nil) is nil.
func Relinquish(err error) error {
	if err == nil {
		return nil
	}
	return &relinquishError{err}
}

type relinquishError struct{ err error }

func (e *relinquishError) Error() string { return e.err.Error() }
func (e *relinquishError) Unwrap() error { return e.err }

// IsPermanent reports whether the next attempt would fail with the same error. From
// a store, these are: not authorized, no container, an invalid argument. From Event
// Hubs: not authorized, not found, not allowed, disabled. All other errors are
// transient: timeouts, throttling, failures of the service and of the network. Use
// it as Options.StopOn.
func IsPermanent(err error) bool {
	var hub *azeventhubs.Error
	var condition *amqp.Error
	var rpc interface {
		error
		RPCCode() int
	}
	switch {
	case errors.Is(err, checkpointstore.ErrNotAuthorized),
		errors.Is(err, checkpointstore.ErrContainerNotFound),
		errors.Is(err, checkpointstore.ErrInvalidArgument):
		return true
	case errors.As(err, &hub) && hub.Code == azeventhubs.ErrorCodeUnauthorizedAccess:
		return true
	case errors.As(err, &rpc): // an answer of $management or $cbs, with HTTP's codes
		return rpc.RPCCode() == 401 || rpc.RPCCode() == 404
	case errors.As(err, &condition):
		switch condition.Condition {
		case amqp.ErrCondUnauthorizedAccess, amqp.ErrCondNotFound, amqp.ErrCondNotAllowed, "com.microsoft:entity-disabled":
			return true
		}
	}
	return false
}

// isOutage reports whether none of a round's claims was won, for a reason that other
// owners may have as well. The service's answer about a blob, as for one that somebody
// leased, is not.
func isOutage(won []checkpointstore.Ownership, err error) bool {
	if len(won) > 0 {
		return false
	}
	var each *checkpointstore.PartitionErrors
	if !errors.As(err, &each) {
		return err != nil
	}
	return slices.ContainsFunc(each.Errors, func(err *checkpointstore.Error) bool {
		var answer *azcore.ResponseError
		if !errors.As(err, &answer) {
			return true
		}
		switch answer.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestTimeout, http.StatusTooManyRequests:
			return true
		}
		return answer.StatusCode >= 500
	})
}

// isStolen reports whether another receiver took the link.
func isStolen(err error) bool {
	var hub *azeventhubs.Error
	return errors.As(err, &hub) && hub.Code == azeventhubs.ErrorCodeOwnershipLost
}
