package interop_test

import (
	"context"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2/checkpoints"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/azurite"
)

const namespace = "mynamespace.servicebus.windows.net"

// scope is what a consumer was told to read, as typed.
type scope struct{ hub, group string }

func (s scope) String() string { return s.hub + "/" + s.group }

func (s scope) lower() scope { return scope{strings.ToLower(s.hub), strings.ToLower(s.group)} }

// blob is the name of a blob under exactly this spelling.
func (s scope) blob(kind, partition string) string {
	return namespace + "/" + s.hub + "/" + s.group + "/" + kind + "/" + partition
}

// scopes are names that are in lower case anyway, the default group, and a hub in mixed case with it.
func scopes() []scope {
	return []scope{{"myhub", "mygroup"}, {"myhub", "$Default"}, {"MyHub", "$Default"}}
}

// box is a container of its own.
type box struct {
	name   string
	client *container.Client
}

func newBox(t *testing.T) box {
	t.Helper()
	name := azurite.NewContainerName(t)
	client, err := container.NewClientFromConnectionString(azurite.Shared(t).ConnectionString(), name, nil)
	require.NoError(t, err)
	_, err = client.Create(t.Context(), nil)
	require.NoError(t, err)
	return box{name, client}
}

// party is a store that takes part: ours, with some options, or that of another package.
type party struct {
	name string
	need func(*testing.T) // skips the test if the party is left out
	open func(*testing.T, box) checkpointstore.CheckpointStore

	// Which spellings of a scope it writes and reads.
	writesTyped, readsTyped, readsLower bool
}

// reads tells whether the party, told of the scope, finds what another one writes that was told the same.
func (p party) reads(s scope, writer party) bool {
	if s == s.lower() {
		return true
	}
	if writer.writesTyped {
		return p.readsTyped
	}
	return p.readsLower
}

func always(*testing.T) {}

// ours is our store with its defaults, which is what the other tests are about.
func ours() party { return oursWith("ours", nil, party{readsTyped: true, readsLower: true}) }

func oursVerbatim() party {
	return oursWith("ours, Verbatim", &checkpointstore.BlobCheckpointStoreOptions{BlobNaming: checkpointstore.BlobNamingVerbatim},
		party{writesTyped: true, readsTyped: true})
}

func oursIgnoring() party {
	return oursWith("ours, IgnoreVerbatimNames", &checkpointstore.BlobCheckpointStoreOptions{IgnoreVerbatimNames: true}, party{readsLower: true})
}

func oursWith(name string, options *checkpointstore.BlobCheckpointStoreOptions, p party) party {
	p.name, p.need = name, always
	p.open = func(t *testing.T, b box) checkpointstore.CheckpointStore {
		t.Helper()
		store, err := checkpointstore.NewBlobCheckpointStore(b.client, options)
		require.NoError(t, err)
		return store
	}
	return p
}

// oursBeside is our store as one would configure it to share partitions with the party.
func oursBeside(p party) party {
	if p.writesTyped {
		return oursVerbatim()
	}
	return ours()
}

func officialGo() party {
	return party{name: "official Go", need: always, writesTyped: true, readsTyped: true, open: func(t *testing.T, b box) checkpointstore.CheckpointStore {
		t.Helper()
		store, err := checkpoints.NewBlobStore(b.client, nil)
		require.NoError(t, err)
		return officialStore{store}
	}}
}

func driven(name string, need func(*testing.T), d *driver) party {
	return party{name: name, need: need, readsLower: true, open: func(t *testing.T, b box) checkpointstore.CheckpointStore {
		t.Helper()
		return d.open(t, b.name)
	}}
}

// peers are the stores of other packages.
func peers() []party {
	return []party{
		officialGo(),
		driven("JavaScript", always, &javaScript),
		driven("Python", needPython, &python),
		driven("Python aio", needPython, &pythonAIO),
	}
}

// officialStore is the official Go store, whose types and method names differ from ours in name only.
type officialStore struct{ store *checkpoints.BlobStore }

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

// seat is a store with the names that it was told: one consumer.
type seat struct {
	t     *testing.T
	store checkpointstore.CheckpointStore
	scope scope
	owner string
}

func (p party) sit(t *testing.T, b box, s scope) seat {
	t.Helper()
	return seat{t, p.open(t, b), s, "owner-" + strings.ReplaceAll(p.name, " ", "-")}
}

// at is a checkpoint whose offset is a hundred times its sequence number.
func (s seat) at(partition string, sequenceNumber int64) checkpointstore.Checkpoint {
	return s.checkpoint(partition, sequenceNumber, to.Ptr(offsetOf(sequenceNumber)))
}

func (s seat) checkpoint(partition string, sequenceNumber int64, offset *string) checkpointstore.Checkpoint {
	return checkpointstore.Checkpoint{
		FullyQualifiedNamespace: namespace, EventHubName: s.scope.hub, ConsumerGroup: s.scope.group,
		PartitionID: partition, SequenceNumber: &sequenceNumber, Offset: offset,
	}
}

// update stores a position.
func (s seat) update(partition string, sequenceNumber int64) {
	s.t.Helper()
	require.NoError(s.t, s.store.UpdateCheckpoint(s.t.Context(), s.at(partition, sequenceNumber), nil))
}

// checkpoints are the checkpoints of the scope.
func (s seat) checkpoints() []checkpointstore.Checkpoint {
	s.t.Helper()
	found, err := s.list()
	require.NoError(s.t, err)
	return found
}

func (s seat) list() ([]checkpointstore.Checkpoint, error) {
	return s.store.ListCheckpoints(s.t.Context(), namespace, s.scope.hub, s.scope.group, nil)
}

// owned are the ownerships of the scope by partition.
func (s seat) owned() map[string]checkpointstore.Ownership {
	s.t.Helper()
	found, err := s.store.ListOwnership(s.t.Context(), namespace, s.scope.hub, s.scope.group, nil)
	require.NoError(s.t, err)
	byPartition := make(map[string]checkpointstore.Ownership)
	for _, o := range found {
		require.NotContains(s.t, byPartition, o.PartitionID, "listed twice")
		byPartition[o.PartitionID] = o
	}
	return byPartition
}

// owners are the owner ids of the scope by partition.
func (s seat) owners() map[string]string {
	s.t.Helper()
	owners := make(map[string]string)
	for partition, o := range s.owned() {
		owners[partition] = o.OwnerID
	}
	return owners
}

// first is a claim on partitions that nobody ever owned.
func (s seat) first(partitions ...string) []checkpointstore.Ownership {
	var claims []checkpointstore.Ownership
	for _, partition := range partitions {
		claims = append(claims, checkpointstore.Ownership{
			FullyQualifiedNamespace: namespace, EventHubName: s.scope.hub, ConsumerGroup: s.scope.group,
			PartitionID: partition, OwnerID: s.owner,
		})
	}
	return claims
}

// claim claims for this consumer, on the states given, and returns what it won.
func (s seat) claim(on ...checkpointstore.Ownership) []checkpointstore.Ownership {
	s.t.Helper()
	return s.claimFor(s.owner, on)
}

// relinquish frees a partition.
func (s seat) relinquish(held checkpointstore.Ownership) {
	s.t.Helper()
	require.Len(s.t, s.claimFor("", []checkpointstore.Ownership{held}), 1, "relinquish")
}

func (s seat) claimFor(owner string, on []checkpointstore.Ownership) []checkpointstore.Ownership {
	s.t.Helper()
	claims := append([]checkpointstore.Ownership(nil), on...)
	for i := range claims {
		claims[i].OwnerID = owner
	}
	won, err := s.store.ClaimOwnership(s.t.Context(), claims, nil)
	require.NoError(s.t, err)
	return won
}

// win claims one partition, which must succeed.
func (s seat) win(on checkpointstore.Ownership) checkpointstore.Ownership {
	s.t.Helper()
	won := s.claim(on)
	require.Len(s.t, won, 1, "%s claims partition %s", s.owner, on.PartitionID)
	require.NotNil(s.t, won[0].ETag)
	return won[0]
}

// lose claims one partition, which must fail without an error.
func (s seat) lose(on checkpointstore.Ownership) {
	s.t.Helper()
	require.Empty(s.t, s.claim(on), "%s claims partition %s", s.owner, on.PartitionID)
}

func offsetOf(sequenceNumber int64) string { return itoa(sequenceNumber * 100) }
