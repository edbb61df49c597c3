package storetest

import (
	"errors"

	"github.com/ea947076/checkpointstore"
)

// rewindCases are about two processes, of which one rewinds.
func rewindCases() []testCase {
	cases := []testCase{
		{"a position behind the one that another store wrote is stale", func(e *env) {
			e.update(at("0", 5, "50"))
			e.another().update(at("0", 8, "80"))
			e.isStale(e.store.UpdateCheckpoint(e.ctx(), at("0", 7, "70"), nil))
			e.stored(at("0", 8, "80"))
			e.update(at("0", 9, "90"))
			e.stored(at("0", 9, "90"))
		}},
		{"First stores nothing where another store has stored since the list", func(e *env) {
			e.win(claimOf("0", "alice", ""))
			e.checkpoints()
			e.another().first(at("0", 5, "50"))
			e.isStale(e.store.UpdateCheckpoint(e.ctx(), at("0", 8, "80"), &checkpointstore.UpdateCheckpointOptions{First: true}))
			e.stored(at("0", 5, "50"))
		}},
		{"an owner that was paused moves nothing back", func(e *env) {
			next := e.another()
			record := e.owns("0", "alice", 500)
			next.win(on(record, "bob"))
			next.update(at("0", 800, "8000"))
			e.isStale(e.store.UpdateCheckpoint(e.ctx(), at("0", 510, "5100"), nil))
			e.stored(at("0", 800, "8000"))
		}},
		{"a rewind to the stored position counts", func(e *env) {
			e.owns("0", "alice", 500)
			e.another().rewind(at("0", 500, "5000"))
			e.isRewound(at("0", 501, "5010"), at("0", 500, "5000"))
		}},
		{"ErrRewound is ErrStaleCheckpoint, too", func(e *env) {
			e.owns("0", "alice", 500)
			e.another().rewind(at("0", 10, "100"))
			e.isStale(e.isRewound(at("0", 510, "5100"), at("0", 10, "100")))
		}},
		{"a rewind needs no claims to refuse", func(e *env) {
			e.update(at("0", 500, "5000"))
			e.another().rewind(at("0", 10, "100"))
			e.isRewound(at("0", 510, "5100"), at("0", 10, "100"))
		}},
		{"a later list does not let an update pass", func(e *env) {
			e.owns("0", "alice", 500)
			e.another().rewind(at("0", 10, "100"))
			e.checkpoints()
			e.isRewound(at("0", 510, "5100"), at("0", 10, "100"))
		}},
		{"after a list, a position behind both is refused for the rewind", func(e *env) {
			e.owns("0", "alice", 500)
			e.another().rewind(at("0", 10, "100"))
			e.checkpoints()
			e.isRewound(at("0", 9, "90"), at("0", 10, "100"))
		}},
		{"a renewal does not let an update pass", func(e *env) {
			record := e.owns("0", "alice", 500)
			e.another().rewind(at("0", 10, "100"))
			e.win(record)
			e.checkpoints()
			e.isRewound(at("0", 510, "5100"), at("0", 10, "100"))
		}},
		{"an owner that was paused past a rewind is refused", func(e *env) {
			next := e.another()
			record := e.owns("0", "alice", 500)
			next.win(on(record, "bob"))
			next.checkpoints()
			next.rewind(at("0", 10, "100"))
			next.update(at("0", 11, "110"))
			e.isRewound(at("0", 510, "5100"), at("0", 11, "110"))
		}},
		{"without a list, an update belongs to the tenure before", func(e *env) {
			record := e.owns("0", "alice", 500)
			e.another().rewind(at("0", 10, "100"))
			e.checkpoints() // of the tenure before as well
			e.win(on(record, "bob"))
			e.isRewound(at("0", 510, "5100"), at("0", 10, "100"))
		}},
		{"a new tenure goes on from a rewind", func(e *env) {
			record := e.owns("0", "alice", 500)
			e.another().rewind(at("0", 10, "100"))
			e.win(on(e.win(on(record, "")), "alice"))
			e.stored(at("0", 10, "100"))
			e.update(at("0", 11, "110"))
			e.stored(at("0", 11, "110"))
		}},
		{"a claim under another owner id begins a tenure", func(e *env) {
			record := e.owns("0", "alice", 500)
			e.another().rewind(at("0", 10, "100"))
			e.win(on(record, "bob"))
			e.stored(at("0", 10, "100"))
			e.update(at("0", 11, "110"))
			e.stored(at("0", 11, "110"))
		}},
		{"of two rewinds the second counts", func(e *env) {
			e.rewind(at("0", 10, "100"))
			e.another().rewind(at("0", 20, "200"))
			e.isRewound(at("0", 21, "210"), at("0", 20, "200"))
		}},
	}
	for _, c := range []struct {
		refuses string
		to      int64
	}{{"a position ahead of it", 10}, {"a position behind it", 600}, {"the position that it stored", 510}} {
		cases = append(cases, testCase{"a rewind refuses " + c.refuses, func(e *env) {
			e.owns("0", "alice", 500)
			e.another().rewind(at("0", c.to, "x"))
			e.isRewound(at("0", 510, "5100"), at("0", c.to, "x"))
		}})
	}
	return cases
}

// owns claims a partition, looks where it is, and stores a position.
func (e *env) owns(partition, owner string, sequenceNumber int64) checkpointstore.Ownership {
	e.Helper()
	record := e.win(claimOf(partition, owner, ""))
	e.checkpoints()
	e.update(withoutOffset(partition, sequenceNumber))
	return record
}

// isRewound checks that an update is refused with ErrRewound and that what is
// stored stays.
func (e *env) isRewound(update, stored checkpointstore.Checkpoint) error {
	e.Helper()
	err := e.store.UpdateCheckpoint(e.ctx(), update, nil)
	if !errors.Is(err, checkpointstore.ErrRewound) {
		e.Fatalf("the update to %d gives %v, want ErrRewound", *update.SequenceNumber, err)
	}
	e.another().stored(stored)
	return err
}
