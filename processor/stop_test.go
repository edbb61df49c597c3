package processor_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/processor"
)

func TestEndOfAProcessorTouchesItsOwnPartitionsOnly(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, f *fleet) {
		failed := errors.New("failed")
		a := f.start("a", func(s *settings) {
			s.handler = func(ctx context.Context, p *processor.Partition) error {
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(5 * roundTime):
					return processor.Fatal(failed)
				}
			}
		})
		b := f.start("b", func(s *settings) { s.owner.store = a.store })
		pass(3 * roundTime)
		f.requireBalanced(4, "a", "b")
		id := f.of("b")[0]
		before := f.hub.Links(id)
		<-a.ended
		require.ErrorIs(t, a.err, failed)
		f.send(2, ids(4)...)
		pass(opening)
		require.Equal(t, before, f.hub.Links(id), "b's links stay open")
		pass(2 * roundTime)
		f.requireBalanced(4, "b")
		for _, id := range ids(4) {
			require.Equal(t, []int64{0, 1}, f.seen("b", id))
		}
		require.NoError(t, b.finish())
	})
}

func TestReleaseComesAfterTheHandlerAndItsLastCheckpoint(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		f.send(5, "0")
		var returned time.Time
		a := f.start("a", func(s *settings) {
			s.handler = func(ctx context.Context, p *processor.Partition) error {
				events, err := p.ReceiveEvents(ctx, 5, nil)
				if err != nil {
					return err
				}
				<-ctx.Done()
				require.ErrorIs(t, context.Cause(ctx), processor.ErrStopping)
				time.Sleep(8 * time.Second)
				require.Equal(t, "a", f.owners()["0"], "still owned")
				require.NoError(t, p.UpdateCheckpoint(ctx, events[4], nil))
				returned = time.Now()
				return nil
			}
		})
		pass(time.Second)
		require.NoError(t, a.finish())
		require.Empty(t, f.owners())
		require.LessOrEqual(t, time.Since(returned), time.Second, "the stop takes the handlers' time plus a second")
		require.EqualValues(t, 4, f.checkpoints()["0"])
	})
}

func TestHandlerThatIgnoresItsContextIsNamedAndNotReleased(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, f *fleet) {
		end := make(chan struct{})
		a := f.start("a", func(s *settings) {
			s.handler = func(ctx context.Context, p *processor.Partition) error {
				if p.PartitionID() == "2" {
					<-end
				}
				<-ctx.Done()
				return nil
			}
		})
		pass(opening)
		stopped := time.Now()
		err := a.finish()
		require.ErrorContains(t, err, "partitions 2 did not return")
		require.Less(t, time.Since(stopped), 30*time.Second, "before Kubernetes kills the process")
		require.Equal(t, map[string]string{"2": "a"}, f.owners(), "released is what has no handler any more")
		close(end)
	})
}

func TestStoppingOwnerClaimsNothingAndReleasesEachPartitionAtOnce(t *testing.T) {
	inBubble(t, 8, func(t *testing.T, f *fleet) {
		a := f.start("a", func(s *settings) {
			s.options.ShutdownTimeout = 10 * time.Minute
			s.handler = func(ctx context.Context, p *processor.Partition) error {
				<-ctx.Done()
				if p.PartitionID() == "0" || p.PartitionID() == "1" {
					time.Sleep(5 * time.Minute)
				}
				return nil
			}
		})
		pass(opening)
		b := f.start("b")
		pass(3 * roundTime)
		f.requireBalanced(8, "a", "b")
		slow := f.of("a")[:0]
		for _, id := range f.of("a") {
			if id == "0" || id == "1" {
				slow = append(slow, id)
			}
		}
		require.NotEmpty(t, slow, "the first partitions are kept")
		a.stop()
		pass(opening)
		require.Equal(t, slow, f.of("a"), "the others are released at once")
		require.NoError(t, b.finish())
		pass(2 * time.Minute)
		require.Equal(t, slow, f.of("a"), "renewed, and nothing claimed")
		for _, id := range slow {
			require.Less(t, time.Since(f.records()[id].LastModifiedTime), expiration, "renewed")
		}
		pass(4 * time.Minute)
		require.NoError(t, a.finish())
		require.Empty(t, f.owners())
	})
}

func TestStopIsQuickWhenEventHubsHangs(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, f *fleet) {
		a := f.start("a")
		pass(opening)
		f.hub.Hang(true)
		pass(3 * roundTime)
		stopped := time.Now()
		require.NoError(t, a.finish())
		require.LessOrEqual(t, time.Since(stopped), 2*time.Second)
		require.Empty(t, f.owners(), "released")
		require.NotZero(t, a.Status().HungCalls)
		f.hub.Hang(false)
		pass(opening)
		require.Zero(t, a.Status().HungCalls)
	})
}

func TestNormalStopLogsNoWarning(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, f *fleet) {
		f.send(3, ids(4)...)
		a := f.start("a")
		pass(3 * roundTime)
		require.NoError(t, a.finish())
		require.Empty(t, a.log.at(slog.LevelWarn))
		require.Empty(t, a.log.at(slog.LevelError))
		require.NotContains(t, a.log.String(), "error=")
	})
}

func TestWinsOfAnInterruptedRoundAreReleased(t *testing.T) {
	inBubble(t, 8, func(t *testing.T, f *fleet) {
		a := f.start("a", func(s *settings) {
			real := s.owner.store.CheckpointStore
			s.owner.store.CheckpointStore = interrupted{real, func() { s.owner.stop() }}
		})
		pass(opening)
		<-a.ended
		require.NoError(t, a.err)
		require.Empty(t, f.owners())
	})
}

func TestWinsThatComeAfterTheStopAreReleasedUnread(t *testing.T) {
	inBubble(t, 8, func(t *testing.T, f *fleet) {
		a := f.start("a", func(s *settings) {
			s.owner.store.claim = func(context.Context) error {
				time.Sleep(2 * time.Second)
				return nil
			}
		})
		pass(time.Second) // in the first claim
		require.NoError(t, a.finish())
		require.Empty(t, f.owners())
		require.NotEmpty(t, f.records(), "the claim was won")
		for _, id := range ids(8) {
			require.Zero(t, f.hub.Links(id))
		}
	})
}

func TestHandlersTimeCountsFromTheStopThoughARequestHangs(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		end := make(chan struct{})
		a := f.start("a", func(s *settings) {
			s.handler = func(context.Context, *processor.Partition) error { <-end; return nil }
		})
		pass(opening)
		a.store.set(func(s *faultyStore) { s.claim = hanging })
		for a.store.count() < 2 { // until a renewal hangs
			pass(time.Second)
		}
		stopped := time.Now()
		require.ErrorContains(t, a.finish(), "partitions 0")
		require.LessOrEqual(t, time.Since(stopped), 21*time.Second)
		close(end)
	})
}

func TestSecondRunIsAnError(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		a := f.start("a")
		pass(opening)
		require.ErrorContains(t, a.Run(t.Context()), "before")
		require.NoError(t, a.finish())
	})
}
