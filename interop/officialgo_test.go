package interop_test

import (
	"context"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2/checkpoints"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
)

// officialStore adapts the official Go store, whose types differ from ours in name only.
type officialStore struct{ store *checkpoints.BlobStore }

func openOfficial(t *testing.T, tc testContainer) checkpointstore.CheckpointStore {
	t.Helper()
	store, err := checkpoints.NewBlobStore(tc.client, nil)
	require.NoError(t, err)
	return officialStore{store}
}

func (s officialStore) ListOwnership(ctx context.Context, namespace, hub, group string, _ *checkpointstore.ListOwnershipOptions) ([]checkpointstore.Ownership, error) {
	found, err := s.store.ListOwnership(ctx, namespace, hub, group, nil)
	return fromOfficial(found), err
}

func (s officialStore) ClaimOwnership(ctx context.Context, claims []checkpointstore.Ownership, _ *checkpointstore.ClaimOwnershipOptions) ([]checkpointstore.Ownership, error) {
	asked := make([]azeventhubs.Ownership, 0, len(claims))
	for _, c := range claims {
		asked = append(asked, azeventhubs.Ownership(c))
	}
	won, err := s.store.ClaimOwnership(ctx, asked, nil)
	return fromOfficial(won), err
}

func fromOfficial(ownerships []azeventhubs.Ownership) []checkpointstore.Ownership {
	var all []checkpointstore.Ownership
	for _, o := range ownerships {
		all = append(all, checkpointstore.Ownership(o))
	}
	return all
}

func (s officialStore) UpdateCheckpoint(ctx context.Context, c checkpointstore.Checkpoint, _ *checkpointstore.UpdateCheckpointOptions) error {
	return s.store.SetCheckpoint(ctx, azeventhubs.Checkpoint(c), nil)
}

func (s officialStore) ListCheckpoints(ctx context.Context, namespace, hub, group string, _ *checkpointstore.ListCheckpointsOptions) ([]checkpointstore.Checkpoint, error) {
	found, err := s.store.ListCheckpoints(ctx, namespace, hub, group, nil)
	var all []checkpointstore.Checkpoint
	for _, c := range found {
		all = append(all, checkpointstore.Checkpoint(c))
	}
	return all, err
}
