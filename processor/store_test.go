package processor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
)

const (
	namespace = "ns.servicebus.windows.net"
	hub       = "Hub"
	group     = "$Default"
)

var (
	errBusy   = errors.New("503 ServerBusy")
	errDenied = &checkpointstore.Error{Op: "test", Kind: checkpointstore.ErrNotAuthorized, Detail: "403"}
)

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// faultyStore is a store in memory whose calls can be made to fail, before or
// after they took effect.
type faultyStore struct {
	*memstore.Store

	mu       sync.Mutex
	list     error                                                        // of ListOwnership
	claims   func(checkpointstore.Ownership) (before, after error)        // of each claim
	position func() error                                                 // of ListCheckpoints
	claiming func(ctx context.Context, asked []checkpointstore.Ownership) // before each call
	asked    [][]checkpointstore.Ownership                                // all claims
	lists    int                                                          // calls of ListOwnership
	reads    int                                                          // calls of ListCheckpoints
	hook     func()                                                       // in ListCheckpoints, after it read
	listed   func()                                                       // in ListOwnership, after it read
}

func (s *faultyStore) ListOwnership(ctx context.Context, a, b, c string, o *checkpointstore.ListOwnershipOptions) ([]checkpointstore.Ownership, error) {
	s.mu.Lock()
	s.lists++
	err := s.list
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	list, err := s.Store.ListOwnership(ctx, a, b, c, o)
	if s.listed != nil {
		s.listed()
	}
	return list, err
}

func (s *faultyStore) ClaimOwnership(ctx context.Context, asked []checkpointstore.Ownership, o *checkpointstore.ClaimOwnershipOptions) ([]checkpointstore.Ownership, error) {
	s.mu.Lock()
	s.asked = append(s.asked, slices.Clone(asked))
	fault, claiming := s.claims, s.claiming
	s.mu.Unlock()
	if claiming != nil {
		claiming(ctx, asked)
	}
	var won []checkpointstore.Ownership
	var failed []*checkpointstore.Error
	for _, r := range asked {
		var before, after error
		if fault != nil {
			before, after = fault(r)
		}
		if before != nil {
			failed = append(failed, &checkpointstore.Error{Op: "ClaimOwnership", PartitionID: r.PartitionID, Err: before})
			continue
		}
		w, err := s.Store.ClaimOwnership(context.WithoutCancel(ctx), []checkpointstore.Ownership{r}, o)
		if err != nil {
			return nil, err
		}
		if after != nil {
			failed = append(failed, &checkpointstore.Error{Op: "ClaimOwnership", PartitionID: r.PartitionID, Err: after})
			continue
		}
		won = append(won, w...)
	}
	if len(failed) > 0 {
		return won, &checkpointstore.PartitionErrors{Errors: failed}
	}
	return won, nil
}

func (s *faultyStore) ListCheckpoints(ctx context.Context, a, b, c string, o *checkpointstore.ListCheckpointsOptions) ([]checkpointstore.Checkpoint, error) {
	s.mu.Lock()
	s.reads++
	position, hook := s.position, s.hook
	s.mu.Unlock()
	if position != nil {
		if err := position(); err != nil {
			return nil, err
		}
	}
	list, err := s.Store.ListCheckpoints(ctx, a, b, c, o)
	if hook != nil {
		hook()
	}
	return list, err
}

// fixture is an adapter over a faulty store, and the same records seen by
// somebody else.
type fixture struct {
	t     *testing.T
	store *faultyStore
	other *memstore.Store
	clock *clock
	a     *adapter
	logs  *logs
	ctx   context.Context
}

func newFixture(t *testing.T, options *AdaptOptions) *fixture {
	c := newClock()
	mem := memstore.NewWithClock(c.now)
	f := &fixture{t: t, store: &faultyStore{Store: mem}, other: mem.Share(), clock: c, logs: new(logs), ctx: t.Context()}
	var o AdaptOptions
	if options != nil {
		o = *options
	}
	o.Logger = slog.New(f.logs)
	f.a = newAdapter(f.store, &o)
	f.a.now = c.now
	return f
}

// list is what the Processor sees, by partition.
func (f *fixture) list(ctx context.Context) (map[string]azeventhubs.Ownership, error) {
	records, err := f.a.ListOwnership(ctx, namespace, hub, group, nil)
	m := make(map[string]azeventhubs.Ownership)
	for _, r := range records {
		require.NotContains(f.t, m, r.PartitionID, "listed twice")
		m[r.PartitionID] = r
	}
	return m, err
}

func (f *fixture) mustList() map[string]azeventhubs.Ownership {
	f.t.Helper()
	m, err := f.list(f.ctx)
	require.NoError(f.t, err)
	return m
}

// stored is what is in the store, by partition.
func (f *fixture) stored() map[string]checkpointstore.Ownership {
	f.t.Helper()
	records, err := f.other.ListOwnership(context.Background(), namespace, hub, group, nil)
	require.NoError(f.t, err)
	return byPartition(records)
}

func (f *fixture) owners() map[string]string {
	m := make(map[string]string)
	for id, r := range f.stored() {
		m[id] = r.OwnerID
	}
	return m
}

// round is what a Processor does at each interval with the partitions that it
// has or wants: list, then claim with the ETags of the list.
func (f *fixture) round(ctx context.Context, owner string, ids ...string) ([]azeventhubs.Ownership, error) {
	listed, err := f.list(ctx)
	if err != nil {
		return nil, err
	}
	return f.a.ClaimOwnership(ctx, f.claims(owner, listed, ids...), nil)
}

func (f *fixture) mustRound(owner string, ids ...string) []azeventhubs.Ownership {
	f.t.Helper()
	won, err := f.round(f.ctx, owner, ids...)
	require.NoError(f.t, err)
	return won
}

func (f *fixture) claims(owner string, listed map[string]azeventhubs.Ownership, ids ...string) []azeventhubs.Ownership {
	var out []azeventhubs.Ownership
	for _, id := range ids {
		out = append(out, azeventhubs.Ownership{FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: group,
			PartitionID: id, OwnerID: owner, ETag: listed[id].ETag})
	}
	return out
}

// release is what a Processor does when it ends.
func (f *fixture) release(last []azeventhubs.Ownership) ([]azeventhubs.Ownership, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	last = slices.Clone(last)
	for i := range last {
		last[i].OwnerID = ""
	}
	return f.a.ClaimOwnership(ctx, last, nil)
}

// steal makes somebody else the owner.
func (f *fixture) steal(owner, id string) {
	f.t.Helper()
	r := f.stored()[id]
	r.FullyQualifiedNamespace, r.EventHubName, r.ConsumerGroup, r.PartitionID = namespace, hub, group, id
	r.OwnerID = owner
	won, err := f.other.ClaimOwnership(context.Background(), []checkpointstore.Ownership{r}, nil)
	require.NoError(f.t, err)
	require.Len(f.t, won, 1)
}

func (f *fixture) lastAsked() []checkpointstore.Ownership { return f.store.asked[len(f.store.asked)-1] }

func ids(records []azeventhubs.Ownership) []string {
	out := []string{}
	for _, r := range records {
		out = append(out, r.PartitionID)
	}
	slices.Sort(out)
	return out
}

func checkpointAt(id string, sequence int64) azeventhubs.Checkpoint {
	offset := fmt.Sprint(sequence * 10)
	return azeventhubs.Checkpoint{FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: group,
		PartitionID: id, SequenceNumber: &sequence, Offset: &offset}
}

// logs keeps what was logged, as "LEVEL message".
type logs struct {
	mu    sync.Mutex
	lines []string
	attrs []string
}

func (l *logs) Enabled(context.Context, slog.Level) bool { return true }
func (l *logs) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logs) WithGroup(string) slog.Handler            { return l }
func (l *logs) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, r.Level.String()+" "+r.Message)
	r.Attrs(func(a slog.Attr) bool {
		l.attrs = append(l.attrs, a.String())
		return true
	})
	return nil
}

func (l *logs) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}
