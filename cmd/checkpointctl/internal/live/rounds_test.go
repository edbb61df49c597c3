package live_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/live"
	"github.com/ea947076/checkpointstore/ops"
)

// However many browsers look: one list of all consumer groups in ten rounds, one read
// of each in a round, and one of each event hub.
func TestRequestsOfARound(t *testing.T) {
	bubble(t, func(w *world) {
		for _, group := range []string{"a", "b", "c"} {
			w.own(scope("orders", group), "x", "0")
		}
		w.own(scope("other", "a"), "x", "0")
		w.hubs["orders"], w.hubs["other"] = newHub(1, 2, 3), newHub(4, 5)
		w.start()
		for range 7 {
			w.listen()
		}
		const rounds = 20
		for range rounds {
			w.rounds(1)
			for range 5 {
				w.history("b")
				w.get("/metrics")
				w.get("/healthz")
			}
		}
		require.EqualValues(w, 3, w.store.lists.Load(), "rounds 0, 10 and 20")
		require.EqualValues(w, 4*(rounds+1), w.store.reads.Load())
		require.EqualValues(w, rounds+1, w.hubs["orders"].lists.Load())
		require.EqualValues(w, 3*(rounds+1), w.hubs["orders"].requests.Load())
		require.EqualValues(w, 2*(rounds+1), w.hubs["other"].requests.Load())
		require.EqualValues(w, 1, w.hubs["orders"].opened.Load())
	})
}

func TestASlowRoundDelaysTheNext(t *testing.T) {
	bubble(t, func(w *world) {
		w.own(scope("hub", "group"), "x", "0")
		w.store.misbehave(misbehaviour{delay: 35 * time.Second})
		w.start()
		w.wait(10 * time.Minute)
		require.Equal(w, 1, w.store.mostReads())
		require.InDelta(w, 600/35, w.store.reads.Load(), 1)
	})
}

// A container of many groups is not read all at once.
func TestReadsAtOnce(t *testing.T) {
	bubble(t, func(w *world) {
		for i := range 10 {
			w.own(scope("hub", strconv.Itoa(i)), "x", "0")
		}
		w.store.misbehave(misbehaviour{delay: time.Second})
		w.start()
		w.wait(5 * time.Second)
		require.EqualValues(w, 10, w.store.reads.Load())
		require.Equal(w, 4, w.store.mostReads())
	})
}

// An event hub that takes several rounds holds nothing up, and is not asked again
// before it has answered. Its lag is that of when it was asked: a checkpoint that was
// written later is not taken for one ahead of the event hub.
func TestASlowEventHub(t *testing.T) {
	bubble(t, func(w *world) {
		group := scope("hub", "group")
		w.own(group, "x", "0")
		w.checkpoint(group, "0", 90, nil)
		hub := newHub(100)
		hub.delay = 19 * time.Second
		w.hubs["hub"] = hub
		w.start(func(o *live.Options) { o.Hub.Timeout = time.Minute })
		w.wait(14 * time.Second)
		require.Equal(w, string(ops.LagUnknown), *w.group("group").Partitions[0].LagState, "no answer yet")
		require.EqualValues(w, 2, w.store.reads.Load())
		w.wait(5500 * time.Millisecond) // it has answered, between the second round and the third
		hub.set("0", 0, 500, time.Now())
		w.checkpoint(group, "0", 450, nil)
		w.wait(10 * time.Second)
		p := w.group("group").Partitions[0]
		require.EqualValues(w, 450, *p.SequenceNumber)
		require.Equal(w, string(ops.LagKnown), *p.LagState)
		require.EqualValues(w, 10, *p.Lag)
		w.wait(18500 * time.Millisecond) // the next answer
		require.EqualValues(w, 50, *w.group("group").Partitions[0].Lag)
		w.wait(151500 * time.Millisecond)
		require.EqualValues(w, 20, w.store.reads.Load())
		require.EqualValues(w, 10, hub.lists.Load(), "every second round")
	})
}

// A partition that answered long before the last one of its event hub did is compared
// with the checkpoint of that time.
func TestASlowPartition(t *testing.T) {
	bubble(t, func(w *world) {
		group := scope("hub", "group")
		w.checkpoint(group, "0", 90, nil)
		hub := newHub(100, 100)
		hub.delay, hub.delayed = 35*time.Second, "1"
		w.hubs["hub"] = hub
		w.start(func(o *live.Options) { o.Hub.Timeout = time.Minute })
		w.wait(5 * time.Second)
		w.checkpoint(group, "0", 450, nil)
		w.wait(34 * time.Second)
		p := w.group("group").Partitions[0]
		require.EqualValues(w, 450, *p.SequenceNumber)
		require.Equal(w, string(ops.LagKnown), *p.LagState, "and not ahead of the event hub")
		require.EqualValues(w, 10, *p.Lag)
	})
}

func TestAnEventHubThatHangs(t *testing.T) {
	bubble(t, func(w *world) {
		w.own(scope("hub", "group"), "x", "0")
		hub := newHub(100)
		hub.hang = true
		w.hubs["hub"] = hub
		defer close(hub.released)
		w.start()
		w.wait(25 * time.Second)
		require.Contains(w, *w.group("group").Group.Error, "the event hub did not answer")
		require.EqualValues(w, 3, w.store.reads.Load())
		require.NoError(w, w.stop(), "without the answer")
	})
}

// Groups that come are shown after ten rounds at most, and those that are gone go.
func TestGroupsComeAndGo(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		require.Empty(w, w.groups().Groups)
		w.hubs["hub"], w.hubs["other"] = newHub(1), newHub(1)
		w.hubs["other"].delay = time.Hour
		require.NoError(w, w.stop())
		w.start(func(o *live.Options) { o.Hub.Timeout = 2 * time.Hour })
		w.own(scope("hub", "a"), "x", "0")
		w.rounds(1)
		require.Len(w, w.groups().Groups, 1, "an empty container is listed each time")
		w.own(scope("other", "b"), "x", "0")
		w.rounds(8)
		require.Len(w, w.groups().Groups, 1)
		w.wait(18 * time.Second) // a round waits a while for the event hub, which does not answer
		require.Len(w, w.groups().Groups, 2)
		path := w.path("b")
		o, err := w.store.ListOwnership(w.Context(), "ns.servicebus.windows.net", "other", "b", nil)
		require.NoError(w, err)
		require.NoError(w, w.store.DeleteOwnership(w.Context(), o[0], nil))
		w.rounds(10)
		require.Len(w, w.groups().Groups, 1)
		require.Equal(w, http.StatusNotFound, w.get(path).StatusCode)
		require.EqualValues(w, 1, w.hubs["other"].closed.Load())
		require.EqualValues(w, 0, w.hubs["hub"].closed.Load())
	})
}

func TestHistoryIsBounded(t *testing.T) {
	for _, c := range []struct {
		interval time.Duration
		points   int
	}{{10 * time.Second, 360}, {time.Minute, 60}, {time.Second, 720}, {2 * time.Hour, 2}} {
		bubble(t, func(w *world) {
			group := scope("hub", "group")
			w.own(group, "x", "0")
			w.hubs["hub"] = newHub(0)
			w.checkpoint(group, "0", 0, nil)
			w.start(func(o *live.Options) { o.Interval = c.interval })
			for i := range c.points + 10 {
				w.hubs["hub"].set("0", 0, int64(i), time.Now())
				w.wait(c.interval)
			}
			h := w.history("group")
			require.Len(w, h.Times, c.points)
			require.Len(w, h.Lag, c.points)
			require.Len(w, h.LagTime, c.points)
			require.Len(w, h.Partitions["0"].Lag, c.points)
			require.Len(w, h.Partitions["0"].Age, c.points)
			for i := range c.points {
				require.EqualValues(w, i+10, *h.Lag[i], "the oldest are forgotten")
				require.Equal(w, c.interval.Seconds()*float64(i), h.Times[i]-h.Times[0])
			}
		})
	}
}

// A partition has its place in time, whenever it comes and goes.
func TestHistoryOfPartitions(t *testing.T) {
	bubble(t, func(w *world) {
		group := scope("hub", "group")
		w.checkpoint(group, "0", 0, nil)
		w.start(func(o *live.Options) { o.Interval = 10 * time.Minute }) // 6 points
		interval := 10 * time.Minute
		w.wait(interval)
		w.checkpoint(group, "1", 0, nil)
		w.wait(interval)
		h := w.history("group")
		require.Nil(w, h.Partitions["1"].Age[0])
		require.Nil(w, h.Partitions["1"].Age[1])
		require.NotNil(w, h.Partitions["1"].Age[2])
		require.Nil(w, h.Partitions["1"].Lag[2], "without event hub")
		require.Equal(w, 600.0, *h.Partitions["0"].Age[1])

		records, err := w.store.ListRecords(w.Context(), group.FullyQualifiedNamespace, group.EventHubName, group.ConsumerGroup, nil)
		require.NoError(w, err)
		require.NoError(w, w.store.DeleteCheckpoint(w.Context(), records[0].Checkpoints[0], nil))
		w.wait(5 * interval)
		h = w.history("group")
		require.Contains(w, h.Partitions, "0", "seen an hour ago")
		require.NotNil(w, h.Partitions["0"].Age[0])
		for _, age := range h.Partitions["0"].Age[1:] {
			require.Nil(w, age)
		}
		w.wait(interval)
		require.NotContains(w, w.history("group").Partitions, "0")
		require.Contains(w, w.history("group").Partitions, "1")
	})
}

func TestEvents(t *testing.T) {
	bubble(t, func(w *world) {
		group := scope("hub", "group")
		w.own(group, "a", "0", "1")
		w.start()
		require.Empty(w, w.group("group").Events, "what was there before")
		w.own(group, "b", "0")
		w.own(group, "", "1")
		w.own(group, "b", "2")
		w.rounds(1)
		text := func(e eventJSON) string {
			name := func(s *string) string {
				if s == nil {
					return "-"
				}
				return *s
			}
			return e.PartitionID + " " + e.Kind + " " + name(e.From) + ">" + name(e.To)
		}
		var got []string
		for _, e := range w.group("group").Events {
			got = append(got, text(e))
		}
		require.Equal(w, []string{"0 owner a>b", "1 owner a>-", "2 owner ->b"}, got)
		for i := range 600 {
			w.own(group, strconv.Itoa(i), "0")
			w.rounds(1)
		}
		events := w.group("group").Events
		require.Len(w, events, 500)
		require.Equal(w, "0 owner 598>599", text(events[499]))
	})
}

func TestCheckpointsThatGoBack(t *testing.T) {
	bubble(t, func(w *world) {
		group := scope("hub", "group")
		w.checkpoint(group, "0", 500, nil)
		w.checkpoint(group, "1", 500, nil)
		w.start()
		w.checkpoint(group, "0", 600, nil)
		w.rounds(1)
		require.Empty(w, w.group("group").Events, "forward")
		records, err := w.store.ListRecords(w.Context(), group.FullyQualifiedNamespace, group.EventHubName, group.ConsumerGroup, nil)
		require.NoError(w, err)
		for _, c := range records[0].Checkpoints {
			require.NoError(w, w.store.DeleteCheckpoint(w.Context(), c, nil))
		}
		other := &world{T: w.T, store: &countingStore{Store: w.memory.Share()}} // which remembers nothing, as consumers of other packages
		other.checkpoint(group, "1", 100, nil)
		w.rounds(1)
		events := w.group("group").Events
		require.Len(w, events, 2)
		require.Equal(w, []string{"1 checkpoint-back", "0 checkpoint-back"}, []string{
			events[0].PartitionID + " " + events[0].Kind, events[1].PartitionID + " " + events[1].Kind,
		})
	})
}
