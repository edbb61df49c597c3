package processor_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/processor"
)

// R6
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

// R6
func TestHandlerIsToldAtOnceWhenTheLinkIsTaken(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		causes := make(chan error, 10)
		f.start("a", func(s *settings) {
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

func TestDeletedRecordsAreClaimedAgainAndHandlersGoOn(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, f *fleet) {
		f.send(1, ids(4)...)
		a := f.start("a")
		pass(opening)
		deleted := f.eye
		f.forgetRecords(a)
		require.NotSame(t, deleted, f.eye)
		f.send(1, ids(4)...)
		pass(roundTime)
		f.requireBalanced(4, "a")
		for _, id := range ids(4) {
			require.Equal(t, []int64{0, 1}, f.seen("a", id))
			require.Equal(t, 1, f.hub.Links(id))
		}
	})
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
