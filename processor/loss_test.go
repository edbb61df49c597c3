package processor_test

import (
	"context"
	"errors"
	"log/slog"
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
				return errors.Join(err, errors.New("the last flush failed"))
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

// Only a list that began after the link was taken tells that the partition is still
// owned here. Opened because of an older one, the link would be taken back from its
// new owner.
func TestLinkIsNotTakenBackFromItsNewOwner(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		late := &lateLists{listed: make(chan struct{})}
		a := f.start("a", func(s *settings) {
			late.CheckpointStore, s.owner.store.CheckpointStore = s.owner.store.CheckpointStore, late
		})
		pass(opening)
		late.on.Store(true)
		<-late.listed // as owned by a
		f.claimAs("b", "0")
		f.hub.Steal("0") // as b opens its link
		pass(3 * roundTime)
		require.Equal(t, 1, f.hub.Links("0"))
		require.Empty(t, a.Status().Partitions)
		require.Empty(t, a.log.at(slog.LevelWarn), "a loss is no failure")
	})
}

// lateLists is a store whose lists are answered late once it is on.
type lateLists struct {
	checkpointstore.CheckpointStore
	on     atomic.Bool
	first  sync.Once
	listed chan struct{} // closed when the first of them has been read
}

func (s *lateLists) ListOwnership(ctx context.Context, namespace, hub, group string, options *checkpointstore.ListOwnershipOptions) ([]checkpointstore.Ownership, error) {
	list, err := s.CheckpointStore.ListOwnership(ctx, namespace, hub, group, options)
	if s.on.Load() {
		s.first.Do(func() { close(s.listed) })
		time.Sleep(5 * time.Second)
	}
	return list, err
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

// To the store, a claim on a record that somebody deleted or wrote begins a new
// tenure, in which a handler of the old one must not write.
func TestRecordThatSomebodyChangedEndsTheTenure(t *testing.T) {
	remove := func(f *fleet, ids ...string) {
		records := f.records()
		for _, id := range ids {
			require.NoError(f.t, f.eye.DeleteOwnership(f.t.Context(), records[id], nil))
		}
	}
	for name, c := range map[string]struct {
		change func(f *fleet)
		ended  int
	}{
		"all deleted":                           {func(f *fleet) { remove(f, ids(4)...) }, 4},
		"one deleted":                           {func(f *fleet) { remove(f, "2") }, 1},
		"written again under the same owner id": {func(f *fleet) { f.claimAs("a", ids(4)...) }, 4},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 4, func(t *testing.T, f *fleet) {
				causes := make(chan error, 8)
				a := f.start("a", func(s *settings) { s.handler = reporting(causes) })
				pass(opening)
				c.change(f)
				pass(roundTime)
				require.Equal(t, ids(4), f.of("a"), "claimed again within a round, as the handlers have returned")
				require.Len(t, causes, c.ended)
				for range c.ended {
					require.ErrorIs(t, <-causes, processor.ErrPartitionLost)
				}
				require.Empty(t, a.log.at(slog.LevelWarn), "a loss is no failure")
			})
		})
	}
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
		stolen := 0 // the first one, by which b becomes visible
		for range given {
			err := <-causes
			if errors.Is(err, processor.ErrPartitionLost) {
				stolen++
				continue
			}
			require.ErrorIs(t, err, processor.ErrRebalanced)
		}
		require.LessOrEqual(t, stolen, 1)
		a.stop()
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
