package live_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/live"
	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/report"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/ops"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "go test -run %s -update writes %s anew", t.Name(), path)
}

func goldenJSON(t *testing.T, name string, got []byte) {
	t.Helper()
	var indented bytes.Buffer
	require.NoError(t, json.Indent(&indented, got, "", "  "), "%s", got)
	golden(t, name, indented.Bytes())
}

// address is what the servers of the tests believe to listen on.
const address = "127.0.0.1:8460"

// world is a store, event hubs, and a server that shows them. Its time is that of a
// synctest bubble: it stands still while anything runs.
type world struct {
	*testing.T
	memory *memstore.Store
	store  *countingStore
	mu     sync.Mutex
	hubs   map[string]*fakeHub // guarded by mu
	server *live.Server
	client *http.Client
	stop   func() error // ends the server and returns the error of Serve
}

// bubble runs a test with a world whose server is not running yet. At its end no
// goroutine may be left.
func bubble(t *testing.T, test func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		memory := memstore.New()
		test(&world{T: t, memory: memory, store: &countingStore{Store: memory.Share()}, hubs: make(map[string]*fakeHub)})
	})
}

// start serves on connections within the bubble, and waits for the first round.
func (w *world) start(change ...func(*live.Options)) {
	w.Helper()
	options := live.Options{Store: w.store, Hub: ops.HubOptions{Interval: time.Nanosecond}}
	if len(w.hubs) > 0 {
		options.OpenHub = w.openHub
	}
	for _, c := range change {
		c(&options)
	}
	w.server = live.New(options)
	listener := &pipeListener{connections: make(chan net.Conn), closed: make(chan struct{})}
	ctx, cancel := context.WithCancel(w.Context())
	served := make(chan error, 1)
	go func() { served <- w.server.Serve(ctx, listener) }()
	w.client = &http.Client{Transport: &http.Transport{DialContext: listener.dial, DisableCompression: true}}
	w.stop = sync.OnceValue(func() error {
		cancel()
		err := <-served
		w.client.CloseIdleConnections()
		return err
	})
	w.Cleanup(func() { require.NoError(w, w.stop()) })
	w.wait(time.Millisecond) // which the requests to event hubs take
}

func (w *world) openHub(scope ops.Scope) (ops.EventHub, func(), error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.hubs[scope.EventHubName]
	if h == nil {
		return nil, nil, errors.New("there is no such event hub")
	}
	h.opened.Add(1)
	return h, func() { h.closed.Add(1) }, nil
}

// wait lets time pass.
func (w *world) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// rounds lets rounds happen.
func (w *world) rounds(n int) { w.wait(time.Duration(n) * live.DefaultInterval) }

type response struct {
	*http.Response
	body []byte
}

// get sends a GET.
func (w *world) get(path string, headers ...string) response {
	w.Helper()
	return w.do(http.MethodGet, path, headers...)
}

func (w *world) do(method, path string, headers ...string) response {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), method, "http://"+address+path, nil)
	require.NoError(w, err)
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := w.client.Do(r)
	require.NoError(w, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(w, err)
	return response{answer, body}
}

// json is the body of a GET, which must be 200.
func (w *world) json(path string, into any) []byte {
	w.Helper()
	r := w.get(path)
	require.Equal(w, http.StatusOK, r.StatusCode, "%s", r.body)
	require.Equal(w, "application/json; charset=utf-8", r.Header.Get("Content-Type"))
	require.NoError(w, json.Unmarshal(r.body, into), "%s", r.body)
	return r.body
}

type groupsJSON struct {
	Time   time.Time    `json:"time"`
	Errors []string     `json:"errors"`
	Groups []live.Group `json:"groups"`
}

type groupJSON struct {
	Group      live.Group         `json:"group"`
	Partitions []report.Partition `json:"partitions"`
	Events     []eventJSON        `json:"events"`
}

type eventJSON struct {
	PartitionID string  `json:"partitionId"`
	Kind        string  `json:"kind"`
	From        *string `json:"from"`
	To          *string `json:"to"`
}

type historyJSON struct {
	Times      []float64  `json:"times"`
	Lag        []*int64   `json:"lag"`
	LagTime    []*float64 `json:"lagSeconds"`
	Partitions map[string]struct {
		Lag []*int64   `json:"lag"`
		Age []*float64 `json:"checkpointAgeSeconds"`
	} `json:"partitions"`
}

func (w *world) groups() (g groupsJSON) { w.Helper(); w.json("/api/v1/groups", &g); return g }

// path is where the consumer group is, of those that are shown.
func (w *world) path(consumerGroup string) string {
	w.Helper()
	for _, g := range w.groups().Groups {
		if g.Group == consumerGroup {
			return "/api/v1/groups/" + g.ID
		}
	}
	require.Fail(w, "no such group", consumerGroup)
	return ""
}

func (w *world) group(consumerGroup string) (g groupJSON) {
	w.Helper()
	w.json(w.path(consumerGroup), &g)
	return g
}

func (w *world) history(consumerGroup string) (h historyJSON) {
	w.Helper()
	w.json(w.path(consumerGroup)+"/history", &h)
	return h
}

// own lets an owner claim partitions, from whoever has them. An empty owner
// relinquishes them.
func (w *world) own(scope ops.Scope, owner string, partitions ...string) {
	w.Helper()
	records, err := w.store.ListOwnership(w.Context(), scope.FullyQualifiedNamespace, scope.EventHubName, scope.ConsumerGroup, nil)
	require.NoError(w, err)
	for _, id := range partitions {
		o := checkpointstore.Ownership{
			FullyQualifiedNamespace: scope.FullyQualifiedNamespace, EventHubName: scope.EventHubName, ConsumerGroup: scope.ConsumerGroup,
			PartitionID: id, OwnerID: owner,
		}
		for _, r := range records {
			if r.PartitionID == id {
				o.ETag = r.ETag
			}
		}
		won, err := w.store.ClaimOwnership(w.Context(), []checkpointstore.Ownership{o}, nil)
		require.NoError(w, err)
		require.Len(w, won, 1)
	}
}

// checkpoint stores a position.
func (w *world) checkpoint(scope ops.Scope, partition string, number int64, options *checkpointstore.UpdateCheckpointOptions) {
	w.Helper()
	offset := strconv.FormatInt(number*100, 10)
	require.NoError(w, w.store.UpdateCheckpoint(w.Context(), checkpointstore.Checkpoint{
		FullyQualifiedNamespace: scope.FullyQualifiedNamespace, EventHubName: scope.EventHubName, ConsumerGroup: scope.ConsumerGroup,
		PartitionID: partition, SequenceNumber: &number, Offset: &offset,
	}, options))
}

func scope(hub, consumerGroup string) ops.Scope {
	return ops.Scope{FullyQualifiedNamespace: "ns.servicebus.windows.net", EventHubName: hub, ConsumerGroup: consumerGroup}
}

// countingStore counts requests, and can fail and hang.
type countingStore struct {
	ops.Store
	lists, reads atomic.Int64

	mu        sync.Mutex
	now, most int // reads that are on their way
	misbehaviour
}

// misbehaviour is what a store does instead of what it should.
type misbehaviour struct {
	failList error
	failRead map[string]error // by consumer group
	delay    time.Duration    // of a read
}

func (s *countingStore) misbehave(m misbehaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.misbehaviour = m
}

// mostReads is how many reads were on their way at once.
func (s *countingStore) mostReads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

func (s *countingStore) current() misbehaviour {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.misbehaviour
}

func (s *countingStore) ListScopes(ctx context.Context, o *checkpointstore.ListScopesOptions) ([]checkpointstore.Scope, error) {
	s.lists.Add(1)
	if err := s.current().failList; err != nil {
		return nil, err
	}
	return s.Store.ListScopes(ctx, o)
}

func (s *countingStore) ListRecords(ctx context.Context, namespace, hub, consumerGroup string, o *checkpointstore.ListRecordsOptions) ([]checkpointstore.ScopeRecords, error) {
	s.reads.Add(1)
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	m := s.misbehaviour
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.now--
	}()
	if m.delay > 0 {
		select {
		case <-time.After(m.delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err := m.failRead[consumerGroup]; err != nil {
		return nil, err
	}
	return s.Store.ListRecords(ctx, namespace, hub, consumerGroup, o)
}

// fakeHub is an event hub that counts requests.
type fakeHub struct {
	mu         sync.Mutex
	ids        []string
	properties map[string]ops.PartitionProperties
	fail       error
	failOf     map[string]error
	delay      time.Duration // of an answer for a partition; not changed while it is used
	delayed    string        // the only partition with the delay, if it is set; not changed
	hang       bool          // heeds no context; not changed

	opened, closed  atomic.Int64
	lists, requests atomic.Int64
	released        chan struct{} // ends what hangs
}

// newHub returns an event hub whose partitions end at these numbers, and begin at 0.
func newHub(ends ...int64) *fakeHub {
	h := &fakeHub{properties: make(map[string]ops.PartitionProperties), released: make(chan struct{})}
	for i, end := range ends {
		id := strconv.Itoa(i)
		h.ids = append(h.ids, id)
		h.set(id, 0, end, time.Now())
	}
	return h
}

func (h *fakeHub) set(id string, begin, end int64, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.properties[id] = ops.PartitionProperties{
		BeginningSequenceNumber: begin, LastEnqueuedSequenceNumber: end, LastEnqueuedOffset: strconv.FormatInt(end*100, 10),
		LastEnqueuedTime: at, IsEmpty: end < begin,
	}
}

// breakWith lets requests fail: those for the IDs, or for one partition.
func (h *fakeHub) breakWith(fail error, failOf map[string]error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fail, h.failOf = fail, failOf
}

func (h *fakeHub) PartitionIDs(context.Context) ([]string, error) {
	h.lists.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ids, h.fail
}

func (h *fakeHub) PartitionProperties(ctx context.Context, id string) (ops.PartitionProperties, error) {
	h.requests.Add(1)
	if h.delay > 0 && (h.delayed == "" || h.delayed == id) {
		select {
		case <-time.After(h.delay):
		case <-ctx.Done():
			return ops.PartitionProperties{}, ctx.Err()
		}
	}
	if h.hang {
		<-h.released
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.properties[id], h.failOf[id]
}

func (h *fakeHub) ReadEvent(context.Context, string, ops.ReadFrom) (*ops.Event, error) {
	panic("the page reads no events")
}

// stream is a browser that listens to events.
type stream struct {
	*world
	response *http.Response
	lines    chan string // closed at the end
}

// listen opens a stream.
func (w *world) listen() *stream {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), http.MethodGet, "http://"+address+"/api/v1/events", nil)
	require.NoError(w, err)
	answer, err := w.client.Do(r)
	require.NoError(w, err)
	require.Equal(w, http.StatusOK, answer.StatusCode)
	s := &stream{world: w, response: answer, lines: make(chan string, 1000)}
	go func() {
		defer close(s.lines)
		scanner := bufio.NewScanner(answer.Body)
		for scanner.Scan() {
			s.lines <- scanner.Text()
		}
	}()
	synctest.Wait()
	return s
}

// received returns what came since the last call, without the empty lines.
func (s *stream) received() []string {
	synctest.Wait()
	got := []string{}
	for {
		select {
		case line, open := <-s.lines:
			if !open {
				return append(got, "end")
			}
			if line != "" {
				got = append(got, line)
			}
		default:
			return got
		}
	}
}

// hangUp closes the stream on the browser's side.
func (s *stream) hangUp() {
	s.response.Body.Close()
	synctest.Wait()
}

// pipeListener has connections in memory, which a synctest bubble can see through.
type pipeListener struct {
	connections chan net.Conn
	once        sync.Once
	closed      chan struct{}
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.connections <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.connections:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error { l.once.Do(func() { close(l.closed) }); return nil }

func (l *pipeListener) Addr() net.Addr {
	a, _ := net.ResolveTCPAddr("tcp", address)
	return a
}

// metricLines are the samples of /metrics with a name, without the name.
func (w *world) metricLines(name string) []string {
	w.Helper()
	var found []string
	for line := range strings.Lines(string(w.get("/metrics").body)) {
		if rest, is := strings.CutPrefix(line, name); is {
			found = append(found, strings.TrimSpace(rest))
		}
	}
	return found
}
