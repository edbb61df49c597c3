package storetest

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ea947076/checkpointstore"
)

// checkpointCases are about positions that are stored.
func checkpointCases() []testCase {
	cases := []testCase{
		{"ListCheckpoints of a scope without any is empty and no error", func(e *env) {
			if listed := e.checkpoints(); len(listed) != 0 {
				e.Fatalf("%d checkpoints in a new store", len(listed))
			}
		}},
		{"a checkpoint that was stored is listed", func(e *env) {
			e.update(at("0", 5, "50"))
			e.stored(at("0", 5, "50"))
		}},
		{"a partition without a checkpoint is not listed", func(e *env) {
			e.win(claimOf("1", "alice", ""))
			e.update(at("0", 5, "50"))
			if listed := e.checkpoints(); len(listed) != 1 {
				e.Fatalf("%d checkpoints are listed, want the one of partition 0", len(listed))
			}
		}},
		{"a checkpoint needs no claim, and a claim changes none", func(e *env) {
			e.update(at("0", 5, "50"))
			record := e.win(claimOf("0", "alice", ""))
			e.stored(at("0", 5, "50"))
			e.win(on(e.win(record), ""))
			e.stored(at("0", 5, "50"))
		}},
		{"UpdateCheckpoint does not look at who owns the partition", func(e *env) {
			first := e.win(claimOf("0", "alice", ""))
			e.update(at("0", 5, "50"))
			second := e.win(on(first, "bob"))
			e.update(at("0", 6, "60"))
			e.win(on(second, ""))
			e.update(at("0", 7, "70"))
			e.stored(at("0", 7, "70"))
		}},
		{"a later checkpoint replaces the earlier one, offset and all", func(e *env) {
			e.update(at("0", 5, "50"))
			e.update(at("0", 6, "60"))
			e.stored(at("0", 6, "60"))
			e.update(withoutOffset("0", 7))
			e.stored(withoutOffset("0", 7))
			e.update(at("0", 8, "80"))
			e.stored(at("0", 8, "80"))
		}},
		{"the same position again is no error", func(e *env) {
			for range 3 {
				e.update(at("0", 5, "50"))
			}
			e.stored(at("0", 5, "50"))
		}},
		{"First stores a position where there is none", func(e *env) {
			e.first(at("0", 5, "50"))
			e.stored(at("0", 5, "50"))
			e.update(at("0", 6, "60"))
			e.stored(at("0", 6, "60"))
		}},
		{"First stores nothing where there is a checkpoint, ahead or behind", func(e *env) {
			e.update(at("0", 5, "50"))
			for _, n := range []int64{4, 6} {
				e.isStale(e.store.UpdateCheckpoint(e.ctx(), at("0", n, "500"), &checkpointstore.UpdateCheckpointOptions{First: true}))
				e.stored(at("0", 5, "50"))
			}
			e.first(at("1", 6, "60"))
		}},
		{"each partition has a checkpoint of its own", func(e *env) {
			for i, partition := range oddPartitions() {
				e.update(at(partition, int64(i), fmt.Sprint(i)))
			}
			for i, partition := range oddPartitions() {
				e.stored(at(partition, int64(i), fmt.Sprint(i)))
			}
		}},
		{"checkpoints of partition ids that differ only in case are two", func(e *env) {
			e.update(at("A", 7, "70"))
			e.update(at("a", 5, "50"))
			e.stored(at("A", 7, "70"))
			e.stored(at("a", 5, "50"))
		}},
		{"300 checkpoints are listed completely", func(e *env) {
			for i := range int64(300) {
				e.update(at(fmt.Sprint(i), i, fmt.Sprint(i*10)))
			}
			listed := e.checkpoints()
			if len(listed) != 300 {
				e.Fatalf("%d checkpoints are listed, want 300", len(listed))
			}
			for i := range int64(300) {
				if c := listed[fmt.Sprint(i)]; c.SequenceNumber == nil || *c.SequenceNumber != i {
					e.Fatalf("partition %d is at %s", i, show(c.SequenceNumber))
				}
			}
		}},
		{"nil options are the zero options", func(e *env) {
			e.update(at("0", 5, "50"))
			for _, options := range []*checkpointstore.UpdateCheckpointOptions{nil, {}} {
				e.isStale(e.store.UpdateCheckpoint(e.ctx(), at("0", 4, "40"), options))
				if err := e.store.UpdateCheckpoint(e.ctx(), at("0", 5, "50"), options); err != nil {
					e.Fatalf("UpdateCheckpoint: %v", err)
				}
			}
			if _, err := e.store.ClaimOwnership(e.ctx(), claims("0"), &checkpointstore.ClaimOwnershipOptions{}); err != nil {
				e.Fatalf("ClaimOwnership: %v", err)
			}
			if owned, err := e.store.ListOwnership(e.ctx(), namespace, eventHub, group, &checkpointstore.ListOwnershipOptions{}); err != nil || len(owned) != 1 {
				e.Fatalf("ListOwnership: %d records, %v", len(owned), err)
			}
			if read, err := e.store.ListCheckpoints(e.ctx(), namespace, eventHub, group, &checkpointstore.ListCheckpointsOptions{}); err != nil || len(read) != 1 {
				e.Fatalf("ListCheckpoints: %d records, %v", len(read), err)
			}
		}},
	}
	enqueued := time.Date(2026, 2, 3, 4, 5, 6, 789e6, time.FixedZone("", 3600))
	cases = append(cases, testCase{"a checkpoint may have an enqueued time", func(e *env) {
		for n, options := range []*checkpointstore.UpdateCheckpointOptions{{EnqueuedTime: &enqueued}, nil, {EnqueuedTime: new(time.Time)}} {
			if err := e.store.UpdateCheckpoint(e.ctx(), at("0", int64(n), "50"), options); err != nil {
				e.Fatalf("UpdateCheckpoint: %v", err)
			}
			e.stored(at("0", int64(n), "50"))
		}
	}})
	for _, n := range []int64{0, -1, 1 << 53, 1<<53 + 1, math.MaxInt64, math.MinInt64 + 1} {
		cases = append(cases, testCase{fmt.Sprintf("the sequence number %d comes back", n), func(e *env) {
			e.update(at("0", n, "50"))
			e.stored(at("0", n, "50"))
		}})
	}
	for _, offset := range []string{"0", "-1", "@latest", "1:2:345", "a b", "none", "null", "Offset", `!"#$%&'()*+,-./:;<=>?@[\]^_{|}~`} {
		cases = append(cases, testCase{fmt.Sprintf("the offset %q comes back as it is", offset), func(e *env) {
			e.update(at("0", 5, offset))
			e.stored(at("0", 5, offset))
		}})
	}
	for _, offset := range []string{"", "None", "no offset", "No Offset"} {
		cases = append(cases, testCase{fmt.Sprintf("the offset %q comes back as none", offset), func(e *env) {
			e.update(at("0", 5, offset))
			e.stored(withoutOffset("0", 5))
		}})
	}
	return cases
}

// staleCases are about positions that are refused.
func staleCases() []testCase {
	return []testCase{
		{"a position behind the one that the store wrote is stale and changes nothing", func(e *env) {
			e.update(at("0", 5, "50"))
			for _, n := range []int64{4, 0, -1, math.MinInt64 + 1} {
				e.isStale(e.store.UpdateCheckpoint(e.ctx(), at("0", n, "x"), nil))
				e.stored(at("0", 5, "50"))
			}
			e.update(at("0", 6, "60"))
			e.stored(at("0", 6, "60"))
		}},
		{"a stale position stays stale after lists", func(e *env) {
			e.update(at("0", 5, "50"))
			e.stored(at("0", 5, "50"))
			e.ownerships()
			e.isStale(e.store.UpdateCheckpoint(e.ctx(), at("0", 4, "40"), nil))
			e.stored(at("0", 5, "50"))
		}},
		{"a stale position stays stale after renewals", func(e *env) {
			record := e.win(claimOf("0", "alice", ""))
			e.update(at("0", 5, "50"))
			record = e.win(record)
			e.isStale(e.store.UpdateCheckpoint(e.ctx(), at("0", 4, "40"), nil))
			e.win(record)
			e.isStale(e.store.UpdateCheckpoint(e.ctx(), at("0", 3, "30"), nil))
			e.stored(at("0", 5, "50"))
		}},
		{"a stale position stays stale after a claim that was lost", func(e *env) {
			first := e.win(claimOf("0", "alice", ""))
			e.win(first)
			e.update(at("0", 5, "50"))
			e.lose(first)
			e.isStale(e.store.UpdateCheckpoint(e.ctx(), at("0", 4, "40"), nil))
			e.stored(at("0", 5, "50"))
		}},
		{"a stale position stays stale after the partition was relinquished", func(e *env) {
			record := e.win(claimOf("0", "alice", ""))
			e.update(at("0", 5, "50"))
			e.win(on(record, ""))
			e.isStale(e.store.UpdateCheckpoint(e.ctx(), at("0", 4, "40"), nil))
			e.stored(at("0", 5, "50"))
		}},
		{"a stale position stays stale after the partition was won anew", func(e *env) {
			record := e.win(claimOf("0", "alice", ""))
			e.update(at("0", 5, "50"))
			record = e.win(on(e.win(on(record, "")), "alice"))
			e.isStale(e.store.UpdateCheckpoint(e.ctx(), at("0", 4, "40"), nil))
			e.win(on(record, "bob"))
			e.checkpoints()
			e.isStale(e.store.UpdateCheckpoint(e.ctx(), at("0", 3, "30"), nil))
			e.stored(at("0", 5, "50"))
		}},
		{"a position is not stale for what another partition has", func(e *env) {
			e.update(at("1", 500, "5000"))
			e.update(at("0", 5, "50"))
			e.stored(at("0", 5, "50"))
		}},
		{"Rewind goes back", func(e *env) {
			e.update(at("0", 5, "50"))
			e.rewind(at("0", 2, "20"))
			e.stored(at("0", 2, "20"))
			e.rewind(at("0", -1, "-1"))
			e.stored(at("0", -1, "-1"))
		}},
		{"Rewind goes on, too, and writes where nothing is", func(e *env) {
			e.rewind(at("0", 5, "50"))
			e.stored(at("0", 5, "50"))
			e.rewind(at("0", 6, "60"))
			e.stored(at("0", 6, "60"))
			e.rewind(at("0", 6, "60"))
			e.stored(at("0", 6, "60"))
		}},
		{"Rewind stores another offset of the same sequence number", func(e *env) {
			e.update(at("0", 5, "wrong"))
			e.rewind(at("0", 5, "50"))
			e.stored(at("0", 5, "50"))
		}},
		{"after Rewind positions go on from there", func(e *env) {
			e.update(at("0", 5, "50"))
			e.rewind(at("0", 2, "20"))
			e.update(at("0", 3, "30"))
			e.stored(at("0", 3, "30"))
			e.isStale(e.store.UpdateCheckpoint(e.ctx(), at("0", 2, "20"), nil))
			e.stored(at("0", 3, "30"))
		}},
	}
}

// isStale checks that an update was refused, and how.
func (e *env) isStale(err error) {
	e.Helper()
	if !errors.Is(err, checkpointstore.ErrStaleCheckpoint) {
		e.Fatalf("a position behind the stored one gives %v, want ErrStaleCheckpoint", err)
	}
}
