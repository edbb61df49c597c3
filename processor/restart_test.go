package processor_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/processor"
	"github.com/ea947076/checkpointstore/processor/processortest"
)

// latest lets an owner begin at Latest, the default.
func latest(s *settings) { s.options.StartPositions = azeventhubs.StartPositions{} }

func TestRestartBeforeTheFirstCheckpointSkipsNothing(t *testing.T) {
	for name, fail := range map[string]func(f *fleet) error{
		"error":      func(*fleet) error { return errors.New("database is away") },
		"nil":        func(*fleet) error { return nil },
		"panic":      func(*fleet) error { panic("bug") },
		"Goexit":     func(*fleet) error { runtime.Goexit(); return nil },
		"taken link": func(f *fleet) error { f.hub.Steal("0"); pass(0); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 1, func(t *testing.T, f *fleet) {
				f.send(7, "0") // older events, which Latest leaves out
				failed := false
				a := f.start("a", latest, func(s *settings) {
					s.handler = func(ctx context.Context, p *processor.Partition) error {
						events, err := p.ReceiveEvents(ctx, 1, nil)
						if err == nil && !failed {
							failed = true
							require.EqualValues(t, 7, events[0].SequenceNumber)
							return fail(f)
						}
						for ; err == nil; events, err = p.ReceiveEvents(ctx, 1, nil) {
							f.note("a", "0", events...)
						}
						return err
					}
				})
				pass(time.Second)
				f.send(5, "0")
				pass(roundTime)
				require.True(t, failed)
				require.Equal(t, []int64{7, 8, 9, 10, 11}, f.seen("a", "0"))
				require.NoError(t, a.finish())
			})
		})
	}
}

func TestNextProcessSkipsNothingWithoutACheckpointOfTheHandler(t *testing.T) {
	for name, events := range map[string]int{"empty partition": 0, "older events": 7} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 1, func(t *testing.T, f *fleet) {
				f.send(events, "0")
				idle := func(s *settings) {
					s.handler = func(ctx context.Context, p *processor.Partition) error {
						<-ctx.Done()
						return ctx.Err()
					}
				}
				a := f.start("a", latest, idle)
				pass(time.Second)
				require.NoError(t, a.finish())
				f.send(3, "0")
				f.start("b", latest)
				pass(roundTime)
				n := int64(events)
				require.Equal(t, []int64{n, n + 1, n + 2}, f.seen("b", "0"))
			})
		})
	}
}

// An owner that lost the partition stores its initial position while the next one
// resolves its own, which is later.
func TestInitialPositionOfTheFirstOwnerCounts(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		f.send(5, "0")
		f.start("a", latest, func(s *settings) {
			s.hub = &resolving{s.hub, func() {
				store(t, f.eye.Share(), "0", 4)
				f.send(1, "0")
			}}
		})
		pass(roundTime)
		require.Equal(t, []int64{5}, f.seen("a", "0"))
	})
}

// Another owner's position, of an earlier end, is stored while this one's is on its way.
func TestFirstPositionThatIsStoredCounts(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		f.send(5, "0")
		once := sync.OnceFunc(func() { store(t, f.eye.Share(), "0", 2) })
		f.start("a", latest, func(s *settings) {
			s.owner.store.update = func(context.Context) error { once(); return nil }
		})
		pass(roundTime)
		require.Equal(t, []int64{3, 4}, f.seen("a", "0"))
	})
}

// The position could not be stored at the start, and another owner stored one of an
// earlier end before the first events came.
func TestEventsPastAnotherOwnersFirstPositionAreNotHandled(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		f.send(5, "0")
		var received atomic.Int64
		a := f.start("a", latest, func(s *settings) {
			s.owner.store.update = failing(errAway)
			s.options.Hooks = &processor.Hooks{Receive: func(i processor.ReceiveInfo) { received.Add(int64(len(i.Events))) }}
		})
		pass(opening)
		store(t, f.eye.Share(), "0", 2)
		a.store.set(func(s *faultyStore) { s.update = nil })
		f.send(1, "0")
		pass(2 * roundTime)
		require.Equal(t, []int64{3, 4, 5}, f.seen("a", "0"))
		require.EqualValues(t, 3, received.Load(), "what the handler did not get was not received")
		require.EqualValues(t, 5, f.checkpoints()["0"])
	})
}

// resolving is a hub that calls a function before a partition's properties are read.
type resolving struct {
	processor.EventHub
	before func()
}

func (h *resolving) PartitionProperties(ctx context.Context, id string) (azeventhubs.PartitionProperties, error) {
	h.before()
	return h.EventHub.PartitionProperties(ctx, id)
}

func TestInitialPositionIsServedWhileItCannotBeStored(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		f.send(7, "0")
		away := errors.New("away")
		var fails atomic.Bool
		fails.Store(true)
		a := f.start("a", latest, func(s *settings) {
			s.owner.store.update = failing(away)
			s.handler = func(ctx context.Context, p *processor.Partition) error {
				events, err := p.ReceiveEvents(ctx, 2, nil)
				if err != nil {
					return err
				}
				if fails.Load() {
					return errors.New("failed")
				}
				f.note("a", "0", events...)
				<-ctx.Done()
				return ctx.Err()
			}
		})
		pass(time.Second)
		f.send(2, "0")
		pass(roundTime)
		require.Empty(t, f.checkpoints())
		require.NotEmpty(t, a.log.at(slog.LevelWarn))
		a.store.set(func(s *faultyStore) { s.update = nil })
		fails.Store(false)
		pass(2 * time.Minute)
		require.Equal(t, []int64{7, 8}, f.seen("a", "0"))
		require.EqualValues(t, 6, f.checkpoints()["0"], "stored with the first events")
	})
}

func TestInitialPositionIsStoredWithTheFirstEventsAtTheLatest(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		f.send(7, "0")
		a := f.start("a", latest, func(s *settings) {
			s.owner.store.update = failing(errAway)
			s.handler = func(ctx context.Context, p *processor.Partition) error {
				_, _ = p.ReceiveEvents(ctx, 1, nil)
				<-ctx.Done()
				return ctx.Err()
			}
		})
		pass(opening)
		require.Empty(t, f.checkpoints())
		a.store.set(func(s *faultyStore) { s.update = nil })
		f.send(1, "0")
		pass(0)
		require.EqualValues(t, 6, f.checkpoints()["0"])
	})
}

func TestRestartFollowsACheckpointThatSomebodyStored(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		f.send(10, "0")
		f.start("a", func(s *settings) {
			s.handler = func(ctx context.Context, p *processor.Partition) error {
				events, err := p.ReceiveEvents(ctx, 1, nil)
				if err != nil {
					return err
				}
				f.note("a", "0", events...)
				if events[0].SequenceNumber == 0 {
					return errors.New("an event that nobody can handle")
				}
				<-ctx.Done()
				return ctx.Err()
			}
		})
		pass(0)
		seven, offset := int64(7), "700"
		require.NoError(t, f.eye.UpdateCheckpoint(t.Context(), checkpointstore.Checkpoint{
			FullyQualifiedNamespace: processortest.FullyQualifiedNamespace, EventHubName: processortest.EventHubName, ConsumerGroup: processortest.ConsumerGroup,
			PartitionID: "0", SequenceNumber: &seven, Offset: &offset,
		}, nil))
		pass(roundTime)
		require.Equal(t, []int64{0, 8}, f.seen("a", "0"))
	})
}

func TestPartitionIsNotReadFromAPositionOfBeforeItWasWon(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, f *fleet) {
		f.claimAs("b", "1")
		f.send(100, "1")
		store(t, f.eye, "1", 10)
		a := f.start("a")
		pass(roundTime)
		require.Equal(t, "b", f.owners()["1"], "not a's")
		store(t, f.eye, "1", 90)
		a.store.set(func(s *faultyStore) { s.listCheckpoints = failing(errors.New("away")) })
		f.claimAs("", "1")
		pass(2 * roundTime)
		require.Equal(t, "a", f.owners()["1"])
		require.Empty(t, f.seen("a", "1"), "its position is not known")
		status := a.Status().Partitions[1]
		require.False(t, status.Reading)
		require.ErrorContains(t, status.LastError, "away")
		require.ErrorContains(t, a.Status().StoreError, "away")
		a.store.set(func(s *faultyStore) { s.listCheckpoints = nil })
		pass(time.Minute)
		require.EqualValues(t, 91, f.seen("a", "1")[0])
	})
}

// store stores a checkpoint as another program.
func store(t *testing.T, s *memstore.Store, id string, n int64) {
	t.Helper()
	require.NoError(t, s.UpdateCheckpoint(context.Background(), checkpointstore.Checkpoint{
		FullyQualifiedNamespace: processortest.FullyQualifiedNamespace, EventHubName: processortest.EventHubName, ConsumerGroup: processortest.ConsumerGroup,
		PartitionID: id, SequenceNumber: &n,
	}, nil))
}

func TestRewoundPartitionIsReadFromTheStoredPositionInANewTenure(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, f *fleet) {
		f.send(10, "0")
		var updates atomic.Int64
		var causes []error
		a := f.start("a", func(s *settings) {
			s.handler = func(ctx context.Context, p *processor.Partition) error {
				for {
					events, err := p.ReceiveEvents(ctx, 1, nil)
					if err != nil {
						return err
					}
					f.note("a", p.PartitionID(), events...)
					if err := p.UpdateCheckpoint(ctx, events[0], nil); errors.Is(err, checkpointstore.ErrRewound) {
						causes = append(causes, context.Cause(ctx))
						require.ErrorIs(t, p.UpdateCheckpoint(ctx, events[0], nil), processor.ErrRewound)
						return err
					}
				}
			}
			s.owner.store.update = func(context.Context) error {
				updates.Add(1)
				return nil
			}
		})
		pass(opening)
		require.EqualValues(t, 9, f.checkpoints()["0"])
		etag := f.records()["0"].ETag
		rewind(t, f, "0", 3)
		updates.Store(0)
		f.send(1, "0")
		pass(opening)
		require.EqualValues(t, 1, updates.Load(), "no further checkpoint is written")
		require.Len(t, causes, 1)
		require.ErrorIs(t, causes[0], processor.ErrRewound)
		require.ErrorIs(t, causes[0], checkpointstore.ErrRewound)
		pass(2 * roundTime)
		require.Equal(t, []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 4, 5, 6, 7, 8, 9, 10}, f.seen("a", "0"))
		require.NotEqual(t, etag, f.records()["0"].ETag)
		require.NoError(t, a.finish())
		require.EqualValues(t, 10, f.checkpoints()["0"])
	})
}

func TestRewindWhileTheHandlerRestartsIsNoticed(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error": func() error { return errors.New("failed") },
		"nil":   func() error { return nil },
		"panic": func() error { panic("bug") },
	} {
		for position, move := range map[string]func(t *testing.T, f *fleet){
			"back": func(t *testing.T, f *fleet) { rewind(t, f, "0", 3) },
			"back and on": func(t *testing.T, f *fleet) {
				rewind(t, f, "0", 1)
				store(t, f.eye.Share(), "0", 3)
			},
			"back, offset only": func(t *testing.T, f *fleet) { rewind(t, f, "0", 3) },
		} {
			t.Run(name+", "+position, func(t *testing.T) {
				inBubble(t, 1, func(t *testing.T, f *fleet) {
					f.send(10, "0")
					fails := make(chan struct{}, 1)
					a := f.start("a", func(s *settings) {
						if position == "back, offset only" {
							s.owner.store.CheckpointStore = &offsetsOnly{CheckpointStore: s.owner.store.CheckpointStore}
						}
						s.handler = func(ctx context.Context, p *processor.Partition) error {
							for {
								events, err := p.ReceiveEvents(ctx, 1, nil)
								if err != nil {
									return err
								}
								select {
								case <-fails:
									return fail()
								default:
								}
								f.note("a", "0", events...)
								if err := p.UpdateCheckpoint(ctx, events[0], nil); err != nil {
									return err
								}
							}
						}
					})
					pass(opening)
					require.EqualValues(t, 9, f.checkpoints()["0"])
					fails <- struct{}{}
					f.send(1, "0")
					move(t, f)
					pass(3 * roundTime)
					require.Equal(t, []int64{4, 5, 6, 7, 8, 9, 10}, f.seen("a", "0")[10:])
					require.EqualValues(t, 10, f.checkpoints()["0"])
					require.NoError(t, a.finish())
				})
			})
		}
	}
}

// offsetsOnly is a store that lists a checkpoint at 3 as a program stores it that
// knows no sequence numbers.
type offsetsOnly struct {
	checkpointstore.CheckpointStore
}

func (s *offsetsOnly) ListCheckpoints(ctx context.Context, namespace, hub, group string, options *checkpointstore.ListCheckpointsOptions) ([]checkpointstore.Checkpoint, error) {
	list, err := s.CheckpointStore.ListCheckpoints(ctx, namespace, hub, group, options)
	for i, c := range list {
		if *c.SequenceNumber == 3 {
			offset := "300"
			list[i].Offset, list[i].SequenceNumber = &offset, nil
		}
	}
	return list, err
}

func TestRewindOfAnIdlePartitionIsNoticed(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, f *fleet) {
		f.send(10, ids(2)...)
		a := f.start("a")
		pass(opening)
		require.EqualValues(t, 9, f.checkpoints()["0"])
		rewind(t, f, "0", 3)
		pass(8 * roundTime)
		require.Equal(t, []int64{4, 5, 6, 7, 8, 9}, f.seen("a", "0")[10:])
		require.Len(t, f.seen("a", "1"), 10, "the other partition is not read again")
		require.Equal(t, 1, f.hub.Links("1"))
		require.EqualValues(t, 9, f.checkpoints()["0"])
		require.Empty(t, a.log.at(slog.LevelWarn))
	})
}

// A checkpoint that is stored while the checkpoints are listed is no rewind.
func TestCheckpointsThatMoveOnWhileTheyAreListedAreNoRewinds(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		a := f.start("a", func(s *settings) {
			s.owner.store.CheckpointStore = slowLists{s.owner.store.CheckpointStore}
		})
		for range 600 {
			f.send(1, "0")
			pass(time.Second)
		}
		require.Len(t, f.seen("a", "0"), 600)
		require.Equal(t, 1, f.hub.Links("0"))
		require.NoError(t, a.finish())
	})
}

// slowLists is a store whose lists of checkpoints are old when they come.
type slowLists struct {
	checkpointstore.CheckpointStore
}

func (s slowLists) ListCheckpoints(ctx context.Context, namespace, hub, group string, options *checkpointstore.ListCheckpointsOptions) ([]checkpointstore.Checkpoint, error) {
	list, err := s.CheckpointStore.ListCheckpoints(ctx, namespace, hub, group, options)
	time.Sleep(5 * time.Second)
	return list, err
}

func rewind(t *testing.T, f *fleet, id string, n int64) {
	t.Helper()
	require.NoError(t, f.eye.UpdateCheckpoint(context.Background(), checkpointstore.Checkpoint{
		FullyQualifiedNamespace: processortest.FullyQualifiedNamespace, EventHubName: processortest.EventHubName, ConsumerGroup: processortest.ConsumerGroup,
		PartitionID: id, SequenceNumber: &n,
	}, &checkpointstore.UpdateCheckpointOptions{Rewind: true}))
}

func TestStalePositionOfTheHandlerItselfIsNoLoss(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		f.send(5, "0")
		tried := false
		a := f.start("a", func(s *settings) {
			s.handler = func(ctx context.Context, p *processor.Partition) error {
				if tried {
					return s.owner.handle(ctx, p)
				}
				tried = true
				events, err := p.ReceiveEvents(ctx, 5, nil)
				require.NoError(t, err)
				require.NoError(t, p.UpdateCheckpoint(ctx, events[4], nil))
				err = p.UpdateCheckpoint(ctx, events[2], nil)
				require.ErrorIs(t, err, checkpointstore.ErrStaleCheckpoint)
				require.NoError(t, ctx.Err(), "the partition is not lost")
				return err
			}
		})
		pass(opening)
		f.send(1, "0")
		pass(2 * time.Second)
		require.Equal(t, []int64{5}, f.seen("a", "0"))
		require.NotContains(t, a.log.String(), "lost")
	})
}

func TestCheckpointPastTheCallersDeadlineSaysSo(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		f.send(1, "0")
		var got error
		f.start("a", func(s *settings) {
			s.owner.store.update = hanging
			s.handler = func(ctx context.Context, p *processor.Partition) error {
				events, err := p.ReceiveEvents(ctx, 1, nil)
				require.NoError(t, err)
				for range 20 { // timers of one instant fire in any order
					short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
					got = errors.Join(got, p.UpdateCheckpoint(short, events[0], nil))
					cancel()
				}
				<-ctx.Done()
				return nil
			}
		})
		pass(time.Second)
		require.ErrorIs(t, got, context.DeadlineExceeded)
		require.NotErrorIs(t, got, context.Canceled)
	})
}

func TestCheckpointAfterTheHandlerReturnedIsRefused(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		f.send(2, "0")
		var kept *processor.Partition
		var events []*azeventhubs.ReceivedEventData
		f.start("a", func(s *settings) {
			s.handler = func(ctx context.Context, p *processor.Partition) error {
				kept = p
				events, _ = p.ReceiveEvents(ctx, 1, nil)
				return nil
			}
		})
		pass(opening)
		require.ErrorContains(t, kept.UpdateCheckpoint(t.Context(), events[0], nil), "has returned")
		require.Empty(t, f.checkpoints())
	})
}

// An update that the handler left behind is over before the release, and does not
// hold it up for long.
func TestReleaseWaitsForUpdatesThatAreUnderWay(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		f.send(1, "0")
		var running atomic.Int64
		a := f.start("a", func(s *settings) {
			s.owner.store.update = func(ctx context.Context) error {
				running.Add(1)
				defer running.Add(-1)
				return hanging(ctx)
			}
			s.handler = func(ctx context.Context, p *processor.Partition) error {
				events, err := p.ReceiveEvents(ctx, 1, nil)
				if err != nil {
					return err
				}
				go func() { _ = p.UpdateCheckpoint(context.Background(), events[0], nil) }()
				<-ctx.Done()
				return nil
			}
		})
		pass(opening)
		require.EqualValues(t, 1, running.Load())
		stopped := time.Now()
		require.NoError(t, a.finish())
		require.Zero(t, running.Load())
		require.LessOrEqual(t, time.Since(stopped), 11*time.Second)
		require.Empty(t, f.owners())
	})
}
