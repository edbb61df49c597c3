package browser

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/report"
)

// The API's resources, as the page reads them.
type (
	groupsDocument struct {
		SchemaVersion int        `json:"schemaVersion"`
		Time          time.Time  `json:"time"`
		Interval      float64    `json:"interval"`
		Demo          bool       `json:"demo"`
		Errors        []string   `json:"errors"`
		Groups        []groupRow `json:"groups"`
	}
	groupRow struct {
		ID                   string         `json:"id"`
		Namespace            string         `json:"fullyQualifiedNamespace"`
		EventHub             string         `json:"eventHubName"`
		Group                string         `json:"consumerGroup"`
		Spellings            []string       `json:"spellings"`
		Partitions           int            `json:"partitions"`
		States               map[string]int `json:"states"`
		Owners               int            `json:"owners"`
		Lag                  *int64         `json:"lag"`
		LagSeconds           *float64       `json:"lagSeconds"`
		LagUnknownPartitions int            `json:"lagUnknownPartitions"`
		Lost                 int64          `json:"lost"`
		OldestCheckpointAge  *float64       `json:"oldestCheckpointAgeSeconds"`
		Error                *string        `json:"error"`
	}
	groupDocument struct {
		SchemaVersion int                `json:"schemaVersion"`
		Time          time.Time          `json:"time"`
		Group         groupRow           `json:"group"`
		Partitions    []report.Partition `json:"partitions"`
		Events        []eventRow         `json:"events"`
	}
	eventRow struct {
		Time        time.Time `json:"time"`
		PartitionID string    `json:"partitionId"`
		Kind        string    `json:"kind"`
		From        *string   `json:"from,omitempty"`
		To          *string   `json:"to,omitempty"`
		Generation  *int64    `json:"generation,omitempty"`
	}
	historyDocument struct {
		SchemaVersion int                         `json:"schemaVersion"`
		Times         []int64                     `json:"times"`
		Lag           []*int64                    `json:"lag"`
		LagSeconds    []*float64                  `json:"lagSeconds"`
		Partitions    map[string]partitionHistory `json:"partitions"`
	}
	partitionHistory struct {
		Lag           []*int64   `json:"lag"`
		CheckpointAge []*float64 `json:"checkpointAgeSeconds"`
	}
)

const refreshInterval = 10 * time.Second

func ptr[T any](v T) *T { return &v }

// fakeGroup is one consumer group of the fake server.
type fakeGroup struct {
	now        time.Time // that of the latest round
	row        groupRow
	partitions []report.Partition
	events     []eventRow
	history    historyDocument
}

// newGroup returns a group whose partitions have owners, lag and a history of an hour.
func newGroup(name string, partitions int, owners ...string) *fakeGroup {
	const points = 360
	g := &fakeGroup{row: groupRow{
		ID: hex.EncodeToString([]byte(name)), Namespace: "orders.servicebus.windows.net", EventHub: "orders", Group: name,
		Spellings: []string{"orders.servicebus.windows.net/orders/" + name}, Partitions: partitions,
	}}
	now := time.Now().UTC().Truncate(time.Second)
	g.now = now
	g.history = historyDocument{SchemaVersion: 1, Partitions: map[string]partitionHistory{}}
	for i := range points {
		g.history.Times = append(g.history.Times, now.Add(-time.Duration(points-1-i)*refreshInterval).Unix())
	}
	lagAt := func(partition, point int) int64 {
		wave := 60 + 50*math.Sin(float64(point)/25+float64(partition)) + 20*math.Sin(float64(point*(partition%5+2))/7)
		if partition%7 == 3 && point > 200 && point < 280 {
			wave += float64(point-200) * 4
		}
		return int64(max(0, wave))
	}
	ageAt := func(partition, point int) float64 { return float64((point*10+partition*13)%55) + 1 }
	totals := make([]int64, points)
	for i := range partitions {
		var h partitionHistory
		for point := range points {
			h.Lag = append(h.Lag, ptr(lagAt(i, point)))
			h.CheckpointAge = append(h.CheckpointAge, ptr(ageAt(i, point)))
			totals[point] += lagAt(i, point)
		}
		g.history.Partitions[strconv.Itoa(i)] = h
		lag, age, sequence := lagAt(i, points-1), ageAt(i, points-1), int64(100000+i*977)
		g.partitions = append(g.partitions, report.Partition{
			PartitionID: strconv.Itoa(i), State: "live", OwnerID: ptr(owners[i%len(owners)]), OwnershipAge: ptr(report.Seconds(i % 10)),
			SequenceNumber: &sequence, Offset: ptr(strconv.FormatInt(sequence*1024, 10)), Generation: ptr(int64(3)),
			Writer: ptr("azsdk-go-azeventhubs/2.0.2"), EnqueuedTime: ptr(now.Add(-time.Minute)), CheckpointTime: ptr(now.Add(-time.Duration(age) * time.Second)),
			CheckpointAge: ptr(report.Seconds(age)), Spelling: &g.row.Spellings[0], LagState: ptr("ok"), Lag: &lag, LagTime: ptr(report.Seconds(lag) / 8), LagMethod: ptr("metadata"),
		})
	}
	for point := range points {
		g.history.Lag = append(g.history.Lag, ptr(totals[point]))
		g.history.LagSeconds = append(g.history.LagSeconds, ptr(float64(totals[point])/float64(partitions)/8))
	}
	return g
}

// event adds an event of so long before the latest round.
func (g *fakeGroup) event(ago time.Duration, e eventRow) {
	e.Time = g.now.Add(-ago)
	g.events = append(g.events, e)
	slices.SortStableFunc(g.events, func(a, b eventRow) int { return a.Time.Compare(b.Time) })
}

// takeOver gives partitions to another owner.
func (g *fakeGroup) takeOver(to string, partitions ...int) {
	for _, i := range partitions {
		p := &g.partitions[i]
		g.event(0, eventRow{PartitionID: p.PartitionID, Kind: "owner", From: p.OwnerID, To: &to})
		p.OwnerID, p.State, p.OwnershipAge = &to, "live", new(report.Seconds)
	}
}

// totals computes the row of the group, as the server does.
func (g *fakeGroup) totals() groupRow {
	row := g.row
	row.States = map[string]int{"live": 0, "expired": 0, "relinquished": 0, "never owned": 0}
	owners := map[string]bool{}
	for _, p := range g.partitions {
		row.States[string(p.State)]++
		if p.OwnerID != nil {
			owners[*p.OwnerID] = true
		}
		if p.Lag == nil {
			row.LagUnknownPartitions++
		} else {
			row.Lag = ptr(*p.Lag + value(row.Lag))
		}
		if p.LagTime != nil {
			row.LagSeconds = ptr(max(float64(*p.LagTime), value(row.LagSeconds)))
		}
		if p.CheckpointAge != nil {
			row.OldestCheckpointAge = ptr(max(float64(*p.CheckpointAge), value(row.OldestCheckpointAge)))
		}
		row.Lost += value(p.Lost)
	}
	row.Partitions, row.Owners = len(g.partitions), len(owners)
	return row
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// fakeServer serves the page and the API for groups that a test makes up. Its rounds come when the test says so.
type fakeServer struct {
	t       testing.TB
	page    fs.FS
	address string
	server  *http.Server

	mu      sync.Mutex
	time    time.Time
	version int
	errors  []string
	groups  []*fakeGroup
	failure string        // if it is not empty, the API's answer to everything, with status 503
	hold    chan struct{} // until it is closed, the API does not answer, and streams are refused; nil is closed
	streams map[chan time.Time]bool
}

func newServer(t testing.TB, groups ...*fakeGroup) *fakeServer {
	s := &fakeServer{
		t: t, page: os.DirFS("../page"), address: "127.0.0.1:0", time: time.Now().UTC(), version: 1,
		groups: groups, streams: map[chan time.Time]bool{},
	}
	s.start()
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *fakeServer) url() string { return "http://" + s.address + "/" }

// start listens, again at the same address after a stop.
func (s *fakeServer) start() {
	s.t.Helper()
	listener, err := net.Listen("tcp", s.address)
	for deadline := time.Now().Add(patience); err != nil; listener, err = net.Listen("tcp", s.address) {
		if time.Now().After(deadline) {
			s.t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // a connection of somebody else has the port
	}
	s.address = listener.Addr().String()
	s.server = &http.Server{Handler: s}
	go func(server *http.Server) { _ = server.Serve(listener) }(s.server)
}

func (s *fakeServer) stop() { _ = s.server.Close() }

// change changes what the server knows, without a word.
func (s *fakeServer) change(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// round changes what the server knows, and announces it.
func (s *fakeServer) round(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.time = s.time.Add(refreshInterval)
	for _, g := range s.groups {
		g.now = s.time
	}
	change()
	for stream := range s.streams {
		stream <- s.time
	}
}

// wantStreams fails unless so many browsers follow the rounds, now or soon.
func (s *fakeServer) wantStreams(n int) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		s.mu.Lock()
		got := len(s.streams)
		s.mu.Unlock()
		if got == n {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%d streams of events, want %d", got, n)
		}
	}
}

func (s *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "+
		"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	path := r.URL.Path
	switch {
	case path == "/":
		http.ServeFileFS(w, r, s.page, "index.html")
	case strings.HasPrefix(path, "/static/"):
		http.ServeFileFS(w, r, s.page, strings.TrimPrefix(path, "/static/"))
	case path == "/api/v1/events":
		s.serveEvents(w, r)
	case strings.HasPrefix(path, "/api/v1/groups"):
		s.serveAPI(w, r)
	default:
		http.NotFound(w, r)
	}
}

// isHeld reports whether streams are refused.
func (s *fakeServer) isHeld() bool {
	if s.hold == nil {
		return false
	}
	select {
	case <-s.hold:
		return false
	default:
		return true
	}
}

func (s *fakeServer) serveAPI(w http.ResponseWriter, r *http.Request) {
	if s.hold != nil {
		<-s.hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != "" {
		http.Error(w, s.failure, http.StatusServiceUnavailable)
		return
	}
	rest := strings.Trim(strings.TrimPrefix(r.URL.Path, "/api/v1/groups"), "/")
	id, resource, _ := strings.Cut(rest, "/")
	var document any
	if id == "" {
		all := groupsDocument{SchemaVersion: s.version, Time: s.time, Interval: refreshInterval.Seconds(), Errors: s.errors, Groups: []groupRow{}}
		for _, g := range s.groups {
			all.Groups = append(all.Groups, g.totals())
		}
		document = all
	}
	for _, g := range s.groups {
		switch {
		case g.row.ID != id:
		case resource == "history":
			document = g.history
		case resource == "":
			document = groupDocument{SchemaVersion: s.version, Time: s.time, Group: g.totals(), Partitions: g.partitions, Events: g.events}
		}
	}
	if document == nil {
		http.NotFound(w, r)
		return
	}
	body, err := json.Marshal(document)
	if err != nil {
		s.t.Error(err)
	}
	etag := fmt.Sprintf(`"%x"`, sha256.Sum256(body))
	w.Header().Set("ETag", etag)
	w.Header().Set("Cache-Control", "no-cache")
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

func (s *fakeServer) serveEvents(w http.ResponseWriter, r *http.Request) {
	if s.isHeld() {
		http.Error(w, "not yet", http.StatusServiceUnavailable)
		return
	}
	stream := make(chan time.Time, 64)
	s.mu.Lock()
	failure := s.failure
	s.streams[stream] = true
	stream <- s.time // the latest round
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.streams, stream)
	}()
	if failure != "" {
		http.Error(w, failure, http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for {
		select {
		case <-r.Context().Done():
			return
		case at := <-stream:
			fmt.Fprintf(w, "event: round\ndata: {\"time\":%q}\n\n", at.Format(time.RFC3339))
			_ = http.NewResponseController(w).Flush()
		}
	}
}
