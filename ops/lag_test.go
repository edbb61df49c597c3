package ops_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/ops"
)

func describeLag(l ops.Lag) string {
	number := func(n *int64) string {
		if n == nil {
			return "?"
		}
		return fmt.Sprint(*n)
	}
	text := fmt.Sprintf("%s: events %s kept %s lost %d ahead %d", l.State, number(l.Events), number(l.Kept), l.Lost, l.Ahead)
	if l.Time != nil {
		text += fmt.Sprintf(" time %s by %s", *l.Time, l.Method)
	} else if l.Method != "" {
		text += " method without time"
	}
	return text
}

func TestLag(t *testing.T) {
	const none = math.MinInt64
	kept := fakePartition{first: 10, last: 99}
	for name, c := range map[string]struct {
		hub      fakePartition
		at       int64 // sequence number of the checkpoint
		enqueued bool  // it has the event's time
		history  bool
		want     string
	}{
		"behind":                               {kept, 89, false, false, "ok: events 10 kept ? lost 0 ahead 0"},
		"behind, with the time":                {kept, 89, true, false, "ok: events 10 kept ? lost 0 ahead 0 time 10s by metadata"},
		"behind, watched":                      {kept, 89, false, true, "ok: events 10 kept ? lost 0 ahead 0 time 10s by interpolated"},
		"behind, before it was watched":        {kept, 20, false, true, "ok: events 79 kept ? lost 0 ahead 0"},
		"the time goes before interpolation":   {kept, 89, true, true, "ok: events 10 kept ? lost 0 ahead 0 time 10s by metadata"},
		"done":                                 {kept, 99, false, false, "ok: events 0 kept ? lost 0 ahead 0 time 0s by nothing left"},
		"before the oldest event":              {kept, 9, false, false, "ok: events 90 kept ? lost 0 ahead 0"},
		"one event expired":                    {kept, 8, true, false, "expired: events 90 kept ? lost 1 ahead 0 time 1m31s by metadata"},
		"never checkpointed":                   {kept, none, false, false, "no checkpoint: events ? kept 90 lost 0 ahead 0"},
		"past the end":                         {kept, 100, false, false, "ahead: events ? kept ? lost 0 ahead 1"},
		"recreated":                            {fakePartition{0, -1, nil}, 5000, true, true, "ahead: events ? kept ? lost 0 ahead 5001"},
		"recreated, with events":               {fakePartition{0, 3, nil}, 5000, true, false, "ahead: events ? kept ? lost 0 ahead 4997"},
		"never an event":                       {fakePartition{0, -1, nil}, none, false, false, "empty: events 0 kept ? lost 0 ahead 0 time 0s by nothing left"},
		"never an event, at the start":         {fakePartition{0, -1, nil}, -1, false, false, "empty: events 0 kept ? lost 0 ahead 0 time 0s by nothing left"},
		"empty, done":                          {fakePartition{100, 99, nil}, 99, false, false, "empty: events 0 kept ? lost 0 ahead 0 time 0s by nothing left"},
		"empty, expired":                       {fakePartition{100, 99, nil}, 89, true, false, "expired: events 0 kept ? lost 10 ahead 0 time 0s by nothing left"},
		"empty, never checkpointed":            {fakePartition{100, 99, nil}, none, false, false, "empty: events 0 kept ? lost 0 ahead 0 time 0s by nothing left"},
		"one event, which KEDA takes for none": {fakePartition{7, 7, nil}, none, false, false, "no checkpoint: events ? kept 1 lost 0 ahead 0"},
	} {
		t.Run(name, func(t *testing.T) {
			p := ops.Partition{ID: "0"}
			if c.at != none {
				r := record("0", c.at)
				p.Checkpoint = &checkpointstore.CheckpointRecord{Checkpoint: r}
				if c.enqueued {
					at := event(c.at).EnqueuedTime
					p.Checkpoint.EnqueuedTime = &at
				}
			}
			var history *ops.History
			if c.history {
				history = ops.NewHistory(0)
				history.Add(hubOf(t, fakePartition{first: 0, last: 79}))
				history.Add(hubOf(t, kept))
			}
			require.Equal(t, c.want, describeLag(hubOf(t, c.hub).Lag(p, history)))
		})
	}
}

// hubOf is a hub with one partition, "0".
func hubOf(t *testing.T, p fakePartition) *ops.Hub {
	t.Helper()
	properties, err := newHub(map[string]fakePartition{"0": p}).PartitionProperties(ctx, "0")
	require.NoError(t, err)
	return &ops.Hub{Partitions: []ops.HubPartition{{ID: "0", Properties: properties}}}
}

func TestLagThatIsNotKnown(t *testing.T) {
	n := int64(5)
	at := &checkpointstore.CheckpointRecord{Checkpoint: checkpointstore.Checkpoint{SequenceNumber: &n}}
	hub := &ops.Hub{Partitions: []ops.HubPartition{{ID: "0", Err: errors.New("no answer")}}}
	require.Equal(t, "unknown: events ? kept ? lost 0 ahead 0", describeLag(hub.Lag(ops.Partition{ID: "0", Checkpoint: at}, nil)))
	require.Equal(t, "no partition: events ? kept ? lost 0 ahead 0", describeLag(hub.Lag(ops.Partition{ID: "1", Checkpoint: at}, nil)))
	hub = hubOf(t, fakePartition{first: 0, last: 9})
	require.Equal(t, "unknown: events ? kept ? lost 0 ahead 0",
		describeLag(hub.Lag(ops.Partition{ID: "0", Checkpoint: &checkpointstore.CheckpointRecord{}}, nil)), "not readable")

	// The event's time is after that of a later event.
	later := event(1000).EnqueuedTime
	at.EnqueuedTime = &later
	require.Equal(t, "ok: events 4 kept ? lost 0 ahead 0", describeLag(hub.Lag(ops.Partition{ID: "0", Checkpoint: at}, nil)))
}

func TestTotalLag(t *testing.T) {
	number := func(n int64) *int64 { return &n }
	short, long := time.Second, time.Minute
	total := ops.Total([]ops.Lag{
		{State: ops.LagKnown, Events: number(5), Time: &long},
		{State: ops.LagExpired, Events: number(7), Lost: 3, Time: &short},
		{State: ops.LagNoCheckpoint, Kept: number(9)},
		{State: ops.LagUnknown},
	})
	require.Equal(t, ops.TotalLag{Events: 12, Lost: 3, Time: &long, Unknown: 2}, total)
	require.Nil(t, ops.Total(nil).Time)
}

func TestHistory(t *testing.T) {
	history := ops.NewHistory(3)
	add := func(n int64, at time.Duration) {
		history.Add(&ops.Hub{Partitions: []ops.HubPartition{
			{ID: "0", Properties: ops.PartitionProperties{LastEnqueuedSequenceNumber: n, LastEnqueuedTime: noon.Add(at)}},
			{ID: "1", Err: errors.New("no answer")},
			{ID: "2", Properties: ops.PartitionProperties{LastEnqueuedSequenceNumber: -1}},
		}})
	}
	when := func(n int64) string {
		at := history.EnqueuedTime("0", n)
		if at == nil {
			return "unknown"
		}
		return at.Sub(noon).String()
	}
	require.Equal(t, "unknown", when(0))
	add(100, 0)
	add(100, 0) // nothing new
	require.Equal(t, "0s", when(100))
	require.Equal(t, "unknown", when(101))
	add(200, 10*time.Second)
	add(300, 110*time.Second)
	require.Equal(t, []string{"unknown", "0s", "5s", "10s", "1m0s", "1m50s", "unknown"},
		[]string{when(99), when(100), when(150), when(200), when(250), when(300), when(301)})
	add(400, 120*time.Second)
	require.Equal(t, []string{"unknown", "10s", "2m0s"}, []string{when(150), when(200), when(400)}, "the oldest is forgotten")
	add(5, 130*time.Second) // created anew
	require.Equal(t, []string{"2m10s", "unknown"}, []string{when(5), when(300)})
	add(9, time.Second) // its clock went back
	require.Equal(t, []string{"unknown", "1s"}, []string{when(5), when(9)})
	require.Nil(t, history.EnqueuedTime("1", 0))
	require.Nil(t, history.EnqueuedTime("2", -1))
}
