package test

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/azurite"
	"github.com/ea947076/checkpointstore/internal/emulator"
	"github.com/ea947076/checkpointstore/internal/faults"
)

// firstEvent is the sequence number of the first event that the hub keeps, and
// lostEvents how many before it the consumer group has not handled in partition 0.
const (
	firstEvent = 1000
	lostEvents = 100
)

// script is an event hub, a container, and what happens to the owners of a consumer
// group.
type script struct {
	t       *testing.T
	began   time.Time
	hub     *emulator.Emulator
	scope   checkpointstore.Scope
	storage string                               // connection string
	blobs   string                               // the container
	eye     *checkpointstore.BlobCheckpointStore // the operator's: without faults and metrics
	sentAt  time.Time                            // just before events were sent
	seen    map[string]map[string]bool           // keys of attributes by instrument, and "a value" if one was not 0
}

func newScript(t *testing.T) *script {
	s := &script{
		t: t, began: time.Now(),
		hub:     emulator.Start(t, emulator.Options{FirstSequenceNumber: firstEvent}),
		storage: azurite.Shared(t).ConnectionString(), blobs: azurite.NewContainerName(t),
		seen: make(map[string]map[string]bool),
	}
	s.scope = checkpointstore.Scope{FullyQualifiedNamespace: s.hub.Namespace(), EventHubName: s.hub.Hub(), ConsumerGroup: azeventhubs.DefaultConsumerGroup}
	var err error
	s.eye, err = checkpointstore.NewBlobCheckpointStoreFromConnectionString(s.storage, s.blobs, nil)
	require.NoError(t, err)
	require.NoError(t, s.eye.EnsureContainer(t.Context(), nil))
	return s
}

// owns returns the partitions of an owner.
func (s *script) owns(o *scriptedOwner) (partitions []string) {
	for partition, owner := range s.owners() {
		if owner == o.name {
			partitions = append(partitions, partition)
		}
	}
	return partitions
}

// send appends events to partitions, with the contexts of their senders.
func (s *script) send(n int, partitions ...string) {
	s.sentAt = time.Now()
	for _, partition := range partitions {
		for range n {
			s.hub.AppendWith(s.t, partition, 1, senderOf(partition, s.hub.Last(partition)+1).properties())
		}
	}
}

// patience is how long the script waits for what has to come. It is no measure of how
// fast that should be.
const patience = 2 * time.Minute

func (s *script) eventually(what string, condition func() bool) {
	s.t.Helper()
	for begun := time.Now(); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > patience {
			require.FailNow(s.t, "waited in vain", what)
		}
	}
}

// handled waits until all events are handled and all checkpoints stored, by owners that
// read all partitions.
func (s *script) handled(owners ...*scriptedOwner) {
	s.t.Helper()
	s.eventually("checkpoints of the last events", func() bool {
		last := make(map[string]int64)
		for _, partition := range allPartitions {
			last[partition] = s.hub.Last(partition)
		}
		reading := 0
		for _, o := range owners {
			for _, p := range o.running.Status().Partitions {
				if p.Reading && p.Pending == 0 && p.Unwritten == 0 {
					reading++
				}
			}
		}
		return reading == len(allPartitions) && maps.Equal(last, s.checkpoints())
	})
}

// check requires that what owners have reported becomes equal to their ledgers. What is
// counted twice stays different.
func (s *script) check(owners ...*scriptedOwner) {
	s.t.Helper()
	for _, o := range owners {
		var differences []string
		for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			if differences = s.mismatch(o); len(differences) == 0 {
				break
			}
			if time.Since(begun) > patience/4 {
				require.FailNow(s.t, "the metrics and spans do not become equal to the ledger", strings.Join(differences, "\n"))
			}
		}
	}
}

// finish stops an owner. Nothing is under way any more: what it has reported is equal to
// its ledger at once, and its gauges show nothing.
func (s *script) finish(o *scriptedOwner) {
	s.t.Helper()
	o.cancel()
	require.NoError(s.t, <-o.result)
	o.ended = true
	require.Empty(s.t, s.mismatch(o))
}

// checkpointAt is a checkpoint of the consumer group.
func (s *script) checkpointAt(partition string, sequenceNumber int64) checkpointstore.Checkpoint {
	offset := emulator.Offset(sequenceNumber)
	return checkpointstore.Checkpoint{
		FullyQualifiedNamespace: s.scope.FullyQualifiedNamespace, EventHubName: s.scope.EventHubName, ConsumerGroup: s.scope.ConsumerGroup,
		PartitionID: partition, SequenceNumber: &sequenceNumber, Offset: &offset,
	}
}

// The requests that the script fails.
var (
	writesRecord    = faults.OpIs(faults.PutBlob, faults.SetMetadata)
	writesOwnership = faults.All(writesRecord, faults.NameHas("/ownership/"))
)

var allPartitions = []string{"0", "1", "2", "3"}

// TestScriptedRun runs real Processors through what happens to them, and compares every
// instrument of docs/observability.md, and the spans, with independent counts.
func TestScriptedRun(t *testing.T) {
	s := newScript(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience) // of the whole script
	defer cancel()
	require.NoError(t, s.eye.UpdateCheckpoint(ctx, s.checkpointAt("0", firstEvent-1-lostEvents), nil))

	// Two owners share the partitions. Events of one partition pile up.
	a, b := s.start("owner-a"), s.start("owner-b")
	s.eventually("two owners with two partitions each", func() bool {
		return len(s.owns(a)) == 2 && len(s.owns(b)) == 2 && len(a.running.Status().Partitions) == 2 && len(b.running.Status().Partitions) == 2
	})
	s.check(a, b)
	s.send(20, allPartitions...)
	s.handled(a, b)
	s.check(a, b)
	own := s.owns(b)[0]
	unblock := b.block(own)
	s.send(7, own)
	s.check(a, b)
	require.Equal(t, 7.0, b.recorded.series("checkpointstore.consumer.lag.events", "messaging.destination.partition.id")["messaging.destination.partition.id="+own])
	unblock()
	s.handled(a, b)
	s.check(a, b)

	// The process of one owner dies: it releases nothing. When its partitions have
	// expired, the other one claims them, and loses a claim to a third one.
	left := s.owns(a)
	require.Len(t, left, 2)
	lost := b.count("checkpointstore.claims", "outcome=lost")
	b.network.Inject(faults.RunBefore(func() { s.rival(left[0]) }).On(faults.All(writesRecord, faults.NameHas("/ownership/"+left[0]))).Once())
	a.network.Inject(faults.RefuseConnection())
	s.finish(a)
	for _, partition := range left {
		require.Positive(t, a.count("checkpointstore.claims", "outcome=failed", "messaging.destination.partition.id="+partition), "it could release nothing")
	}
	require.ElementsMatch(t, left, s.owns(a))
	s.eventually("a take-over", func() bool {
		return len(s.owns(b)) == len(allPartitions) && len(b.running.Status().Partitions) == len(allPartitions)
	})
	require.Equal(t, lost+1, b.count("checkpointstore.claims", "outcome=lost"))
	s.send(5, allPartitions...)
	s.handled(b)
	s.check(b)

	// The storage fails: first for claims, then for everything. Events are still handled.
	b.outageSince = time.Now()
	heal := b.network.Inject(faults.RefuseConnection().On(writesOwnership))
	s.eventually("claims that fail", func() bool { return b.count("checkpointstore.claims", "outcome=failed") > 0 })
	s.check(b)
	b.network.Inject(faults.RefuseConnection())
	heal()
	s.send(3, allPartitions...)
	s.eventually("lists and checkpoints that fail", func() bool {
		return b.count("messaging.client.operation.duration", "messaging.operation.name=list", "error.type=*url.Error") > 0 &&
			b.count("checkpointstore.checkpoints", "outcome=failed") >= len(allPartitions)
	})
	s.check(b)
	b.network.Heal()
	s.handled(b)
	b.outageSince = time.Time{}
	s.check(b)

	// Somebody else stores a position ahead of the owner's, whose next checkpoint is
	// stale; and so is one that goes back without a rewind.
	ahead := s.hub.Last("3") + 2
	require.NoError(t, s.eye.UpdateCheckpoint(ctx, s.checkpointAt("3", ahead), nil))
	s.send(1, "3")
	s.eventually("a stale checkpoint", func() bool { return b.count("checkpointstore.checkpoints", "outcome=stale") == 1 })
	require.ErrorIs(t, b.store.UpdateCheckpoint(ctx, s.checkpointAt("3", firstEvent), nil), checkpointstore.ErrStaleCheckpoint)
	s.send(4, "3")
	s.handled(b)
	s.check(b)
	require.Equal(t, 2, b.count("checkpointstore.checkpoints", "outcome=stale"))

	// An operator rewinds a partition that is quiet, and one just before the owner
	// stores a checkpoint.
	tenures := b.count("checkpointstore.claims", "outcome=won")
	s.rewind("1", s.hub.Last("1")-4)
	s.eventually("another tenure", func() bool { return b.count("checkpointstore.claims", "outcome=won") == tenures+1 })
	s.handled(b)
	s.check(b)
	back := s.hub.Last("2") - 2
	b.network.Inject(faults.RunBefore(func() { s.rewind("2", back) }).On(faults.All(writesRecord, faults.NameHas("/checkpoint/2"))).Once())
	s.send(1, "2")
	s.eventually("another tenure", func() bool { return b.count("checkpointstore.claims", "outcome=won") == tenures+2 })
	s.handled(b)
	s.check(b)
	require.Equal(t, 1, b.count("checkpointstore.checkpoints", "outcome=rewound"))

	// A poison event is skipped after three attempts. Links are taken and refused, so
	// that handlers are called again.
	b.spoil("0", s.hub.Last("0")+3)
	s.send(5, "0")
	s.handled(b)
	s.check(b)
	require.Equal(t, 3, b.count("messaging.process.duration", "error.type=poison"))
	links, taken := s.hub.Stats(), b.count("checkpointstore.processor.restarts", "error.type=partition_lost")
	stolen, err := s.hub.Steal("0")
	require.NoError(t, err)
	require.Equal(t, 1, stolen)
	require.NoError(t, s.hub.Deny(emulator.Partition("1"), emulator.UnauthorizedAccess))
	_, err = s.hub.Steal("1")
	require.NoError(t, err)
	require.NoError(t, s.hub.Await(ctx, emulator.Partition("1"), emulator.LinksRefused, links["1"].LinksRefused+1))
	require.NoError(t, s.hub.Allow(emulator.Partition("1")))
	for _, partition := range []string{"0", "1"} {
		require.NoError(t, s.hub.Await(ctx, emulator.Partition(partition), emulator.LinksOpened, links[partition].LinksOpened+1))
	}
	s.send(2, allPartitions...)
	s.handled(b)
	s.check(b)
	require.Equal(t, taken+2, b.count("checkpointstore.processor.restarts", "error.type=partition_lost"))
	require.Positive(t, b.count("checkpointstore.processor.restarts", "error.type="+string(azeventhubs.ErrorCodeUnauthorizedAccess)))

	// The owner stops and releases its partitions.
	s.finish(b)
	require.Empty(t, s.owns(b))

	// The hub's own count of what it has delivered is that of the owners together.
	for partition, of := range s.hub.Stats() {
		consumed := 0
		for _, o := range []*scriptedOwner{a, b} {
			consumed += o.count("messaging.client.consumed.messages", "messaging.destination.partition.id="+partition)
		}
		require.EqualValues(t, of.EventsSent, consumed, "partition %s", partition)
	}
	s.requireSeen()
	requireStatuses(t, a, b)
}

// requireStatuses requires that lost claims and stale or rewound checkpoints are results,
// and that claims and checkpoints of the outage are errors.
func requireStatuses(t *testing.T, owners ...*scriptedOwner) {
	seen := make(map[string]int)
	for _, o := range owners {
		for _, span := range o.recorded.spans.Ended() {
			for _, attribute := range span.Attributes() {
				result := string(attribute.Key) + "=" + attribute.Value.String()
				switch {
				case strings.HasPrefix(result, "checkpointstore.claims.lost=") && attribute.Value.AsInt64() > 0:
					result = "lost"
				case strings.HasPrefix(result, "checkpointstore.claims.failed=") && attribute.Value.AsInt64() > 0:
					result = "claims failed"
				case !strings.HasPrefix(result, "outcome="):
					continue
				}
				seen[result+" "+span.Status().Code.String()]++
			}
		}
	}
	for _, result := range []string{"lost Unset", "claims failed Error", "outcome=written Unset", "outcome=stale Unset", "outcome=rewound Unset", "outcome=failed Error"} {
		require.Positive(t, seen[result], result)
	}
	for _, result := range []string{"claims failed Unset", "outcome=written Error", "outcome=stale Error", "outcome=rewound Error", "outcome=failed Unset"} {
		require.Zero(t, seen[result], result)
	}
}

// requireSeen requires that each instrument had a value, and the attributes that
// docs/observability.md says and no others.
func (s *script) requireSeen() {
	common := []string{"messaging.system", "messaging.destination.name", "messaging.consumer.group.name", "server.address", "messaging.destination.partition.id"}
	for name, attributes := range documentedAttributes(s.t) {
		expected := append([]string{"a value"}, attributes...)
		switch name {
		case "checkpointstore.storage.requests", "checkpointstore.storage.request.duration":
			expected = append(expected, "server.address")
		case "checkpointstore.storage.outage":
			expected = append(expected, common[:4]...)
		default:
			expected = append(expected, common...)
		}
		var seen []string
		for key := range s.seen[name] {
			seen = append(seen, key)
		}
		assert.ElementsMatch(s.t, expected, seen, name)
	}
}

// rival claims a partition and releases it at once.
func (s *script) rival(partition string) {
	ctx := context.Background()
	records, err := s.eye.ListOwnership(ctx, s.scope.FullyQualifiedNamespace, s.scope.EventHubName, s.scope.ConsumerGroup, nil)
	assert.NoError(s.t, err)
	for _, r := range records {
		if r.PartitionID != partition {
			continue
		}
		for _, name := range []string{"rival", ""} {
			r.OwnerID = name
			won, err := s.eye.ClaimOwnership(ctx, []checkpointstore.Ownership{r}, nil)
			assert.NoError(s.t, err)
			if assert.Len(s.t, won, 1) {
				r = won[0]
			}
		}
	}
}

// rewind sets the checkpoint of a partition back.
func (s *script) rewind(partition string, sequenceNumber int64) {
	at := s.checkpointAt(partition, sequenceNumber)
	assert.NoError(s.t, s.eye.UpdateCheckpoint(context.Background(), at, &checkpointstore.UpdateCheckpointOptions{Rewind: true}))
}
