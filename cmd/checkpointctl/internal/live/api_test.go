package live_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/live"
	"github.com/ea947076/checkpointstore/ops"
)

// script is two consumer groups with every state that there is, over three rounds.
func (w *world) script() {
	orders, audit := scope("orders", "billing"), scope("orders", "audit")
	w.hubs["orders"] = newHub(1000, 2000, 3000, 4000, -1, 50)
	hub := w.hubs["orders"]
	enqueued := time.Now().Add(-time.Minute)
	w.own(orders, "a", "0", "1", "3")
	w.own(orders, "", "3")
	w.checkpoint(orders, "0", 900, &checkpointstore.UpdateCheckpointOptions{EnqueuedTime: &enqueued})
	w.checkpoint(orders, "1", 2000, nil)
	w.checkpoint(orders, "2", 10, &checkpointstore.UpdateCheckpointOptions{EnqueuedTime: &enqueued})
	w.checkpoint(orders, "5", 70, nil) // ahead of the event hub
	w.own(audit, "x", "0")
	hub.set("2", 500, 3000, time.Now()) // 489 events are lost
	w.wait(50 * time.Second)
	w.own(orders, "b", "0", "1")
	w.wait(20 * time.Second) // the owner of audit is expired

	w.start()
	w.wait(5 * time.Second)
	w.own(orders, "c", "1")
	w.own(orders, "a", "4")
	number := int64(800)
	require.NoError(w, w.store.UpdateCheckpoint(w.Context(), checkpointstore.Checkpoint{
		FullyQualifiedNamespace: orders.FullyQualifiedNamespace, EventHubName: orders.EventHubName, ConsumerGroup: orders.ConsumerGroup,
		PartitionID: "0", SequenceNumber: &number,
	}, &checkpointstore.UpdateCheckpointOptions{Rewind: true}))
	hub.set("1", 0, 2100, time.Now())
	w.rounds(1)
	hub.set("1", 0, 2200, time.Now())
	w.checkpoint(orders, "1", 2050, nil)
	w.rounds(1)
}

func TestResources(t *testing.T) {
	bubble(t, func(w *world) {
		w.script()
		goldenJSON(w.T, "groups.json", w.get("/api/v1/groups").body)
		goldenJSON(w.T, "group.json", w.get(w.path("billing")).body)
		goldenJSON(w.T, "history.json", w.get(w.path("billing")+"/history").body)
		golden(w.T, "metrics.txt", w.get("/metrics").body)
		var ids []string
		for _, p := range w.group("audit").Partitions {
			ids = append(ids, p.PartitionID)
		}
		require.Equal(w, []string{"0", "1", "2", "3", "4", "5"}, ids, "all but one of which only the event hub has")
	})
}

func TestEveryGroupHasItsName(t *testing.T) {
	bubble(t, func(w *world) {
		for _, name := range []string{"$Default", "a b", "ö", `"quoted"`, "%2f"} {
			w.own(scope("hub", name), "x", "0")
		}
		w.start()
		for _, g := range w.groups().Groups {
			require.Regexp(w, `^[A-Za-z0-9_-]{16}$`, g.ID)
			require.Equal(w, g.Group, w.group(g.Group).Group.Group)
		}
		for _, path := range []string{"/api/v1/groups/nobody", "/api/v1/groups/nobody/history", "/api/v1/groups/", "/api/v1", "/api/v2/groups"} {
			require.Equal(w, http.StatusNotFound, w.get(path).StatusCode, path)
		}
	})
}

func TestBeforeTheFirstRoundNothingIsKnown(t *testing.T) {
	bubble(t, func(w *world) {
		w.own(scope("hub", "group"), "x", "0")
		w.store.misbehave(misbehaviour{delay: time.Minute})
		w.start()
		for _, path := range []string{"/api/v1/groups", "/api/v1/groups/x", "/api/v1/groups/x/history"} {
			r := w.get(path)
			require.Equal(w, http.StatusServiceUnavailable, r.StatusCode, path)
			require.Equal(w, "1", r.Header.Get("Retry-After"))
			require.JSONEq(w, `{"schemaVersion":1,"error":"the first round is not over"}`, string(r.body))
		}
		require.Equal(w, []string{"retry: 1000"}, w.listen().received())
		require.Empty(w, w.metricLines("checkpointstore_"))
	})
}

// A browser that has a resource already gets its headers alone, and a resource is
// another one after each round.
func TestETags(t *testing.T) {
	bubble(t, func(w *world) {
		w.own(scope("hub", "group"), "x", "0")
		w.start()
		group := w.path("group")
		for _, path := range []string{"/api/v1/groups", group, group + "/history"} {
			first := w.get(path)
			etag := first.Header.Get("ETag")
			require.NotEmpty(w, etag)
			require.Equal(w, "no-cache", first.Header.Get("Cache-Control"))
			again := w.get(path, "If-None-Match", etag)
			require.Equal(w, http.StatusNotModified, again.StatusCode)
			require.Empty(w, again.body)
			require.Equal(w, etag, again.Header.Get("ETag"))
			w.rounds(1)
			later := w.get(path, "If-None-Match", etag)
			require.Equal(w, http.StatusOK, later.StatusCode)
			require.NotEqual(w, etag, later.Header.Get("ETag"))
			head := w.do(http.MethodHead, path)
			require.Equal(w, http.StatusOK, head.StatusCode)
			require.Empty(w, head.body)
			require.Equal(w, strconv.Itoa(len(later.body)), head.Header.Get("Content-Length"))
		}
		etags := make(map[string]bool)
		for range 2 {
			require.NoError(w, w.stop())
			w.start()
			etags[w.get(group).Header.Get("ETag")] = true
		}
		require.Len(w, etags, 2, "the same round of two processes")
	})
}

// What others wrote into blobs is never markup.
func TestHostileNames(t *testing.T) {
	const markup = `"><script>alert(1)</script>&amp;<!--`
	bubble(t, func(w *world) {
		names := []string{`<img src=x onerror=alert(1)>`, `a"b&c`, `</title`[:1] + `svg onload=alert(2)>`}
		hostile := scope("hub", names[0])
		w.own(hostile, markup, names[1], "0")
		w.own(hostile, "'); alert(1)//", "0")
		w.checkpoint(hostile, names[1], 7, nil)
		w.hubs["hub"] = newHub(1)
		w.hubs["hub"].breakWith(errors.New(markup), nil)
		w.start()
		w.own(hostile, "x", names[1])
		w.rounds(1)
		group := w.path(names[0])
		for _, path := range []string{"/api/v1/groups", group, group + "/history"} {
			r := w.get(path)
			require.Equal(w, http.StatusOK, r.StatusCode)
			require.Equal(w, "application/json; charset=utf-8", r.Header.Get("Content-Type"))
			require.NotContains(w, string(r.body), "<")
			require.NotContains(w, string(r.body), ">")
			require.NotContains(w, string(r.body), "&")
		}
		got := w.group(names[0])
		require.Equal(w, names[0], got.Group.Group)
		require.Contains(w, *got.Group.Error, markup)
		require.Equal(w, names[1], got.Partitions[1].PartitionID)
		require.Equal(w, markup, *got.Partitions[1].Writer)
		require.Equal(w, markup, *got.Events[0].From)
		require.Contains(w, w.history(names[0]).Partitions, names[1])
		require.Contains(w, w.metricLines("checkpointstore_partition_owned"),
			`{messaging_consumer_group_name="<img src=x onerror=alert(1)>",messaging_destination_name="hub",messaging_destination_partition_id="a\"b&c",messaging_system="eventhubs",server_address="ns.servicebus.windows.net"} 1`)
		require.True(w, strings.HasPrefix(w.get("/metrics").Header.Get("Content-Type"), "text/plain; version=0.0.4; charset=utf-8"))
		r := w.get("/api/v1/groups/" + "%3Cscript%3E")
		require.Equal(w, http.StatusNotFound, r.StatusCode)
		require.NotContains(w, string(r.body), "script")
	})
}

func TestHealth(t *testing.T) {
	bubble(t, func(w *world) {
		w.own(scope("hub", "group"), "x", "0")
		w.store.misbehave(misbehaviour{delay: time.Minute})
		w.start()
		require.Equal(w, http.StatusServiceUnavailable, w.get("/healthz").StatusCode)
		w.wait(time.Minute + time.Second)
		w.store.misbehave(misbehaviour{}) // the second round began with the old delay
		r := w.get("/healthz")
		require.Equal(w, http.StatusOK, r.StatusCode)
		require.Equal(w, "ok\n", string(r.body))
		require.Equal(w, "text/plain; charset=utf-8", r.Header.Get("Content-Type"))
		w.wait(28 * time.Second)
		require.Equal(w, http.StatusOK, w.get("/healthz").StatusCode)
		w.wait(2 * time.Second)
		r = w.get("/healthz")
		require.Equal(w, http.StatusServiceUnavailable, r.StatusCode)
		require.Equal(w, "the latest round ended 31s ago\n", string(r.body))
		w.wait(time.Minute)
		require.Equal(w, http.StatusOK, w.get("/healthz").StatusCode)
	})
}

// Rounds that fail are rounds: who reads the page sees the error.
func TestErrorsAreShown(t *testing.T) {
	bubble(t, func(w *world) {
		w.own(scope("hub", "a"), "x", "0")
		w.own(scope("hub", "b"), "x", "0")
		w.checkpoint(scope("hub", "a"), "0", 5, nil)
		w.hubs["hub"] = newHub(10)
		w.start()
		require.Empty(w, w.groups().Errors)
		require.Equal(w, []string{"0"}, w.metricLines("checkpointstore_round_errors_total"))

		w.store.misbehave(misbehaviour{failRead: map[string]error{"a": errors.New("no rights")}})
		w.hubs["hub"].set("0", 0, 20, time.Now())
		w.rounds(1)
		a := w.group("a")
		require.Equal(w, "no rights", *a.Group.Error)
		require.EqualValues(w, 5, *a.Partitions[0].Lag, "as it was")
		w.hubs["hub"].set("0", 0, 10, time.Now())
		require.True(w, a.Group.ReadTime.Before(*w.group("b").Group.ReadTime))
		require.Nil(w, w.group("b").Group.Error)
		require.Len(w, w.metricLines("checkpointstore_partition_owned"), 1, "b alone")
		require.Equal(w, []string{"1"}, w.metricLines("checkpointstore_round_errors_total"))
		h := w.history("a")
		require.Nil(w, h.Partitions["0"].Age[1])
		require.Nil(w, h.Lag[1])

		w.store.misbehave(misbehaviour{})
		w.hubs["hub"].breakWith(errors.New("no event hub"), nil)
		w.rounds(1)
		a = w.group("a")
		require.Equal(w, "event hub: no event hub", strings.ReplaceAll(*a.Group.Error, "asking the event hub for its partitions: ", ""))
		require.Equal(w, string(ops.LagUnknown), *a.Partitions[0].LagState)
		require.Nil(w, a.Group.Lag)
		require.Equal(w, 1, a.Group.LagUnknown)
		require.Empty(w, w.metricLines("checkpointstore_consumer_lag_events"))
		h = w.history("a")
		require.Nil(w, h.Lag[2])
		require.NotNil(w, h.Partitions["0"].Age[2])
		require.Len(w, w.groups().Errors, 1)

		w.hubs["hub"].breakWith(nil, map[string]error{"0": errors.New("one partition")})
		w.rounds(1)
		require.Equal(w, "event hub: 1 of 1 partitions: one partition", *w.group("a").Group.Error)

		w.hubs["hub"].breakWith(nil, nil)
		w.store.misbehave(misbehaviour{failList: errors.New("no list")})
		w.rounds(10)
		g := w.groups()
		require.Equal(w, []string{"listing the consumer groups: no list"}, g.Errors)
		require.Len(w, g.Groups, 2, "those known")
		require.EqualValues(w, 5, *w.group("a").Group.Lag)
		w.store.misbehave(misbehaviour{})
		w.rounds(1)
		require.Empty(w, w.groups().Errors)
		require.Empty(w, w.group("a").Events)
	})
}

func TestAnEventHubThatCannotBeOpenedIsTriedAgain(t *testing.T) {
	bubble(t, func(w *world) {
		w.own(scope("hub", "group"), "x", "0")
		w.start(func(o *live.Options) { o.OpenHub = w.openHub })
		require.Equal(w, "event hub: there is no such event hub", *w.group("group").Group.Error)
		w.mu.Lock()
		w.hubs["hub"] = newHub(10)
		w.mu.Unlock()
		w.rounds(1)
		require.Nil(w, w.group("group").Group.Error)
		require.Equal(w, string(ops.LagNoCheckpoint), *w.group("group").Partitions[0].LagState)
		require.EqualValues(w, 1, w.hubs["hub"].opened.Load())
	})
}

func TestWithoutEventHubsLagIsNotKnown(t *testing.T) {
	bubble(t, func(w *world) {
		w.own(scope("hub", "group"), "x", "0")
		w.checkpoint(scope("hub", "group"), "0", 5, nil)
		w.start()
		p := w.group("group").Partitions[0]
		require.Nil(w, p.LagState)
		require.Nil(w, p.Lag)
		require.Nil(w, w.group("group").Group.Lost)
	})
}

// mixed is a store with two spellings of one consumer group, as blobs may have.
type mixed struct {
	ops.Store
	mu   sync.Mutex
	read []string
}

func (s *mixed) ListScopes(context.Context, *checkpointstore.ListScopesOptions) ([]checkpointstore.Scope, error) {
	return []checkpointstore.Scope{scope("hub", "$default"), scope("hub", "$Default")}, nil
}

func (s *mixed) ListRecords(ctx context.Context, namespace, hub, consumerGroup string, o *checkpointstore.ListRecordsOptions) ([]checkpointstore.ScopeRecords, error) {
	s.mu.Lock()
	s.read = append(s.read, consumerGroup)
	s.mu.Unlock()
	return s.Store.ListRecords(ctx, namespace, hub, consumerGroup, o)
}

func TestSpellings(t *testing.T) {
	bubble(t, func(w *world) {
		store := &mixed{Store: w.store}
		w.start(func(o *live.Options) { o.Store = store })
		g := w.groups().Groups
		require.Len(w, g, 1)
		require.Equal(w, "$default", g[0].Group)
		require.Equal(w, []string{"ns.servicebus.windows.net/hub/$Default", "ns.servicebus.windows.net/hub/$default"}, g[0].Spellings)
		require.Equal(w, []string{"$Default"}, store.read, "which finds both")
	})
	bubble(t, func(w *world) {
		w.start(func(o *live.Options) { o.Store, o.EachSpelling = &mixed{Store: w.store}, true })
		g := w.groups().Groups
		require.Len(w, g, 2)
		require.Equal(w, []string{"$Default", "$default"}, []string{g[0].Group, g[1].Group})
		require.NotEqual(w, g[0].ID, g[1].ID)
	})
}

func TestInclude(t *testing.T) {
	bubble(t, func(w *world) {
		w.own(scope("hub", "a"), "x", "0")
		w.own(scope("hub", "b"), "x", "0")
		w.start(func(o *live.Options) { o.Include = func(s ops.Scope) bool { return s.ConsumerGroup == "b" } })
		require.Len(w, w.groups().Groups, 1)
		require.EqualValues(w, 1, w.store.reads.Load(), "what is not shown is not read")
	})
}
