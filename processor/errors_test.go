package processor_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/go-amqp"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/processor"
)

// rpcError is as azeventhubs has one of $management.
type rpcError struct{ code int }

func (e rpcError) Error() string { return fmt.Sprint(e.code) }
func (e rpcError) RPCCode() int  { return e.code }

func TestIsPermanent(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("no route to host"), false},
		{context.DeadlineExceeded, false},
		{&checkpointstore.Error{}, false},
		{&checkpointstore.Error{Kind: checkpointstore.ErrStaleCheckpoint}, false},
		{&checkpointstore.Error{Kind: checkpointstore.ErrNotAuthorized}, true},
		{&checkpointstore.Error{Kind: checkpointstore.ErrContainerNotFound}, true},
		{&checkpointstore.PartitionErrors{Errors: []*checkpointstore.Error{{Kind: checkpointstore.ErrInvalidArgument}}}, true},
		{&checkpointstore.Error{Kind: checkpointstore.ErrCredential}, false},
		{&azeventhubs.Error{Code: azeventhubs.ErrorCodeConnectionLost}, false},
		{&azeventhubs.Error{Code: azeventhubs.ErrorCodeOwnershipLost}, false},
		{fmt.Errorf("open: %w", &azeventhubs.Error{Code: azeventhubs.ErrorCodeUnauthorizedAccess}), true},
		{rpcError{401}, true},
		{rpcError{404}, true},
		{rpcError{503}, false},
		{&amqp.Error{Condition: amqp.ErrCondNotFound}, true},
		{&amqp.Error{Condition: amqp.ErrCondNotAllowed}, true},
		{&amqp.Error{Condition: "com.microsoft:entity-disabled"}, true},
		{&amqp.Error{Condition: amqp.ErrCondInternalError}, false},
	} {
		require.Equal(t, c.want, processor.IsPermanent(c.err), "%v", c.err)
	}
}

func TestCausesAreCanceled(t *testing.T) {
	for _, err := range []error{
		processor.ErrStopping, processor.ErrPartitionLost, processor.ErrRebalanced,
		processor.ErrRewound, processor.ErrLinkFailed, processor.ErrOutage,
	} {
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
	}
	require.ErrorIs(t, processor.ErrRewound, checkpointstore.ErrRewound)
	require.NotErrorIs(t, processor.ErrStopping, processor.ErrPartitionLost)
}
