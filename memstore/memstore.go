// Package memstore is a checkpoint store in memory. It implements
// [checkpointstore.CheckpointStore] without a service, for tests, examples and
// single processes that need not resume after they end.
//
// It decides about claims and checkpoints as the blob store does, and refuses the
// same stale checkpoints. To simulate a second process, use [Store.Share]: it
// returns a store on the same records, with its own memory of what it claimed and
// wrote.
package memstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/fence"
	"github.com/ea947076/checkpointstore/internal/layout"
)

// Store is a [checkpointstore.CheckpointStore] in memory. Create it with [New] or
// [NewWithClock]. It is safe for concurrent use.
type Store struct {
	*records
	fences  map[key]*fence.Partition // guarded by records.mu
	writers map[key]string           // the owner ID of the last claim won; guarded by records.mu
}

var _ checkpointstore.CheckpointStore = (*Store)(nil)

// records are what the stores on the same data share.
type records struct {
	now func() time.Time

	mu          sync.Mutex
	writes      uint64 // how many there were, which makes every ETag another
	ownerships  map[key]ownership
	checkpoints map[key]checkpoint
}

// key identifies a partition: the scope in lower case, and the partition ID as it
// is.
type key struct {
	scope     layout.Scope
	partition string
}

type ownership struct {
	etag, ownerID string
	modified      time.Time
}

type checkpoint struct {
	etag           string
	sequenceNumber int64
	hasOffset      bool
	offset         string
	generation     int64
	enqueuedTime   *time.Time
	clientID       string
	modified       time.Time
}

// New returns an empty store that takes LastModifiedTime from the system's clock.
func New() *Store { return NewWithClock(time.Now) }

// NewWithClock returns an empty store that takes LastModifiedTime from now, so that
// tests can let ownerships expire. The store converts the time to UTC. It holds its
// lock while it calls now, so now must not call the store.
func NewWithClock(now func() time.Time) *Store {
	return newStore(&records{
		now:         now,
		ownerships:  make(map[key]ownership),
		checkpoints: make(map[key]checkpoint),
	})
}

// Share returns another store on the same records, like that of a second process:
// each store lists what the other writes, but remembers for itself what it claimed
// and wrote, and refuses stale checkpoints by that.
func (s *Store) Share() *Store { return newStore(s.records) }

func newStore(r *records) *Store {
	return &Store{records: r, fences: make(map[key]*fence.Partition), writers: make(map[key]string)}
}

// partition returns what this store remembers of a partition. The caller holds the
// lock.
func (s *Store) partition(k key) *fence.Partition {
	p := s.fences[k]
	if p == nil {
		p = new(fence.Partition)
		s.fences[k] = p
	}
	return p
}

// nextETag returns the ETag of the next write, which no other write has. The caller
// holds the lock.
func (r *records) nextETag() string {
	r.writes++
	return fmt.Sprintf(`"0x%X"`, r.writes)
}

func makeKey(namespace, eventHub, consumerGroup, partition string) key {
	scope := layout.Scope{Namespace: namespace, EventHub: eventHub, ConsumerGroup: consumerGroup}
	return key{scope.Lower(), partition}
}

// byPartition sorts a list by partition, so that tests see the same order every
// time.
func byPartition[T any](list []T, partition func(T) string) {
	slices.SortFunc(list, func(a, b T) int { return cmp.Compare(partition(a), partition(b)) })
}

func toETag(text string) *azcore.ETag {
	etag := azcore.ETag(text)
	return &etag
}

// withOp returns a copy, with the method in it, of an error that a Validate
// function returned.
func withOp(op string, err error) error {
	var found *checkpointstore.Error
	if !errors.As(err, &found) {
		return err
	}
	named := *found
	named.Op = op
	return &named
}

// ended returns the context's error as an Error if the context has ended, and nil
// otherwise.
func ended(ctx context.Context, op, partition string) *checkpointstore.Error {
	if err := ctx.Err(); err != nil {
		return &checkpointstore.Error{Op: op, PartitionID: partition, Err: err}
	}
	return nil
}

// one checks the names of one partition and the context.
func one(ctx context.Context, op, namespace, eventHub, consumerGroup, partition string) (key, error) {
	record := checkpointstore.Ownership{
		FullyQualifiedNamespace: namespace,
		EventHubName:            eventHub,
		ConsumerGroup:           consumerGroup,
		PartitionID:             partition,
	}
	if err := record.Validate(); err != nil {
		return key{}, withOp(op, err)
	}
	if err := ended(ctx, op, partition); err != nil {
		return key{}, err
	}
	return makeKey(namespace, eventHub, consumerGroup, partition), nil
}

func notFound(op, partition string) error {
	return &checkpointstore.Error{
		Op:          op,
		PartitionID: partition,
		Kind:        checkpointstore.ErrNotFound,
		Detail:      "the partition has no such record",
	}
}
