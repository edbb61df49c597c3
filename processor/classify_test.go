package processor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"syscall"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
)

func TestLasting(t *testing.T) {
	of := func(kind error) error { return &checkpointstore.Error{Op: "ListOwnership", Kind: kind} }
	for _, c := range []struct {
		name string
		err  error
		want bool
	}{
		{"nil", nil, false},
		{"not authorized", of(checkpointstore.ErrNotAuthorized), true},
		{"container missing", of(checkpointstore.ErrContainerNotFound), true},
		{"invalid argument", of(checkpointstore.ErrInvalidArgument), true},
		{"wrapped", fmt.Errorf("outside: %w", of(checkpointstore.ErrNotAuthorized)), true},
		{"one partition of several", &checkpointstore.PartitionErrors{Errors: []*checkpointstore.Error{{Err: errBusy}, {Kind: checkpointstore.ErrNotAuthorized}}}, true},
		{"not found", of(checkpointstore.ErrNotFound), false},
		{"stale", of(checkpointstore.ErrStaleCheckpoint), false},
		{"timeout", context.DeadlineExceeded, false},
		{"throttled", &azcore.ResponseError{StatusCode: http.StatusTooManyRequests}, false},
		{"server busy", &azcore.ResponseError{StatusCode: http.StatusServiceUnavailable}, false},
		{"network", fmt.Errorf("read: %w", syscall.ECONNRESET), false},
		{"unknown", errors.New("?"), false},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, Lasting(c.err)) })
	}
}
