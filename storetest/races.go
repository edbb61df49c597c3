package storetest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/ea947076/checkpointstore"
)

// claimants is how many race for one record.
const claimants = 16

// together runs f once for each number below n, all at the same time.
func together(n int, f func(int)) {
	var ready, done sync.WaitGroup
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			ready.Wait()
			f(i)
		})
	}
	done.Wait()
}

// raceCases are about several goroutines at once.
func raceCases() []testCase {
	return []testCase{
		{"of 16 claims on a partition without a record one wins", func(e *env) {
			for round := range 8 {
				e.race(claimOf(fmt.Sprint(round), "", ""))
			}
		}},
		{"of 16 first checkpoints one is stored", func(e *env) {
			for round := range 8 {
				e.raceFirsts(fmt.Sprint(round))
			}
		}},
		{"of 16 claims on the same ETag one wins", func(e *env) {
			record := e.win(claimOf("0", "alice", ""))
			for range 8 {
				record = e.race(record)
			}
		}},
		{"of 16 claims on a relinquished partition one wins", func(e *env) {
			record := e.win(claimOf("0", "", ""))
			for range 8 {
				record = e.win(on(e.race(record), ""))
			}
		}},
		{"of 16 claims on an ETag where there is no record at most one wins", func(e *env) {
			for round := range 8 {
				claim := claimOf(fmt.Sprint(round), "", `"0x0123456789ABCDEF"`)
				winners := e.raceAll(claim)
				record, listed := e.ownerships()[claim.PartitionID]
				if len(winners) > 1 || listed != (len(winners) == 1) {
					e.Fatalf("%d of %d claims won, and a record is listed: %v", len(winners), claimants, listed)
				}
				if listed {
					e.sameRecord(record, winners[0])
				}
			}
		}},
		{"16 owners that claim the same partitions share them out", func(e *env) {
			const partitions = 32
			won := make([][]checkpointstore.Ownership, claimants)
			errs := make([]error, claimants)
			together(claimants, func(i int) {
				var asked []checkpointstore.Ownership
				for p := range partitions { // each begins with another one
					asked = append(asked, claimOf(fmt.Sprint((p+2*i)%partitions), owner(i), ""))
				}
				won[i], errs[i] = e.store.ClaimOwnership(e.ctx(), asked, nil)
			})
			e.none(errs)
			owners := make(map[string]string)
			for i := range won {
				for _, o := range won[i] {
					if other, twice := owners[o.PartitionID]; twice {
						e.Fatalf("partition %s was won by %s and by %s", o.PartitionID, other, owner(i))
					}
					owners[o.PartitionID] = owner(i)
				}
			}
			if len(owners) != partitions {
				e.Fatalf("%d of %d partitions were won", len(owners), partitions)
			}
			for partition, o := range e.ownerships() {
				e.isRecord(o, partition, owners[partition])
			}
		}},
		{"of checkpoints that are written at once the furthest stays, first ones too", func(e *env) {
			for round := range 8 {
				e.raceUpdates(fmt.Sprint(round), 0)
			}
		}},
		{"of checkpoints that are written at once the furthest stays, again and again", func(e *env) {
			e.update(at("0", 1, "1"))
			for round := range int64(8) {
				e.raceUpdates("0", 100*(round+1))
			}
		}},
		{"checkpoints at the same position that are written at once are all stored", func(e *env) {
			errs := make([]error, claimants)
			together(claimants, func(i int) { errs[i] = e.store.UpdateCheckpoint(e.ctx(), at("0", 5, "50"), nil) })
			e.none(errs)
			e.stored(at("0", 5, "50"))
		}},
		{"all methods may be called at once", func(e *env) {
			together(claimants, func(i int) {
				partition := fmt.Sprint(i % 4)
				for n := range int64(8) {
					e.noError("ClaimOwnership", func() error {
						_, err := e.store.ClaimOwnership(e.ctx(), []checkpointstore.Ownership{claimOf(partition, owner(i), "")}, nil)
						return err
					})
					e.noError("ListOwnership", func() error {
						list, err := e.store.ListOwnership(e.ctx(), namespace, eventHub, group, nil)
						if err == nil && len(list) == 0 {
							err = errors.New("nothing is listed after a claim")
						}
						return err
					})
					e.noError("UpdateCheckpoint", func() error {
						err := e.store.UpdateCheckpoint(e.ctx(), at(partition, n, "50"), nil)
						if errors.Is(err, checkpointstore.ErrStaleCheckpoint) {
							return nil
						}
						return err
					})
					e.noError("ListCheckpoints", func() error {
						list, err := e.store.ListCheckpoints(e.ctx(), namespace, eventHub, group, nil)
						if err == nil && len(list) == 0 {
							err = errors.New("nothing is listed after an update")
						}
						return err
					})
				}
			})
			for i := range 4 {
				e.stored(at(fmt.Sprint(i), 7, "50"))
			}
		}},
	}
}

func owner(i int) string { return fmt.Sprintf("owner-%d", i) }

// raceAll lets all claimants claim a record in the state that claim names, and
// returns the winners' records.
func (e *env) raceAll(claim checkpointstore.Ownership) []checkpointstore.Ownership {
	e.Helper()
	won := make([][]checkpointstore.Ownership, claimants)
	errs := make([]error, claimants)
	together(claimants, func(i int) {
		won[i], errs[i] = e.store.ClaimOwnership(e.ctx(), []checkpointstore.Ownership{on(copyOf(claim), owner(i))}, nil)
	})
	e.none(errs)
	var winners []checkpointstore.Ownership
	for i, records := range won {
		for _, o := range records {
			e.isRecord(o, claim.PartitionID, owner(i))
			winners = append(winners, o)
		}
	}
	return winners
}

// race is raceAll where one must win.
func (e *env) race(claim checkpointstore.Ownership) checkpointstore.Ownership {
	e.Helper()
	winners := e.raceAll(claim)
	if len(winners) != 1 {
		e.Fatalf("%d of %d claims won, want 1", len(winners), claimants)
	}
	e.sameRecord(e.listed(claim.PartitionID), winners[0])
	return winners[0]
}

// raceUpdates writes 16 positions after base at once.
func (e *env) raceUpdates(partition string, base int64) {
	e.Helper()
	errs := make([]error, claimants)
	together(claimants, func(i int) {
		n := base + int64(i*7%claimants) + 1
		errs[i] = e.store.UpdateCheckpoint(e.ctx(), at(partition, n, fmt.Sprint(n)), nil)
	})
	for i, err := range errs {
		n := base + int64(i*7%claimants) + 1
		furthest := n == base+claimants
		if err != nil && (furthest || !errors.Is(err, checkpointstore.ErrStaleCheckpoint)) {
			e.Fatalf("UpdateCheckpoint to %d of %d: %v", n, base+claimants, err)
		}
	}
	e.stored(at(partition, base+claimants, fmt.Sprint(base+claimants)))
}

// raceFirsts stores 16 first positions at once, of which one must be stored.
func (e *env) raceFirsts(partition string) {
	e.Helper()
	errs := make([]error, claimants)
	together(claimants, func(i int) {
		errs[i] = e.store.UpdateCheckpoint(e.ctx(), at(partition, int64(i), fmt.Sprint(i)), &checkpointstore.UpdateCheckpointOptions{First: true})
	})
	first := -1
	for i, err := range errs {
		switch {
		case err == nil && first >= 0:
			e.Fatalf("both %d and %d were stored as the first checkpoint", first, i)
		case err == nil:
			first = i
		default:
			e.isStale(err)
		}
	}
	if first < 0 {
		e.Fatalf("no first checkpoint was stored: %v", errors.Join(errs...))
	}
	e.stored(at(partition, int64(first), fmt.Sprint(first)))
}

// none checks that no call failed.
func (e *env) none(errs []error) {
	e.Helper()
	if err := errors.Join(errs...); err != nil {
		e.Fatal(err)
	}
}

// noError reports a failed call. It may be used in any goroutine.
func (e *env) noError(what string, call func() error) {
	e.Helper()
	if err := call(); err != nil {
		e.Errorf("%s: %v", what, err)
	}
}
