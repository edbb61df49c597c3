package demo_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/demo"
	"github.com/ea947076/checkpointstore/ops"
)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const namespace = "demo.servicebus.windows.net"

// read returns a consumer group and its event hub.
func read(t *testing.T, f *demo.Fleet, hubName, consumerGroup string) (*ops.Snapshot, *ops.Hub) {
	t.Helper()
	scope := ops.Scope{FullyQualifiedNamespace: namespace, EventHubName: hubName, ConsumerGroup: consumerGroup}
	s, err := ops.Read(t.Context(), f.Store(), scope, &ops.ReadOptions{Expiration: demo.Expiration})
	require.NoError(t, err)
	eventHub, closeHub, err := f.OpenHub(scope)
	require.NoError(t, err)
	defer closeHub()
	hub, err := ops.ReadHub(t.Context(), eventHub, &ops.HubOptions{Interval: time.Nanosecond})
	require.NoError(t, err)
	return s, hub
}

// total is the lag of a consumer group, which must be known.
func total(t *testing.T, s *ops.Snapshot, hub *ops.Hub) ops.TotalLag {
	t.Helper()
	var lags []ops.Lag
	for _, p := range hub.Partitions {
		l := hub.Lag(s.Partition(p.ID), nil)
		require.NotEqual(t, ops.LagAhead, l.State)
		lags = append(lags, l)
	}
	return ops.Total(lags)
}

func step(t *testing.T, f *demo.Fleet, d time.Duration) {
	t.Helper()
	require.NoError(t, f.Step(t.Context(), d))
}

func TestOneSeedOneFleet(t *testing.T) {
	told := func(seed uint64) string {
		f := demo.New(demo.Options{Seed: seed, Partitions: 8, Start: start})
		var text strings.Builder
		for range 20 {
			step(t, f, 30*time.Second)
			for _, g := range [][2]string{{"orders", "billing"}, {"orders", "search-index"}, {"telemetry", "audit-export"}} {
				s, hub := read(t, f, g[0], g[1])
				for _, p := range s.Partitions {
					fmt.Fprint(&text, p.ID, p.State, p.OwnershipAge, p.CheckpointAge, p.Position())
					if p.Ownership != nil {
						fmt.Fprint(&text, p.Ownership.OwnerID)
					}
				}
				hub.Time = time.Time{}
				ends, err := json.Marshal(hub)
				require.NoError(t, err)
				text.Write(ends)
			}
		}
		return text.String()
	}
	require.Equal(t, told(1), told(1))
	require.NotEqual(t, told(1), told(2))
}

func TestOwnersShareThePartitions(t *testing.T) {
	for _, partitions := range []int{4, 32} {
		f := demo.New(demo.Options{Seed: 3, Partitions: partitions, Start: start})
		step(t, f, 50*time.Second) // before anything happens
		s, hub := read(t, f, "orders", "billing")
		require.Len(t, hub.Partitions, partitions)
		require.Len(t, s.Partitions, partitions)
		owned := make(map[string]int)
		for _, p := range s.Partitions {
			require.Equal(t, ops.Live, p.State, p.ID)
			owned[p.Ownership.OwnerID]++
		}
		require.Len(t, owned, 4)
		for owner, n := range owned {
			require.Equal(t, partitions/4, n, owner)
		}
		lag := total(t, s, hub)
		require.Zero(t, lag.Unknown)
		require.Less(t, *lag.Time, 20*time.Second, "they keep up")
	}
}

// Everything that a newcomer is to see comes to pass within some minutes, whatever the
// seed.
func TestWhatHappens(t *testing.T) {
	for seed := range uint64(5) {
		f := demo.New(demo.Options{Seed: seed, Partitions: 16, Start: start})
		owners := make(map[string]bool)
		seen := make(map[string]bool)
		before := make(map[string]ops.Partition)
		for range 12 * 60 / 2 {
			step(t, f, 2*time.Second)
			s, hub := read(t, f, "orders", "billing")
			for _, p := range s.Partitions {
				was, known := before[p.ID]
				before[p.ID] = p
				switch p.State {
				case ops.Expired:
					seen["an owner that is late"] = true
				case ops.Relinquished:
					seen["a partition without owner"] = true
				}
				if p.Ownership != nil && p.Ownership.OwnerID != "" {
					owners[p.Ownership.OwnerID] = true
				}
				if p.State == ops.Live && p.CheckpointAge > 50*time.Second {
					seen["a partition that is stuck"] = true
				}
				if !known || was.Checkpoint == nil || was.Ownership == nil || p.Checkpoint == nil {
					continue
				}
				if was.State == ops.Expired && p.State == ops.Live {
					if was.Ownership.OwnerID == p.Ownership.OwnerID {
						seen["an owner that comes back"] = true
					} else {
						seen["a take-over"] = true
					}
				}
				switch {
				case p.Checkpoint.Generation > was.Checkpoint.Generation:
					seen["a reset"] = true
				default:
					require.GreaterOrEqual(t, *p.Checkpoint.SequenceNumber, *was.Checkpoint.SequenceNumber, "a position that went back")
				}
			}
			total(t, s, hub)
		}
		delete(seen, "an owner that comes back") // only if nobody was faster
		require.Len(t, seen, 5, "%v", seen)
		require.Greater(t, len(owners), 5, "owners come and go")
		s, hub := read(t, f, "orders", "billing")
		require.Less(t, *total(t, s, hub).Time, 10*time.Minute, "and they catch up")

		s, hub = read(t, f, "telemetry", "audit-export")
		states := make(map[ops.State]int)
		for _, p := range s.Partitions {
			states[p.State]++
		}
		require.Equal(t, map[ops.State]int{ops.Expired: 3, ops.Relinquished: 1}, states)
		require.Positive(t, total(t, s, hub).Lost)
	}
}

func TestEventsOfTheHub(t *testing.T) {
	f := demo.New(demo.Options{Seed: 1, Partitions: 4, Start: start})
	step(t, f, 30*time.Minute)
	hub, closeHub, err := f.OpenHub(ops.Scope{EventHubName: "orders"})
	require.NoError(t, err)
	defer closeHub()
	ctx := t.Context()
	at, err := hub.PartitionProperties(ctx, "0")
	require.NoError(t, err)
	require.Positive(t, at.BeginningSequenceNumber, "what is older than 20 minutes is gone")
	require.False(t, at.IsEmpty)

	read := func(from ops.ReadFrom) *ops.Event {
		t.Helper()
		e, err := hub.ReadEvent(ctx, "0", from)
		require.NoError(t, err)
		return e
	}
	number := func(n int64) ops.ReadFrom { return ops.ReadFrom{SequenceNumber: &n} }
	last := read(number(at.LastEnqueuedSequenceNumber))
	require.Equal(t, at.LastEnqueuedOffset, last.Offset)
	require.Nil(t, read(number(at.LastEnqueuedSequenceNumber+1)))
	require.Equal(t, at.BeginningSequenceNumber, read(number(0)).SequenceNumber)
	middle := read(number((at.BeginningSequenceNumber + at.LastEnqueuedSequenceNumber) / 2))
	require.Equal(t, middle, read(ops.ReadFrom{Offset: middle.Offset}))
	found := read(ops.ReadFrom{EnqueuedTime: &middle.EnqueuedTime})
	require.False(t, found.EnqueuedTime.Before(middle.EnqueuedTime))
	before := read(number(found.SequenceNumber - 1))
	require.True(t, before.EnqueuedTime.Before(middle.EnqueuedTime), "the first one at that time")
	future := f.Now().Add(time.Hour)
	require.Nil(t, read(ops.ReadFrom{EnqueuedTime: &future}))
	for n := at.BeginningSequenceNumber + 1; n <= at.LastEnqueuedSequenceNumber; n++ {
		require.False(t, read(number(n)).EnqueuedTime.Before(read(number(n-1)).EnqueuedTime), n)
	}

	for _, id := range []string{"4", "-1", "x", ""} {
		_, err = hub.PartitionProperties(ctx, id)
		require.Error(t, err, id)
	}
	_, _, err = f.OpenHub(ops.Scope{EventHubName: "none"})
	require.Error(t, err)
}

func TestStepAndRunEnd(t *testing.T) {
	f := demo.New(demo.Options{Start: start})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx, 100) }()
	for f.Now().Sub(start) < 10*time.Second {
		time.Sleep(time.Millisecond)
	}
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.ErrorIs(t, f.Step(ctx, time.Hour), context.Canceled)
}
