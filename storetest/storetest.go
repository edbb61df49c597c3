// Package storetest is for authors of checkpoint stores. It is the conformance
// suite of [checkpointstore.CheckpointStore], with one named case for each sentence
// of the contract. It makes no assumption about where a store keeps its records,
// and needs the standard library only.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(tb testing.TB) checkpointstore.CheckpointStore {
//			return mystore.New(tb.TempDir())
//		})
//	}
//
// Run the suite under the race detector as well.
package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ea947076/checkpointstore"
)

// Run runs every case that needs one store, each as a subtest of t on a store of
// its own, one after another. newStore returns a store without records. It
// registers what it has to clean up with tb.Cleanup, and calls tb.Fatal if it
// cannot create a store.
func Run(t *testing.T, newStore func(testing.TB) checkpointstore.CheckpointStore) {
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) { c.on(t, newStore(t), nil) })
	}
}

// RunShared runs every case of [Run], and those that need two processes. newData
// prepares storage without records and returns a function that opens a store on it.
// Each call of that function stands for another process.
func RunShared(t *testing.T, newData func(testing.TB) (open func() checkpointstore.CheckpointStore)) {
	for _, c := range slices.Concat(cases(), sharedCases()) {
		t.Run(c.name, func(t *testing.T) {
			open := newData(t)
			c.on(t, open(), open)
		})
	}
}

// testCase is one sentence of the contract, and what shows it.
type testCase struct {
	name string
	run  func(*env)
}

func (c testCase) on(tb testing.TB, store checkpointstore.CheckpointStore, open func() checkpointstore.CheckpointStore) {
	c.run(&env{TB: tb, store: store, open: open})
}

func cases() []testCase {
	return slices.Concat(
		claimCases(),
		batchCases(),
		ownershipCases(),
		scopeCases(),
		checkpointCases(),
		staleCases(),
		aliasCases(),
		argumentCases(),
		contextCases(),
		raceCases(),
	)
}

// sharedCases need two stores over the same records.
func sharedCases() []testCase { return rewindCases() }

// env is one case's store. Its helpers end the case when a call fails that must
// not fail.
type env struct {
	testing.TB
	store checkpointstore.CheckpointStore
	open  func() checkpointstore.CheckpointStore // another one over the same records, nil in [Run]
}

// another is the case in another process: the same records, a store of its own.
func (e *env) another() *env { return &env{TB: e.TB, store: e.open(), open: e.open} }

// The scope that most cases use. It is in lower case; scopeCases have others.
const (
	namespace = "storetest.servicebus.windows.net"
	eventHub  = "hub"
	group     = "group"
)

// claimOf is a claim in the usual scope. An empty etag is none.
func claimOf(partition, owner, etag string) checkpointstore.Ownership {
	o := checkpointstore.Ownership{
		FullyQualifiedNamespace: namespace,
		EventHubName:            eventHub,
		ConsumerGroup:           group,
		PartitionID:             partition,
		OwnerID:                 owner,
	}
	if etag != "" {
		setETag(&o.ETag, etag)
	}
	return o
}

// at is a checkpoint in the usual scope, with an offset.
func at(partition string, sequenceNumber int64, offset string) checkpointstore.Checkpoint {
	c := withoutOffset(partition, sequenceNumber)
	c.Offset = &offset
	return c
}

func withoutOffset(partition string, sequenceNumber int64) checkpointstore.Checkpoint {
	return checkpointstore.Checkpoint{
		FullyQualifiedNamespace: namespace,
		EventHubName:            eventHub,
		ConsumerGroup:           group,
		PartitionID:             partition,
		SequenceNumber:          &sequenceNumber,
	}
}

// setETag points to a text, of the type that the record has: it is azcore's,
// which this package does not import.
func setETag[T ~string](etag **T, text string) {
	value := T(text)
	*etag = &value
}

// ctx is the case's context.
func (e *env) ctx() context.Context { return e.Context() }

// claim makes one ClaimOwnership call that must not fail.
func (e *env) claim(claims ...checkpointstore.Ownership) []checkpointstore.Ownership {
	e.Helper()
	won, err := e.store.ClaimOwnership(e.ctx(), claims, nil)
	if err != nil {
		e.Fatalf("ClaimOwnership: %v", err)
	}
	return won
}

// win makes one claim that must win, and returns the record.
func (e *env) win(claim checkpointstore.Ownership) checkpointstore.Ownership {
	e.Helper()
	won := e.claim(claim)
	if len(won) != 1 {
		e.Fatalf("the claim of partition %q for %q on the ETag %s gave %d records, want it to win", claim.PartitionID, claim.OwnerID, etagText(claim), len(won))
	}
	e.isRecord(won[0], claim.PartitionID, claim.OwnerID)
	return won[0]
}

// lose makes one claim that must lose.
func (e *env) lose(claim checkpointstore.Ownership) {
	e.Helper()
	if won := e.claim(claim); len(won) != 0 {
		e.Fatalf("the claim of partition %q for %q on the ETag %s won, want it to lose", claim.PartitionID, claim.OwnerID, etagText(claim))
	}
}

// isRecord checks that a record is complete and that partition's, of that owner.
func (e *env) isRecord(o checkpointstore.Ownership, partition, owner string) {
	e.Helper()
	if o.PartitionID != partition || o.OwnerID != owner {
		e.Fatalf("the record is partition %q of owner %q, want %q of %q", o.PartitionID, o.OwnerID, partition, owner)
	}
	if o.ETag == nil || plain(o) == "" {
		e.Fatalf("the record of partition %q has no ETag", partition)
	}
}

// ownerships lists the usual scope, by partition.
func (e *env) ownerships() map[string]checkpointstore.Ownership {
	e.Helper()
	list, err := e.store.ListOwnership(e.ctx(), namespace, eventHub, group, nil)
	if err != nil {
		e.Fatalf("ListOwnership: %v", err)
	}
	byPartition := make(map[string]checkpointstore.Ownership, len(list))
	for _, o := range list {
		if _, twice := byPartition[o.PartitionID]; twice {
			e.Fatalf("ListOwnership gives partition %q twice", o.PartitionID)
		}
		byPartition[o.PartitionID] = o
	}
	return byPartition
}

// listed is the record of a partition, which must be there.
func (e *env) listed(partition string) checkpointstore.Ownership {
	e.Helper()
	o, found := e.ownerships()[partition]
	if !found {
		e.Fatalf("ListOwnership does not give partition %q", partition)
	}
	return o
}

// update stores a checkpoint, which must not fail.
func (e *env) update(c checkpointstore.Checkpoint) {
	e.Helper()
	if err := e.store.UpdateCheckpoint(e.ctx(), c, nil); err != nil {
		e.Fatalf("UpdateCheckpoint to %d: %v", *c.SequenceNumber, err)
	}
}

// rewind stores a checkpoint with Rewind, which must not fail.
func (e *env) rewind(c checkpointstore.Checkpoint) {
	e.Helper()
	if err := e.store.UpdateCheckpoint(e.ctx(), c, &checkpointstore.UpdateCheckpointOptions{Rewind: true}); err != nil {
		e.Fatalf("UpdateCheckpoint to %d with Rewind: %v", *c.SequenceNumber, err)
	}
}

// first stores a checkpoint with First, which must not fail.
func (e *env) first(c checkpointstore.Checkpoint) {
	e.Helper()
	if err := e.store.UpdateCheckpoint(e.ctx(), c, &checkpointstore.UpdateCheckpointOptions{First: true}); err != nil {
		e.Fatalf("UpdateCheckpoint to %d with First: %v", *c.SequenceNumber, err)
	}
}

// checkpoints lists the usual scope, by partition.
func (e *env) checkpoints() map[string]checkpointstore.Checkpoint {
	e.Helper()
	list, err := e.store.ListCheckpoints(e.ctx(), namespace, eventHub, group, nil)
	if err != nil {
		e.Fatalf("ListCheckpoints: %v", err)
	}
	byPartition := make(map[string]checkpointstore.Checkpoint, len(list))
	for _, c := range list {
		if _, twice := byPartition[c.PartitionID]; twice {
			e.Fatalf("ListCheckpoints gives partition %q twice", c.PartitionID)
		}
		byPartition[c.PartitionID] = c
	}
	return byPartition
}

// stored checks the checkpoint of the want's partition.
func (e *env) stored(want checkpointstore.Checkpoint) {
	e.Helper()
	got, found := e.checkpoints()[want.PartitionID]
	switch {
	case !found:
		e.Fatalf("ListCheckpoints does not give partition %q", want.PartitionID)
	case got.SequenceNumber == nil || *got.SequenceNumber != *want.SequenceNumber:
		e.Fatalf("the sequence number of partition %q is %s, want %d", want.PartitionID, show(got.SequenceNumber), *want.SequenceNumber)
	case (got.Offset == nil) != (want.Offset == nil), got.Offset != nil && *got.Offset != *want.Offset:
		e.Fatalf("the offset of partition %q is %s, want %s", want.PartitionID, show(got.Offset), show(want.Offset))
	}
}

// empty checks that nothing is stored in the usual scope.
func (e *env) empty() {
	e.Helper()
	if owned, read := e.ownerships(), e.checkpoints(); len(owned)+len(read) != 0 {
		e.Fatalf("%d ownerships and %d checkpoints were written, want none", len(owned), len(read))
	}
}

// plain is a record's ETag without quotes: lists and headers of one service give
// it in either form.
func plain(o checkpointstore.Ownership) string {
	if o.ETag == nil {
		return ""
	}
	return strings.Trim(string(*o.ETag), `"`)
}

func etagText(o checkpointstore.Ownership) string {
	if o.ETag == nil {
		return "nil"
	}
	return string(*o.ETag)
}

// show is a value that may be absent.
func show[T any](v *T) string {
	if v == nil {
		return "absent"
	}
	return fmt.Sprintf("%#v", *v)
}
