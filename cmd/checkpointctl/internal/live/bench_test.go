package live_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/live"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/ops"
)

// large is a container with one consumer group of 1,024 partitions, on the blob store
// with its real client over a service in this process, and an event hub that answers at
// once.
type large struct {
	*testing.B
	hub     *fakeHub
	store   *oneGroup
	server  *live.Server
	handler http.Handler
	group   string // path of its resource
	round   int64
}

const manyPartitions = 1024

func newLarge(b *testing.B) *large {
	percent := debug.SetGCPercent(live.GCPercent)
	b.Cleanup(func() { debug.SetGCPercent(percent) })
	ctx := context.Background()
	service := fakeblob.New()
	service.SetRecording(false)
	store, err := checkpointstore.NewBlobCheckpointStore(service.Client(), nil)
	require.NoError(b, err)
	l := &large{B: b, hub: newHub()}
	s := scope("orders", "billing")
	for i := range manyPartitions {
		id := strconv.Itoa(i)
		l.hub.ids = append(l.hub.ids, id)
		_, err := store.ClaimOwnership(ctx, []checkpointstore.Ownership{{
			FullyQualifiedNamespace: s.FullyQualifiedNamespace, EventHubName: s.EventHubName, ConsumerGroup: s.ConsumerGroup,
			PartitionID: id, OwnerID: fmt.Sprintf("billing-5f7c9d8b-%04d", i%32),
		}}, nil)
		require.NoError(b, err)
		number, offset := int64(i)*1000, strconv.Itoa(i*512000)
		require.NoError(b, store.UpdateCheckpoint(ctx, checkpointstore.Checkpoint{
			FullyQualifiedNamespace: s.FullyQualifiedNamespace, EventHubName: s.EventHubName, ConsumerGroup: s.ConsumerGroup,
			PartitionID: id, SequenceNumber: &number, Offset: &offset,
		}, nil))
	}
	require.NoError(b, store.Close())
	store, err = checkpointstore.NewBlobCheckpointStore(service.Client(), nil) // one that only lists
	require.NoError(b, err)
	b.Cleanup(func() { store.Close() })
	l.store = &oneGroup{Store: store, scope: s}
	l.server = live.New(live.Options{
		Store:    l.store,
		OpenHub:  func(ops.Scope) (ops.EventHub, func(), error) { return l.hub, func() {}, nil },
		Interval: live.DefaultInterval,
		Hub:      ops.HubOptions{Interval: time.Nanosecond},
	})
	l.handler = l.server.Handler(address)
	return l
}

// oneGroup is a store that knows its consumer group. The service does not list folders,
// which a round in ten asks for.
type oneGroup struct {
	ops.Store
	scope ops.Scope
	again []checkpointstore.ScopeRecords // what to answer, without asking the service
}

func (s *oneGroup) ListRecords(ctx context.Context, namespace, hub, consumerGroup string, o *checkpointstore.ListRecordsOptions) ([]checkpointstore.ScopeRecords, error) {
	if s.again != nil {
		return s.again, nil
	}
	return s.Store.ListRecords(ctx, namespace, hub, consumerGroup, o)
}

// fill makes rounds without the service, which takes most of the time.
func (l *large) fill(rounds int) {
	var err error
	s := l.store.scope
	l.store.again, err = l.store.ListRecords(context.Background(), s.FullyQualifiedNamespace, s.EventHubName, s.ConsumerGroup, nil)
	require.NoError(l, err)
	for range rounds {
		l.refresh()
	}
	l.store.again = nil
}

func (s *oneGroup) ListScopes(context.Context, *checkpointstore.ListScopesOptions) ([]checkpointstore.Scope, error) {
	return []checkpointstore.Scope{s.scope}, nil
}

// refresh makes a round in which every partition has other numbers.
func (l *large) refresh() {
	l.round++
	at := time.Now().Add(time.Duration(l.round) * live.DefaultInterval)
	for i, id := range l.hub.ids {
		l.hub.set(id, 0, int64(i)*1000+l.round*(100+int64(i)), at)
	}
	l.server.Refresh(context.Background())
}

// show sends what a browser and Prometheus ask for after a round, and returns its size.
func (l *large) show() int {
	if l.group == "" {
		var g groupsJSON
		require.NoError(l, json.Unmarshal(l.get("/api/v1/groups"), &g))
		require.Len(l, g.Groups, 1, "%s", g.Errors)
		require.EqualValues(l, manyPartitions, g.Groups[0].Partitions)
		require.Zero(l, g.Groups[0].LagUnknown)
		l.group = "/api/v1/groups/" + g.Groups[0].ID
	}
	n := 0
	for _, path := range []string{"/api/v1/groups", l.group, l.group + "/history", "/metrics"} {
		n += len(l.get(path))
	}
	return n
}

func (l *large) get(path string) []byte {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = address
	w := httptest.NewRecorder()
	l.handler.ServeHTTP(w, r)
	require.Equal(l, http.StatusOK, w.Code, path)
	return w.Body.Bytes()
}

// BenchmarkRound is a round of 1,024 partitions with a full history, and all that is
// shown of it: the processor time, also as part of an interval of 10 seconds. That of
// the service is in it.
func BenchmarkRound(b *testing.B) {
	l := newLarge(b)
	l.fill(360)
	l.show()
	b.ReportAllocs()
	b.ResetTimer()
	began := processorTime(b)
	for range b.N {
		l.refresh()
		l.show()
	}
	used := (processorTime(b) - began) / time.Duration(b.N)
	b.ReportMetric(float64(used.Microseconds())/1000, "cpu-ms/op")
	b.ReportMetric(100*used.Seconds()/live.DefaultInterval.Seconds(), "%-of-a-core")
}

// BenchmarkHour is the memory after an hour of rounds of 1,024 partitions, the latest of
// which are shown: what Go has from the system, with that of the service.
func BenchmarkHour(b *testing.B) {
	for range b.N {
		l := newLarge(b)
		size := 0
		l.fill(360)
		for range 30 {
			l.refresh()
			size = l.show()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.Sys-m.HeapReleased)/1e6, "MB-resident")
		runtime.GC()
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapAlloc)/1e6, "MB-live")
		b.ReportMetric(float64(size)/1e6, "MB-shown")
		runtime.KeepAlive(l)
	}
}
