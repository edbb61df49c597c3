package checkpointstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
)

// requireNoSecret checks a whole tree of errors, and that it is told in one line.
func requireNoSecret(t *testing.T, err error) {
	t.Helper()
	var walk func(error)
	walk = func(err error) {
		if err == nil {
			return
		}
		for _, secret := range []string{"c2VjcmV0", "secret-token", "sig="} {
			require.NotContains(t, err.Error(), secret, "%T", err)
		}
		switch u := err.(type) {
		case interface{ Unwrap() error }:
			walk(u.Unwrap())
		case interface{ Unwrap() []error }:
			for _, e := range u.Unwrap() {
				walk(e)
			}
		}
	}
	walk(err)
	require.NotContains(t, err.Error(), "\n", "one line")
}

func TestCausesStayReachable(t *testing.T) {
	service := fake.New()
	service.Inject(fake.Forbidden())
	store := blobtest.NewStore(t, service, nil)
	_, err := store.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
	require.ErrorIs(t, err, checkpointstore.ErrNotAuthorized)
	var answer *azcore.ResponseError
	require.ErrorAs(t, err, &answer)
	require.Equal(t, 403, answer.StatusCode)
	var e *checkpointstore.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "ListCheckpoints", e.Op)
	require.Equal(t, blobtest.CheckpointPrefix, e.BlobName)
}

func TestTextsOfErrors(t *testing.T) {
	one := &checkpointstore.Error{Op: "X", PartitionID: "0", BlobName: "b", Kind: checkpointstore.ErrNotFound, Detail: "d"}
	cause := &checkpointstore.Error{Op: "X", Err: errors.New("two\nlines")}
	many := make([]*checkpointstore.Error, 20)
	for i := range many {
		many[i] = &checkpointstore.Error{Op: "X", PartitionID: fmt.Sprint(i), Detail: "d"}
	}
	for want, err := range map[string]error{
		`checkpointstore: X: partition "0": blob "b": not found: d`:                one,
		`checkpointstore: X: two lines`:                                            cause,
		`checkpointstore: X: not found`:                                            &checkpointstore.Error{Op: "X", Kind: checkpointstore.ErrNotFound},
		`checkpointstore: X: unknown failure`:                                      &checkpointstore.Error{Op: "X"},
		`checkpointstore: no partition failed`:                                     &checkpointstore.PartitionErrors{},
		`checkpointstore: X: partition "0": d`:                                     &checkpointstore.PartitionErrors{Errors: many[:1]},
		`checkpointstore: X: partition "0": d (2 more failed: partition "1", "2")`: &checkpointstore.PartitionErrors{Errors: many[:3]},
		`checkpointstore: X: partition "` + strings.Repeat("a", 64) + `…": d`:      &checkpointstore.Error{Op: "X", PartitionID: strings.Repeat("a", 1000), Detail: "d"},
	} {
		require.Equal(t, want, err.Error())
	}
	require.Contains(t, (&checkpointstore.PartitionErrors{Errors: many}).Error(), `"16", …)`)
}
