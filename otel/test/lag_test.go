package test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/otel"
)

// requireLag checks the lag of partition "0" in events, lost events, and time by
// method. Nil means that it is not shown.
func (h *hubOf) requireLag(events, lost any, times map[string]float64, why string) {
	h.Helper()
	for name, want := range map[string]any{"checkpointstore.consumer.lag.events": events, "checkpointstore.consumer.lost.events": lost} {
		points := map[string]float64{}
		if want != nil {
			points[first] = float64(want.(int))
		}
		require.Equal(h, points, h.points(hubGroup, name), "%s: %s", name, why)
	}
	points := map[string]float64{}
	for method, seconds := range times {
		points[fmt.Sprintf("%s method=%s", first, method)] = seconds
	}
	require.Equal(h, points, h.points(hubGroup, "checkpointstore.consumer.lag.duration"), why)
}

// Ten events, one a second.
func TestLagByTheRulesOfOps(t *testing.T) {
	for name, c := range map[string]struct {
		events    int   // in the partition
		handled   int64 // the last one, -1 for none
		change    func(*azeventhubs.PartitionProperties) error
		lag, lost any
		times     map[string]float64
	}{
		"behind":             {10, 3, nil, 6, 0, map[string]float64{"metadata": 6}},
		"done":               {10, 9, nil, 0, 0, map[string]float64{"nothing left": 0}},
		"never an event":     {0, -1, nil, 0, 0, map[string]float64{"nothing left": 0}},
		"no checkpoint":      {10, -1, nil, nil, nil, nil},
		"one event is lost":  {10, 3, keep(5, 9), 5, 1, map[string]float64{"metadata": 6}},
		"all that were left": {10, 3, keep(10, 9), 0, 6, map[string]float64{"nothing left": 0}},
		"ahead of the hub":   {10, 3, keep(0, 2), nil, nil, nil},
		"the hub is down":    {10, 3, func(*azeventhubs.PartitionProperties) error { return errors.New("down") }, nil, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 1, func(t *testing.T, h *hubOf) {
				for range c.events {
					h.Send("0", "event")
					pass(time.Second)
				}
				handler := upTo(c.handled)
				if c.handled < 0 {
					handler = waiting
				}
				consumer := h.start("a", handler, otel.Hooks(h.options))
				consumer.hub.answer(c.change)
				pass(2 * time.Minute)
				h.requireLag(c.lag, c.lost, c.times, name)
				require.Equal(t, map[string]float64{first: 1}, h.points(hubGroup, "checkpointstore.partition.owned"))
				for metric, unit := range map[string]string{
					"checkpointstore.consumer.lag.events": "{event}", "checkpointstore.consumer.lost.events": "{event}", "checkpointstore.consumer.lag.duration": "s",
				} {
					if m, found := h.metrics()[metric]; found {
						require.Equal(t, unit, m.Unit)
					}
				}
			})
		})
	}
}

// keep lets a hub answer that it keeps these events.
func keep(from, to int64) func(*azeventhubs.PartitionProperties) error {
	return func(p *azeventhubs.PartitionProperties) error {
		p.BeginningSequenceNumber, p.LastEnqueuedSequenceNumber, p.IsEmpty = from, to, to < from
		return nil
	}
}

// What is known after a request is shown until the next one.
func TestLagChangesWithTheRequests(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, h *hubOf) {
		c := h.start("a", upTo(1), otel.Hooks(h.options))
		pass(opening) // the first request is sent when there is a partition
		h.requireLag(0, 0, map[string]float64{"nothing left": 0}, "no event yet")
		for range 5 {
			h.Send("0", "event")
			pass(time.Second)
		}
		h.requireLag(0, 0, map[string]float64{"nothing left": 0}, "as it was")
		require.Equal(t, map[string]int{"0": 1}, c.hub.requests())
		pass(time.Minute)
		require.Equal(t, map[string]int{"0": 2}, c.hub.requests())
		h.requireLag(3, 0, map[string]float64{"metadata": 3}, "after the second request")
		c.hub.answer(func(*azeventhubs.PartitionProperties) error { return errors.New("down") })
		pass(time.Minute)
		h.requireLag(nil, nil, nil, "not known any more")
		c.hub.answer(nil)
		pass(time.Minute)
		h.requireLag(3, 0, map[string]float64{"metadata": 3}, "known again")
	})
}

// Without the enqueued time of the checkpoint, because another program wrote it, the
// lag in time comes from earlier ends of the partition.
func TestLagInTimeFromHistory(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, h *hubOf) {
		h.options.LagInterval = 10 * time.Second
		for range 4 {
			h.Send("0", "event")
			pass(time.Second)
		}
		h.storeAs("0", 3, nil)
		h.start("a", waiting, otel.Hooks(h.options))
		pass(opening)
		h.requireLag(0, 0, map[string]float64{"nothing left": 0}, "at the end")
		pass(5 * time.Second)
		h.Send("0", "event", "event")
		pass(10 * time.Second)
		h.requireLag(2, 0, map[string]float64{"interpolated": 8}, "the last event is 8 s younger than that of the checkpoint")
	})
}

// A checkpoint that another program wrote with the enqueued time in it is not read
// with that: a Processor knows the times of what it wrote itself.
func TestLagInTimeIsNotShownIfItIsNotKnown(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, h *hubOf) {
		for range 4 {
			h.Send("0", "event")
			pass(time.Second)
		}
		enqueued := time.Now()
		h.storeAs("0", 1, &checkpointstore.UpdateCheckpointOptions{EnqueuedTime: &enqueued})
		h.start("a", waiting, otel.Hooks(h.options))
		pass(opening)
		h.requireLag(2, 0, nil, "the time of event 1 is not known")
	})
}

// The lag of an earlier tenure says nothing of this one, which may have begun anywhere.
func TestLagOfAnEarlierTenureIsNotShown(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, h *hubOf) {
		h.options.LagInterval = time.Hour
		c := h.start("a", upTo(0), otel.Hooks(h.options))
		h.Send("0", "event", "event")
		pass(opening)
		require.Equal(t, map[string]int{"0": 1}, c.hub.requests())
		require.NotEmpty(t, h.points(hubGroup, "checkpointstore.consumer.lag.events"))
		h.claimAs("b", "0")
		pass(roundTime)
		h.requireLag(nil, nil, nil, "lost")
		answer := make(chan struct{})
		c.hub.answer(func(*azeventhubs.PartitionProperties) error { <-answer; return nil })
		h.claimAs("", "0")
		for len(c.hub.requests()) == 0 || c.hub.requests()["0"] < 2 {
			pass(time.Second)
		}
		require.Equal(t, map[string]float64{first: 1}, h.points(hubGroup, "checkpointstore.partition.owned"))
		h.requireLag(nil, nil, nil, "asked for in this tenure, and not answered")
		close(answer)
		pass(time.Second)
		h.requireLag(0, 0, map[string]float64{"nothing left": 0}, "answered: the handler went on")
	})
}

// A partition that is claimed between two intervals has its lag soon.
func TestLagOfAPartitionThatIsClaimedLater(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, h *hubOf) {
		h.options.LagInterval = time.Hour
		h.claimAs("b", "1")
		h.storeAs("0", 0, nil)
		h.storeAs("1", 0, nil)
		h.Send("0", "event")
		h.Send("1", "event", "event", "event")
		c := h.start("a", waiting, otel.Hooks(h.options))
		pass(opening)
		require.Equal(t, map[string]int{"0": 1}, c.hub.requests())
		h.claimAs("", "1")
		pass(roundTime + 2*time.Second)
		require.Equal(t, map[string]int{"0": 1, "1": 1}, c.hub.requests(), "the other one is not asked for again")
		require.Equal(t, map[string]float64{first: 0, "messaging.destination.partition.id=1": 2}, h.points(hubGroup, "checkpointstore.consumer.lag.events"))
	})
}

func TestRequestsForLag(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, h *hubOf) {
		h.options.LagInterval = 5 * time.Minute
		hooks := otel.Hooks(h.options)
		a := h.start("a", waiting, hooks)
		pass(7 * time.Minute)
		before := a.hub.requests()
		require.Len(t, before, 4)
		for range 3 {
			_ = h.metrics() // collecting sends none
		}
		require.Equal(t, before, a.hub.requests())
		pass(5 * time.Minute)
		for id, n := range a.hub.requests() {
			require.Equal(t, before[id]+1, n, "one for each partition")
		}
		b := h.start("b", waiting, hooks)
		pass(4 * time.Minute)
		before = a.hub.requests()
		pass(5 * time.Minute)
		require.Len(t, a.Status().Partitions, 2)
		asked := make(map[string]int)
		for id, n := range a.hub.requests() {
			asked[id] = n - before[id]
		}
		for _, p := range a.Status().Partitions {
			require.Equal(t, 1, asked[p.PartitionID], "one for each partition that it still owns")
		}
		for _, p := range b.Status().Partitions {
			require.Zero(t, asked[p.PartitionID])
		}
		require.Len(t, h.points(hubGroup, "checkpointstore.consumer.lag.events"), 4, "of both")
	})
}

func TestTheDefaultLagIntervalIsAMinute(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, h *hubOf) {
		c := h.start("a", waiting, otel.Hooks(h.options))
		pass(opening)
		require.Equal(t, map[string]int{"0": 1}, c.hub.requests())
		pass(time.Hour)
		require.Equal(t, map[string]int{"0": 61}, c.hub.requests())
	})
}

func TestNoLagIsAskedForWithoutPartitions(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, h *hubOf) {
		h.claimAs("b", "0")
		h.options.LagInterval = 10 * time.Second
		c := h.start("a", waiting, otel.Hooks(h.options))
		pass(30 * time.Second)
		require.Empty(t, c.hub.requests())
		require.Empty(t, c.Status().Partitions)
		pass(2 * time.Minute) // b expires
		require.Len(t, c.Status().Partitions, 1)
		require.NotEmpty(t, c.hub.requests())
	})
}

func TestANegativeLagIntervalAsksForNothing(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, h *hubOf) {
		h.options.LagInterval = -1
		c := h.start("a", upTo(0), otel.Hooks(h.options))
		h.Send("0", "event", "event")
		pass(time.Hour)
		require.Empty(t, c.hub.requests())
		h.requireLag(nil, nil, nil, "never asked for")
		require.Equal(t, map[string]float64{first: 1}, h.points(hubGroup, "checkpointstore.partition.owned"))
		require.Equal(t, map[string]float64{first: 0}, h.points(hubGroup, "messaging.eventhubs.checkpoint.sequence_number"))
	})
}

// At most 20 requests are sent in a second, as the options say.
func TestTheRateOfRequestsForLag(t *testing.T) {
	inBubble(t, 100, func(t *testing.T, h *hubOf) {
		h.options.LagInterval = 10 * time.Minute
		c := h.start("a", waiting, otel.Hooks(h.options))
		pass(9 * time.Minute)
		require.Len(t, c.Status().Partitions, 100)
		total := func() (n int) {
			for _, asked := range c.hub.requests() {
				n += asked
			}
			return n
		}
		before := total()
		most, last := 0, before
		for range 2 * 60 {
			pass(time.Second)
			most, last = max(most, total()-last), total()
		}
		require.Equal(t, 100, last-before)
		require.LessOrEqual(t, most, 21)
		require.Greater(t, most, 15)
	})
}
