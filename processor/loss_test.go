package processor_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/processor"
)

func TestHandlerOfALostPartitionIsToldWithinOneRound(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, f *fleet) {
		told := make(chan error, 2)
		a := f.start("a", func(s *settings) {
			s.handler = func(ctx context.Context, p *processor.Partition) error {
				<-ctx.Done() // a batch that takes long
				told <- context.Cause(ctx)
				_, err := p.ReceiveEvents(ctx, 1, nil)
				require.Equal(t, context.Cause(ctx), err)
				return err
			}
		})
		pass(opening)
		f.claimAs("b", "0")
		pass(roundTime)
		require.Len(t, told, 1)
		require.ErrorIs(t, <-told, processor.ErrPartitionLost)
		require.Equal(t, map[string]string{"0": "b", "1": "a"}, f.owners())
		require.Len(t, a.Status().Partitions, 1)
		require.Empty(t, a.log.at(slog.LevelWarn), "a loss is no failure")
	})
}

func TestHandlerIsToldAtOnceWhenTheLinkIsTaken(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		causes := make(chan error, 10)
		a := f.start("a", func(s *settings) {
			s.handler = func(ctx context.Context, p *processor.Partition) error {
				_, err := p.ReceiveEvents(ctx, 1, nil)
				causes <- context.Cause(ctx)
				return err
			}
		})
		pass(interval / 2)
		f.hub.Steal("0")
		pass(opening)
		require.Len(t, causes, 1)
		err := <-causes
		require.ErrorIs(t, err, processor.ErrPartitionLost)
		var reason *azeventhubs.Error
		require.ErrorAs(t, err, &reason)
		pass(2 * roundTime)
		require.Equal(t, "a", f.hub.Readers()["0"], "opened again when a list has shown that it is still owned")
		require.Equal(t, 2, f.hub.Links("0"))
		warnings := a.log.at(slog.LevelWarn)
		require.Len(t, warnings, 1, "somebody reads what is owned here")
		require.Contains(t, warnings[0], "took the link")
	})
}

// A link that a new owner took is not taken back before a list has told.
func TestLinkIsNotTakenBackFromItsNewOwner(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		var atLink atomic.Int64
		a := f.start("a", func(s *settings) {
			s.owner.store.list = func(ctx context.Context) error {
				if atLink.Load() != 0 {
					time.Sleep(5 * time.Second) // a slow list
				}
				return nil
			}
		})
		pass(interval / 2)
		f.claimAs("b", "0")
		atLink.Store(1)
		f.hub.Steal("0") // as b opens its link
		pass(3 * roundTime)
		require.Equal(t, 1, f.hub.Links("0"))
		require.Empty(t, a.Status().Partitions)
		require.Empty(t, a.log.at(slog.LevelWarn), "a loss is no failure")
	})
}

// A partition that was lost and is free again waits for the handler of its last tenure.
func TestNewTenureWaitsForTheHandlerOfTheLastOne(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		var running, most atomic.Int64
		end := make(chan struct{})
		f.start("a", func(s *settings) {
			s.handler = func(ctx context.Context, p *processor.Partition) error {
				most.Store(max(most.Load(), running.Add(1)))
				defer running.Add(-1)
				<-ctx.Done()
				<-end
				return nil
			}
		})
		pass(opening)
		f.claimAs("b", "0")
		pass(roundTime)
		f.claimAs("", "0")
		pass(5 * roundTime)
		require.Empty(t, f.owners(), "not claimed while the handler runs: its late checkpoint would pass for the new tenure's")
		close(end)
		pass(2 * roundTime)
		require.Equal(t, "a", f.owners()["0"])
		require.EqualValues(t, 1, most.Load())
	})
}

// To the store, a claim on a record that was deleted begins a new tenure: so it does
// here.
func TestDeletedRecordsAreClaimedAgainInNewTenures(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, f *fleet) {
		f.send(1, ids(4)...)
		a := f.start("a")
		pass(opening)
		deleted := f.eye
		f.forgetRecords(a)
		require.NotSame(t, deleted, f.eye)
		pass(roundTime)
		require.Equal(t, ids(4), f.of("a"), "within a round, as all handlers returned at once")
		f.send(1, ids(4)...)
		pass(opening)
		f.requireBalanced(4, "a")
		for _, id := range ids(4) {
			require.Contains(t, f.seen("a", id), int64(1))
			require.Equal(t, 2, f.hub.Links(id))
		}
		require.Empty(t, a.log.at(slog.LevelWarn), "a loss is no failure")
	})
}

// A rewind is not undone by a handler that began before it, though the partition's
// record was deleted or written again in between.
func TestHandlerDoesNotWriteInATenureThatAChangedRecordBegins(t *testing.T) {
	for name, change := range map[string]func(f *fleet, d *deletable){
		"deleted":       func(f *fleet, d *deletable) { d.delete("0") },
		"written again": func(f *fleet, _ *deletable) { f.claimAs("a", "0") },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 2, func(t *testing.T, f *fleet) {
				f.send(10, "0")
				late, again := make(chan struct{}), make(chan struct{})
				var stored, cause error
				first := true
				d := &deletable{f: f, CheckpointStore: f.eye.Share(), gone: make(map[string]checkpointstore.Ownership)}
				a := f.start("a", func(s *settings) {
					s.owner.store.CheckpointStore = d
					s.handler = func(ctx context.Context, p *processor.Partition) error {
						switch {
						case p.PartitionID() == "1":
							select { // and its next handler lists the checkpoints
							case <-again:
							case <-ctx.Done():
							}
							return nil
						case !first:
							return s.owner.handle(ctx, p)
						}
						first = false
						events, err := p.ReceiveEvents(ctx, 10, nil)
						require.NoError(t, err)
						require.Len(t, events, 10)
						<-late
						cause = context.Cause(ctx)
						stored = p.UpdateCheckpoint(context.Background(), events[9], nil)
						return stored
					}
				})
				pass(opening)
				change(f, d)
				rewind(t, f, "0", 3)
				pass(4 * roundTime)
				again <- struct{}{}
				pass(opening)
				close(late)
				pass(0)
				require.ErrorIs(t, stored, checkpointstore.ErrRewound)
				require.ErrorIs(t, cause, processor.ErrPartitionLost)
				pass(2 * roundTime)
				require.Equal(t, []int64{4, 5, 6, 7, 8, 9}, f.seen("a", "0"))
				require.Equal(t, ids(2), f.of("a"))
				require.NoError(t, a.finish())
			})
		})
	}
}

// deletable is a store whose ownership records can be deleted: they are relinquished
// by another store, and hidden.
type deletable struct {
	f *fleet
	checkpointstore.CheckpointStore
	mu   sync.Mutex
	gone map[string]checkpointstore.Ownership
}

func (d *deletable) delete(id string) {
	d.f.claimAs("", id)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gone[id] = d.f.records()[id]
}

func (d *deletable) ListOwnership(ctx context.Context, namespace, hub, group string, options *checkpointstore.ListOwnershipOptions) ([]checkpointstore.Ownership, error) {
	list, err := d.CheckpointStore.ListOwnership(ctx, namespace, hub, group, options)
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(list, func(r checkpointstore.Ownership) bool {
		gone, found := d.gone[r.PartitionID]
		return found && *r.ETag == *gone.ETag
	}), err
}

func (d *deletable) ClaimOwnership(ctx context.Context, claims []checkpointstore.Ownership, options *checkpointstore.ClaimOwnershipOptions) ([]checkpointstore.Ownership, error) {
	claims = slices.Clone(claims)
	d.mu.Lock()
	for i, c := range claims {
		if gone, found := d.gone[c.PartitionID]; found && c.ETag == nil {
			claims[i].ETag = gone.ETag
		}
	}
	d.mu.Unlock()
	return d.CheckpointStore.ClaimOwnership(ctx, claims, options)
}

// A newcomer steals one partition to be seen; the rest of its share is handed over in
// order, so that nothing is handled twice.
func TestNewcomersShareIsHandedOverWithoutDuplicates(t *testing.T) {
	inBubble(t, 8, func(t *testing.T, f *fleet) {
		f.send(20, ids(8)...)
		f.start("a")
		pass(roundTime)
		f.start("b")
		for range 30 {
			f.send(1, ids(8)...)
			pass(time.Second)
		}
		f.requireBalanced(8, "a", "b")
		twice := 0
		for _, id := range ids(8) {
			seen := append(f.seen("a", id), f.seen("b", id)...)
			require.GreaterOrEqual(t, len(seen), 50, "partition %s", id)
			if len(seen) > 50 {
				twice++
			}
		}
		require.LessOrEqual(t, twice, 1, "partitions with duplicates")
	})
}

// What was given up and is not released yet counts as given.
func TestSurplusIsGivenUpOnceThoughHandlersAreSlow(t *testing.T) {
	inBubble(t, 16, func(t *testing.T, f *fleet) {
		causes := make(chan error, 100)
		a := f.start("a", func(s *settings) {
			s.handler = func(ctx context.Context, p *processor.Partition) error {
				<-ctx.Done()
				causes <- context.Cause(ctx)
				time.Sleep(2 * time.Minute)
				return nil
			}
			s.options.ShutdownTimeout = 5 * time.Minute
		})
		pass(opening)
		f.start("b")
		pass(5 * time.Minute)
		f.requireBalanced(16, "a", "b")
		given := len(causes)
		require.LessOrEqual(t, given, 8)
		for range given {
			if err := <-causes; !errors.Is(err, processor.ErrPartitionLost) { // the one that b stole, to be seen
				require.ErrorIs(t, err, processor.ErrRebalanced)
			}
		}
		a.stop()
	})
}

func TestPausedOwnerEndsItsHandlersBeforeAnythingElse(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, f *fleet) {
		var paused atomic.Bool
		f.start("a", func(s *settings) {
			s.owner.store.list = func(ctx context.Context) error {
				for paused.Load() {
					time.Sleep(time.Second)
				}
				return nil
			}
		})
		pass(opening)
		paused.Store(true)
		pass(roundTime)
		f.start("b")
		pass(2 * expiration)
		require.Equal(t, []string{"0", "1"}, f.of("b"))
		paused.Store(false)
		pass(3 * roundTime)
		f.requireBalanced(2, "a", "b")
	})
}

func TestHandlerErrorAfterALossIsNoFailure(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		a := f.start("a", func(s *settings) {
			s.handler = func(ctx context.Context, p *processor.Partition) error {
				<-ctx.Done()
				return errors.Join(context.Cause(ctx), errors.New("flushed"))
			}
		})
		pass(opening)
		f.claimAs("b", "0")
		pass(roundTime)
		require.Empty(t, a.log.at(slog.LevelWarn))
	})
}

// What ReceiveEvents returns does not depend on which of two contexts it looks at first.
func TestReceiveReturnsTheCauseWhenTheHandlersContextEnds(t *testing.T) {
	const partitions = 64
	inBubble(t, partitions, func(t *testing.T, f *fleet) {
		got := make(chan error, partitions)
		a := f.start("a", func(s *settings) {
			s.handler = func(ctx context.Context, p *processor.Partition) error {
				_, err := p.ReceiveEvents(ctx, 1, nil)
				got <- err
				return err
			}
		})
		pass(opening)
		require.NoError(t, a.finish())
		require.Len(t, got, partitions)
		for range partitions {
			require.Equal(t, processor.ErrStopping, <-got)
		}
	})
}
