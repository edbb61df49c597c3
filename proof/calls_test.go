package proof

import (
	"context"
	"log/slog"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
)

// publicCall is one public call of a store, in a situation that it finds.
type publicCall struct {
	name    string
	options checkpointstore.BlobCheckpointStoreOptions
	prepare func(*testing.T, *fakeblob.Service, *checkpointstore.BlobCheckpointStore)
	call    func(context.Context, *checkpointstore.BlobCheckpointStore) error
	// holds is asked after the call, which was cancelled or not.
	holds func(*testing.T, *fakeblob.Service, error)
}

// Names that are spelled otherwise in the store, so that it looks twice.
const spelled = "$Default"

func fill(n int) func(*testing.T, *fakeblob.Service, *checkpointstore.BlobCheckpointStore) {
	return func(_ *testing.T, service *fakeblob.Service, _ *checkpointstore.BlobCheckpointStore) {
		service.SetPageSize(2)
		for i := range n {
			service.Put(ownershipPrefix+strconv.Itoa(i), map[string]string{"ownerid": "other"})
			for _, group := range []string{"$default", spelled} {
				prefix := namespace + "/" + eventHub + "/" + group
				service.Put(prefix+"/ownership/"+strconv.Itoa(i), map[string]string{"ownerid": "other"})
				service.Put(prefix+"/checkpoint/"+strconv.Itoa(i), map[string]string{"sequencenumber": "5", "offset": ""})
			}
		}
	}
}

// readCalls are the calls that change nothing.
func readCalls() []publicCall {
	warning := checkpointstore.BlobCheckpointStoreOptions{Logger: slog.New(slog.NewTextHandler(discard{}, nil))}
	return []publicCall{
		{name: "ListOwnership, three pages", prepare: fill(5), call: func(ctx context.Context, s *checkpointstore.BlobCheckpointStore) error {
			_, err := s.ListOwnership(ctx, namespace, eventHub, group, nil)
			return err
		}},
		{name: "ListOwnership, two spellings", options: warning, prepare: fill(3), call: func(ctx context.Context, s *checkpointstore.BlobCheckpointStore) error {
			_, err := s.ListOwnership(ctx, namespace, eventHub, spelled, nil)
			return err
		}},
		{name: "ListCheckpoints", prepare: fill(3), call: func(ctx context.Context, s *checkpointstore.BlobCheckpointStore) error {
			_, err := s.ListCheckpoints(ctx, namespace, eventHub, spelled, nil)
			return err
		}},
		{name: "GetOwnership", prepare: fill(1), call: func(ctx context.Context, s *checkpointstore.BlobCheckpointStore) error {
			_, err := s.GetOwnership(ctx, namespace, eventHub, group, "0", nil)
			return err
		}},
		{name: "GetCheckpoint", prepare: fill(1), call: func(ctx context.Context, s *checkpointstore.BlobCheckpointStore) error {
			_, err := s.GetCheckpoint(ctx, namespace, eventHub, spelled, "0", nil)
			return err
		}},
		{name: "EnsureContainer", call: func(ctx context.Context, s *checkpointstore.BlobCheckpointStore) error {
			return s.EnsureContainer(ctx, nil)
		}},
	}
}

// updateCalls write a checkpoint at 100.
func updateCalls() []publicCall {
	update := func(ctx context.Context, s *checkpointstore.BlobCheckpointStore) error {
		return s.UpdateCheckpoint(ctx, checkpointAt("0", 100), nil)
	}
	stored := func(t *testing.T, service *fakeblob.Service, err error) {
		if b, _ := service.Get(checkpointPrefix + "0"); err == nil {
			require.Equal(t, "100", b.Metadata["sequencenumber"])
		}
	}
	written := func(t *testing.T, _ *fakeblob.Service, s *checkpointstore.BlobCheckpointStore) {
		require.NoError(t, s.UpdateCheckpoint(context.Background(), checkpointAt("0", 90), nil))
	}
	return []publicCall{
		{name: "UpdateCheckpoint, first", call: update, holds: stored},
		{name: "UpdateCheckpoint, steady", prepare: written, call: update, holds: stored},
		{name: "UpdateCheckpoint, somebody else wrote", call: update, holds: stored,
			prepare: func(t *testing.T, service *fakeblob.Service, s *checkpointstore.BlobCheckpointStore) {
				written(t, service, s)
				service.Put(checkpointPrefix+"0", map[string]string{"sequencenumber": "95", "offset": ""})
			}},
		{name: "UpdateCheckpoint, deleted", call: update, holds: stored,
			prepare: func(t *testing.T, service *fakeblob.Service, s *checkpointstore.BlobCheckpointStore) {
				written(t, service, s)
				service.Delete(checkpointPrefix + "0")
			}},
		{name: "UpdateCheckpoint, without an answer", options: noRetries(), call: update, holds: stored,
			prepare: func(_ *testing.T, service *fakeblob.Service, _ *checkpointstore.BlobCheckpointStore) {
				service.Inject(faults.ApplyThenStatus(500, "InternalError").On(faults.OpIs(faults.PutBlob)).Once())
			}},
		{name: "UpdateCheckpoint, unfenced", options: checkpointstore.BlobCheckpointStoreOptions{DisableFencing: true}, call: update, holds: stored},
	}
}

func noRetries() (o checkpointstore.BlobCheckpointStoreOptions) {
	o.ClientOptions.Retry.MaxRetries = -1
	return o
}
