package ops

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// HubOptions limit the requests to an event hub. Nil is the same as the zero value.
type HubOptions struct {
	// MaxConcurrency is the maximum number of requests in flight. Zero means 8.
	MaxConcurrency int

	// Interval is the minimum time between the starts of two requests. Zero means
	// 50 ms, which is 20 requests per second; Event Hubs allows 50 per second.
	Interval time.Duration

	// Timeout limits each request. Zero means 10 seconds.
	Timeout time.Duration
}

func (o *HubOptions) withDefaults() HubOptions {
	if o == nil {
		o = &HubOptions{}
	}
	return HubOptions{
		MaxConcurrency: cmp.Or(o.MaxConcurrency, 8),
		Interval:       cmp.Or(o.Interval, 50*time.Millisecond),
		Timeout:        cmp.Or(o.Timeout, 10*time.Second),
	}
}

// Hub says where the partitions of an event hub began and ended at one time, for all
// consumer groups.
type Hub struct {
	Time       time.Time      // when the requests started, by this machine's clock
	Partitions []HubPartition // sorted by ID, numbers first
}

// HubPartition is one partition of a Hub.
type HubPartition struct {
	ID         string
	Properties PartitionProperties
	Err        error // why the properties are not known; nil if they are
}

// Partition returns the partition with an id, and whether the hub has it.
func (h *Hub) Partition(id string) (HubPartition, bool) {
	i, found := slices.BinarySearchFunc(h.Partitions, id, func(p HubPartition, id string) int { return CompareIDs(p.ID, id) })
	if !found {
		return HubPartition{}, false
	}
	return h.Partitions[i], true
}

// ReadHub asks an event hub where its partitions begin and end. A partition whose
// request failed or timed out is in the result with its error. The error of ReadHub is
// that of the request for the partition IDs, or the context's.
//
// Requests: one for the IDs and one for each partition, within the options' limits. If
// a request ignores its context, ReadHub stops waiting one second after the timeout,
// and the request counts towards MaxConcurrency until it returns. If all requests in
// flight are such requests, the others fail without being sent.
func ReadHub(ctx context.Context, hub EventHub, options *HubOptions) (*Hub, error) {
	l := newLimiter(options)
	read := &Hub{Time: time.Now()}
	ids, err := limited(ctx, l, hub.PartitionIDs)
	if err != nil {
		return nil, fmt.Errorf("asking the event hub for its partitions: %w", err)
	}
	read.Partitions = make([]HubPartition, len(ids))
	var requests sync.WaitGroup
	for i, id := range ids {
		requests.Go(func() {
			p := &read.Partitions[i]
			p.ID = id
			p.Properties, p.Err = limited(ctx, l, func(ctx context.Context) (PartitionProperties, error) {
				return hub.PartitionProperties(ctx, id)
			})
		})
	}
	requests.Wait()
	slices.SortFunc(read.Partitions, func(a, b HubPartition) int { return CompareIDs(a.ID, b.ID) })
	return read, ctx.Err()
}

// limiter applies HubOptions to requests.
type limiter struct {
	HubOptions
	slots chan struct{}

	mu        sync.Mutex
	next      time.Time     // when the next request may begin
	abandoned int           // requests that ignored their timeout and still hold a slot
	stuck     chan struct{} // closed while all slots are held by abandoned requests
}

func newLimiter(options *HubOptions) *limiter {
	o := options.withDefaults()
	return &limiter{HubOptions: o, slots: make(chan struct{}, o.MaxConcurrency), stuck: make(chan struct{})}
}

// errStuck is the error of a request that cannot begin, because abandoned requests
// hold all slots.
var errStuck = errors.New("the event hub does not answer: all requests in flight are past their timeout")

// begin takes a slot and waits until a request may begin. The caller frees the slot.
func (l *limiter) begin(ctx context.Context) error {
	l.mu.Lock()
	stuck := l.stuck
	l.mu.Unlock()
	select {
	case l.slots <- struct{}{}:
	case <-stuck:
		return errStuck
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	l.mu.Lock()
	now := time.Now()
	at := l.next
	if at.Before(now) {
		at = now
	}
	l.next = at.Add(l.Interval)
	l.mu.Unlock()
	timer := time.NewTimer(at.Sub(now))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		<-l.slots
		return context.Cause(ctx)
	}
}

// abandon stops waiting for a request, which keeps its slot until ended is closed.
func (l *limiter) abandon(ended <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.abandoned++
	if l.abandoned == l.MaxConcurrency {
		close(l.stuck)
	}
	go func() {
		<-ended
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.abandoned == l.MaxConcurrency {
			l.stuck = make(chan struct{})
		}
		l.abandoned--
		<-l.slots
	}()
}

// grace is the time that a request may take to return after its context has ended.
const grace = time.Second

// limited sends one request within the limiter's limits. It waits no longer than the
// timeout and grace, even if the request ignores its context.
func limited[T any](ctx context.Context, l *limiter, request func(context.Context) (T, error)) (T, error) {
	var none, value T
	if err := l.begin(ctx); err != nil {
		return none, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		value, err = request(ctx)
	}()
	select {
	case <-ended:
		<-l.slots
		return value, err
	case <-ctx.Done():
	}
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case <-ended:
		<-l.slots
		return value, err
	case <-late.C:
		l.abandon(ended)
		return none, fmt.Errorf("the event hub did not answer: %w", context.Cause(ctx))
	}
}
