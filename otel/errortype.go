package otel

import (
	"context"
	"errors"
	"net"
	"strconv"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/processor"
)

// errorKinds are the values of error.type for errors that callers can test for. The
// first one that errors.Is finds counts.
var errorKinds = []struct {
	err  error
	kind string
}{
	{checkpointstore.ErrRewound, "rewound"},
	{checkpointstore.ErrStaleCheckpoint, "stale_checkpoint"},
	{checkpointstore.ErrInvalidArgument, "invalid_argument"},
	{checkpointstore.ErrContainerNotFound, "container_not_found"},
	{checkpointstore.ErrNotAuthorized, "not_authorized"},
	{checkpointstore.ErrCredential, "credential"},
	{processor.ErrPartitionLost, "partition_lost"},
	{processor.ErrRebalanced, "rebalanced"},
	{processor.ErrOutage, "outage"},
	{processor.ErrStopping, "stopping"},
	{context.DeadlineExceeded, "timeout"},
}

// errorType returns a short name for the kind of an error, from a small set: the value
// of error.type. In this order: what a method ErrorType of the error says, the kinds
// of this module, the code of the storage service or of azeventhubs, the Go type.
func errorType(err error) string {
	var named interface{ ErrorType() string }
	if errors.As(err, &named) && named.ErrorType() != "" {
		return named.ErrorType()
	}
	for _, k := range errorKinds {
		if errors.Is(err, k.err) {
			return k.kind
		}
	}
	var response *azcore.ResponseError
	var hub *azeventhubs.Error
	var network net.Error
	var own *checkpointstore.Error
	switch {
	case errors.As(err, &response) && response.ErrorCode != "":
		return response.ErrorCode
	case response != nil:
		return strconv.Itoa(response.StatusCode)
	case errors.As(err, &hub):
		return string(hub.Code)
	case errors.As(err, &network) && network.Timeout():
		return "timeout"
	case errors.Is(err, processor.ErrRelinquished):
		return "relinquished"
	case errors.Is(err, processor.ErrLinkFailed):
		return "link_failed"
	case errors.Is(err, context.Canceled): // also found in the causes of the processor
		return "canceled"
	case errors.As(err, &own) && own.Err != nil:
		return errorType(own.Err)
	}
	return semconv.ErrorType(err).Value.AsString()
}
