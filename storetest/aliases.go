package storetest

import (
	"reflect"

	"github.com/ea947076/checkpointstore"
)

// aliasCases are about what a store keeps and changes of what it is given.
func aliasCases() []testCase {
	return []testCase{
		{"ClaimOwnership changes nothing of what it is given", func(e *env) {
			first, taken := e.win(claimOf("0", "alice", "")), e.win(claimOf("1", "bob", ""))
			e.win(taken)
			asked := []checkpointstore.Ownership{on(first, ""), taken, claimOf("2", "alice", "")}
			copies := []checkpointstore.Ownership{copyOf(asked[0]), copyOf(asked[1]), copyOf(asked[2])}
			e.hasPartitions(e.claim(asked...), "0", "2")
			if !reflect.DeepEqual(asked, copies) {
				e.Fatalf("the claims were\n%+v\nand are now\n%+v", copies, asked)
			}
		}},
		{"what was claimed with may be changed afterwards", func(e *env) {
			first := e.win(claimOf("0", "alice", ""))
			asked := []checkpointstore.Ownership{copyOf(first)}
			won := e.claim(asked...)
			e.hasPartitions(won, "0")
			kept := copyOf(won[0])
			*asked[0].ETag = `"changed"`
			asked[0].OwnerID = "changed"
			e.sameRecord(won[0], kept)
			e.sameRecord(e.listed("0"), kept)
		}},
		{"what a claim returned may be changed", func(e *env) {
			won := e.win(claimOf("0", "alice", ""))
			kept := copyOf(won)
			*won.ETag = `"changed"`
			e.sameRecord(e.listed("0"), kept)
			e.win(kept)
		}},
		{"what ListOwnership returned may be changed", func(e *env) {
			kept := copyOf(e.win(claimOf("0", "alice", "")))
			*e.listed("0").ETag = `"changed"`
			e.sameRecord(e.listed("0"), kept)
			e.win(kept)
		}},
		{"what ListOwnership returned does not change afterwards", func(e *env) {
			record := e.win(claimOf("0", "alice", ""))
			listed := e.listed("0")
			kept := copyOf(listed)
			e.win(on(record, "bob"))
			e.sameRecord(listed, kept)
		}},
		{"UpdateCheckpoint changes nothing of what it is given", func(e *env) {
			c := at("0", 5, "None")
			e.update(c)
			if *c.SequenceNumber != 5 || *c.Offset != "None" {
				e.Fatalf("the checkpoint is now at %d, %q", *c.SequenceNumber, *c.Offset)
			}
		}},
		{"a checkpoint that was stored may be changed afterwards", func(e *env) {
			c := at("0", 5, "50")
			e.update(c)
			*c.SequenceNumber, *c.Offset = 4, "changed"
			e.stored(at("0", 5, "50"))
			*c.SequenceNumber = 9
			e.stored(at("0", 5, "50"))
			e.update(at("0", 6, "60"))
			e.stored(at("0", 6, "60"))
		}},
		{"what ListCheckpoints returned may be changed", func(e *env) {
			c := e.storedAndRead(at("0", 5, "50"))
			*c.SequenceNumber, *c.Offset = 9, "changed"
			e.stored(at("0", 5, "50"))
		}},
		{"what ListCheckpoints returned does not change afterwards", func(e *env) {
			c := e.storedAndRead(at("0", 5, "50"))
			e.update(at("0", 6, "60"))
			if *c.SequenceNumber != 5 || *c.Offset != "50" {
				e.Fatalf("the listed checkpoint is now at %d, %q", *c.SequenceNumber, *c.Offset)
			}
		}},
	}
}

// copyOf is a record that shares nothing with o.
func copyOf(o checkpointstore.Ownership) checkpointstore.Ownership {
	if o.ETag != nil {
		setETag(&o.ETag, string(*o.ETag))
	}
	return o
}

// storedAndRead stores a checkpoint, and returns it as it is listed, with its
// position.
func (e *env) storedAndRead(c checkpointstore.Checkpoint) checkpointstore.Checkpoint {
	e.Helper()
	e.update(c)
	listed := e.checkpoints()[c.PartitionID]
	if listed.SequenceNumber == nil || listed.Offset == nil {
		e.Fatalf("partition %s is listed with %s, %s", c.PartitionID, show(listed.SequenceNumber), show(listed.Offset))
	}
	return listed
}
