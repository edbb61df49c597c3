package processor_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/processor"
)

func TestLinkThatCannotBeOpenedIsNoticedRestartedAndReleased(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, f *fleet) {
		denied := errors.New("denied by the administrator")
		f.hub.Deny("0", denied)
		a := f.start("a")
		pass(2 * time.Second)
		require.Contains(t, strings.Join(a.log.at(slog.LevelWarn), ""), "denied by the administrator")
		status := a.Status().Partitions[0]
		require.Equal(t, "0", status.PartitionID)
		require.False(t, status.Reading)
		require.ErrorIs(t, status.LastError, denied)
		require.ErrorIs(t, status.LastError, processor.ErrLinkFailed)
		require.GreaterOrEqual(t, status.Failures, 2)
		require.True(t, a.Status().Partitions[1].Reading)

		pass(3 * roundTime)
		require.Equal(t, map[string]string{"1": "a"}, f.owners(), "released for another owner")

		f.hub.Deny("0", nil)
		f.send(1, "0")
		pass(2 * time.Minute)
		f.requireBalanced(2, "a")
		require.Equal(t, []int64{0}, f.seen("a", "0"))
	})
}

// Five failures in a row release a partition. Those of a long tenure do not add up.
func TestLinkFailuresWithEventsInBetweenAreNotInARow(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		a := f.start("a")
		pass(opening)
		since := a.Status().Partitions[0].OwnedSince
		want := []int64{}
		for n := range int64(10) {
			f.hub.Deny("0", errAway)
			f.hub.Deny("0", nil)
			f.send(1, "0")
			pass(opening)
			want = append(want, n)
			require.Equal(t, want, f.seen("a", "0"), "opened again after the shortest back-off")
		}
		require.Equal(t, since, a.Status().Partitions[0].OwnedSince)
	})
}

// A link that Event Hubs opens after nobody waits for it any more is closed: open, it
// would keep the partition from its next reader.
func TestLinkThatOpensTooLateIsClosed(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		hub := &lateHub{}
		a := f.start("a", func(s *settings) { hub.EventHub, s.hub = s.hub, hub })
		pass(20 * time.Second)
		require.NoError(t, a.finish())
		pass(20 * time.Second)
		require.NotZero(t, hub.opened.Load())
		require.Equal(t, hub.opened.Load(), hub.closed.Load())
	})
}

// lateHub opens links after the time that Run waits.
type lateHub struct {
	processor.EventHub
	opened, closed atomic.Int64
}

func (h *lateHub) OpenPartition(ctx context.Context, id string, options *azeventhubs.PartitionClientOptions) (processor.Receiver, error) {
	time.Sleep(15 * time.Second)
	r, err := h.EventHub.OpenPartition(context.WithoutCancel(ctx), id, options)
	h.opened.Add(1)
	return &lateReceiver{r, h}, err
}

type lateReceiver struct {
	processor.Receiver
	hub *lateHub
}

func (r *lateReceiver) Close(ctx context.Context) error {
	r.hub.closed.Add(1)
	return r.Receiver.Close(ctx)
}

func TestPartitionsOfAnOwnerWhoseClientIsClosedGoToTheOthers(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, f *fleet) {
		a := f.start("a")
		f.start("b")
		pass(3 * roundTime)
		f.requireBalanced(4, "a", "b")
		a.client.Close()
		pass(6 * roundTime)
		f.requireBalanced(4, "b")
		require.Error(t, a.Status().EventHubError)
		pass(10 * time.Minute)
		f.requireBalanced(4, "b")
	})
}

func TestHungCallIsNotWaitedFor(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, f *fleet) {
		f.hub.Hang(true)
		a := f.start("a", latest)
		pass(3 * roundTime)
		require.NotEmpty(t, a.log.at(slog.LevelWarn))
		require.Error(t, a.Status().EventHubError)
		require.NotZero(t, a.Status().HungCalls)
		f.hub.Hang(false)
		pass(2 * roundTime)
		f.requireBalanced(2, "a")
		require.NoError(t, a.Status().EventHubError)
		require.Zero(t, a.Status().HungCalls)
	})
}

func TestPartitionsThatAreAddedAreReadFromTheirBeginning(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, f *fleet) {
		f.send(3, ids(2)...)
		f.start("a", latest)
		pass(opening)
		f.hub.Expand(2)
		f.send(5, ids(4)...)
		pass(7 * roundTime)
		f.requireBalanced(4, "a")
		require.Equal(t, []int64{3, 4, 5, 6, 7}, f.seen("a", "0"))
		require.Equal(t, []int64{0, 1, 2, 3, 4}, f.seen("a", "3"))
	})
}

func TestRecordOfAnUnknownPartitionTellsOfTheHubsGrowth(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, f *fleet) {
		a := f.start("a")
		pass(opening)
		f.hub.Expand(3)
		f.claimAs("b", "2")
		pass(2 * roundTime)
		require.Equal(t, 5, a.Status().PartitionCount)
		require.GreaterOrEqual(t, len(f.of("a")), 3, "its share")
	})
}

func TestRecordsOfPartitionsThatTheHubDoesNotHaveAreLeftAlone(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, f *fleet) {
		f.claimAs("old", "2", "3", "4", "5", "6", "7", "x")
		f.claimAs("", "2", "3")
		before := f.records()
		hub := &countedHub{}
		a := f.start("a", func(s *settings) { hub.EventHub, s.hub = s.hub, hub })
		pass(opening)
		require.Equal(t, map[string]string{"0": "a", "1": "a"}, f.hub.Readers())
		pass(5 * time.Minute)
		require.LessOrEqual(t, hub.reads.Load(), int64(10), "once because of the records, and in each sixth round")
		after := f.records()
		for _, id := range []string{"2", "3", "4", "5", "6", "7", "x"} {
			require.Equal(t, before[id], after[id], "partition %s", id)
		}
		require.NoError(t, a.finish())
	})
}

// countedHub counts how often the hub's properties are read.
type countedHub struct {
	processor.EventHub
	reads atomic.Int64
}

func (h *countedHub) Properties(ctx context.Context) (processor.EventHubProperties, error) {
	h.reads.Add(1)
	return h.EventHub.Properties(ctx)
}

func TestEventsThatAnExpiredReceiveLeftBehindAreNotLost(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		f.start("a", func(s *settings) {
			s.handler = func(ctx context.Context, p *processor.Partition) error {
				for {
					receiving, cancel := context.WithTimeout(ctx, time.Second)
					events, err := p.ReceiveEvents(receiving, 10, nil)
					cancel()
					if err != nil && !errors.Is(err, context.DeadlineExceeded) {
						return err
					}
					f.note("a", "0", events...)
				}
			}
		})
		for range 25 {
			f.send(1, "0")
			pass(300 * time.Millisecond)
		}
		pass(2 * time.Second)
		seen := f.seen("a", "0")
		require.Len(t, seen, 25)
		for i, n := range seen {
			require.EqualValues(t, i, n)
		}
		require.Equal(t, 1, f.hub.Links("0"))
	})
}

func TestReceiveWaitsForItsCount(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		var got atomic.Int64
		f.start("a", func(s *settings) {
			s.handler = func(ctx context.Context, p *processor.Partition) error {
				_, err := p.ReceiveEvents(ctx, 0, nil)
				require.Error(t, err)
				events, err := p.ReceiveEvents(ctx, 3, nil)
				got.Store(int64(len(events)))
				<-ctx.Done()
				return err
			}
		})
		pass(opening)
		f.send(2, "0")
		pass(time.Minute)
		require.Zero(t, got.Load())
		f.send(2, "0")
		pass(opening)
		require.EqualValues(t, 3, got.Load())
	})
}

// slowHub opens links after some time, and may ignore the contexts of receives.
type slowHub struct {
	processor.EventHub
	opening time.Duration
	deaf    bool
}

func (h slowHub) OpenPartition(ctx context.Context, id string, options *azeventhubs.PartitionClientOptions) (processor.Receiver, error) {
	r, err := h.EventHub.OpenPartition(ctx, id, options)
	return &slowReceiver{Receiver: r, hub: h}, err
}

type slowReceiver struct {
	processor.Receiver
	hub  slowHub
	open bool
}

func (r *slowReceiver) ReceiveEvents(ctx context.Context, count int, options *azeventhubs.ReceiveEventsOptions) ([]*azeventhubs.ReceivedEventData, error) {
	if r.hub.deaf {
		ctx = context.WithoutCancel(ctx)
	}
	if !r.open {
		select {
		case <-time.After(r.hub.opening):
			r.open = true
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return r.Receiver.ReceiveEvents(ctx, count, options)
}

func TestLinkIsOpenedThoughReceivesAreShort(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		f.send(3, "0")
		f.start("a", func(s *settings) {
			s.hub = slowHub{EventHub: s.hub, opening: time.Second}
			s.handler = func(ctx context.Context, p *processor.Partition) error {
				for {
					receiving, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
					events, err := p.ReceiveEvents(receiving, 10, nil)
					cancel()
					if err != nil && !errors.Is(err, context.DeadlineExceeded) {
						return err
					}
					f.note("a", "0", events...)
				}
			}
		})
		pass(opening)
		require.Equal(t, []int64{0, 1, 2}, f.seen("a", "0"))
	})
}

func TestReceiveEndsAtOnceThoughTheClientDoesNot(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		a := f.start("a", func(s *settings) {
			s.hub = slowHub{EventHub: s.hub, deaf: true}
			s.handler = func(ctx context.Context, p *processor.Partition) error {
				_, err := p.ReceiveEvents(context.WithoutCancel(ctx), 1, nil)
				return err
			}
		})
		pass(opening)
		stopped := time.Now()
		require.NoError(t, a.finish())
		require.LessOrEqual(t, time.Since(stopped), time.Second)
		require.Empty(t, f.owners())
	})
}
