package proof

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/faults"
	"github.com/ea947076/checkpointstore/processor"
	"github.com/ea947076/checkpointstore/processor/processortest"
)

// The options of the processors. The others are the defaults.
const (
	fleetInterval   = 10 * time.Second
	fleetRound      = fleetInterval * 6 / 5 // at most, between two rounds
	fleetExpiration = time.Minute
	fleetMaxOutage  = 2 * time.Minute
	fleetMaxBackoff = 20 * time.Second
	fleetShutdown   = 20 * time.Second
	fleetRelease    = 5 * time.Second // how much longer than fleetShutdown a stop may take
	fleetPace       = 500 * time.Millisecond
)

var errGone = errors.New("the process is gone")

// outage is a state that incidents begin and end. They may overlap.
type outage struct {
	mu    sync.Mutex
	n     int           // how many incidents last
	over  chan struct{} // closed when n becomes zero
	spans []span
}

type span struct{ from, to time.Time }

// change begins an incident (by 1) or ends one (by -1).
func (o *outage) change(by int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.n == 0 {
		o.over = make(chan struct{})
		o.spans = append(o.spans, span{from: time.Now()})
	}
	if o.n += by; o.n == 0 {
		o.spans[len(o.spans)-1].to = time.Now()
		close(o.over)
	}
}

func (o *outage) isOn() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.n > 0
}

// wait waits until the outage is over.
func (o *outage) wait(ctx context.Context) error {
	for o.isOn() {
		o.mu.Lock()
		over := o.over
		o.mu.Unlock()
		select {
		case <-over:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// within returns how long the outage lasted within a span.
func (o *outage) within(from, to time.Time) (d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.spans {
		end := s.to
		if end.IsZero() {
			end = to
		}
		d += max(0, earlier(end, to).Sub(later(s.from, from)))
	}
	return d
}

// gate stands in front of all that a process does: requests, calls of Event Hubs, and the work of handlers. A paused process
// waits here, whatever its contexts say, and a process that is gone gets an error.
type gate struct {
	paused       outage
	storage, hub reach
	mu           sync.Mutex
	gone         time.Time
}

// reach says whether a service refuses connections, or does not respond.
type reach struct{ refused, hanging outage }

func (g *gate) pass() error {
	if !g.isGone() {
		_ = g.paused.wait(context.Background())
	}
	if g.isGone() {
		return errGone
	}
	return nil
}

func (g *gate) isGone() bool { return !g.goneAt().IsZero() }

func (g *gate) goneAt() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.gone
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone.IsZero() {
		g.gone = time.Now()
	}
}

// await waits until a service can be reached.
func (r *reach) await(ctx context.Context) error {
	if r.refused.isOn() {
		return fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
	}
	return r.hanging.wait(ctx)
}

// through passes the gate before and after a call.
func through[T any](g *gate, f func() (T, error)) (T, error) {
	var none T
	if err := g.pass(); err != nil {
		return none, err
	}
	v, err := f()
	if gone := g.pass(); gone != nil {
		return none, gone
	}
	return v, err
}

// gated is a process's transport to the storage.
type gated struct {
	*process
	next policy.Transporter
}

func (s *gated) Do(req *http.Request) (*http.Response, error) {
	return through(s.gate, func() (*http.Response, error) {
		if err := s.gate.storage.await(req.Context()); err != nil {
			return nil, err
		}
		if req.Method == http.MethodPut && strings.Contains(req.URL.Path, "/checkpoint/") {
			s.checkGeneration(req)
		}
		return s.next.Do(req)
	})
}

// checkGeneration checks that a handler stores nothing in a later generation than the one it started from.
func (s *gated) checkGeneration(req *http.Request) {
	partition := req.URL.Path[strings.LastIndex(req.URL.Path, "/")+1:]
	m := s.monitor
	m.mu.Lock()
	defer m.mu.Unlock()
	to := checkpointOf(req)
	if r := m.active(s.process, partition); r != nil && to.generation > r.generation {
		m.failLocked("%v started in generation %d or before, and stores %v", r, r.generation, to)
	}
}

// gatedHub is a process's client of Event Hubs.
type gatedHub struct {
	*processortest.Client
	*process
}

// call calls Event Hubs, which takes a random time.
func call[T any](ctx context.Context, p *process, what string, f func() (T, error)) (T, error) {
	var none T
	return through(p.gate, func() (T, error) {
		time.Sleep(time.Duration(p.draw("hub " + what).Int64N(int64(fleetPace / 5))))
		if err := p.gate.hub.await(ctx); err != nil {
			return none, err
		}
		return f()
	})
}

func (h *gatedHub) OwnerID() string { return h.ownerID }

func (h *gatedHub) Properties(ctx context.Context) (processor.EventHubProperties, error) {
	return call(ctx, h.process, "", func() (processor.EventHubProperties, error) { return h.Client.Properties(ctx) })
}

func (h *gatedHub) PartitionProperties(ctx context.Context, id string) (azeventhubs.PartitionProperties, error) {
	return call(ctx, h.process, "properties "+id, func() (azeventhubs.PartitionProperties, error) { return h.Client.PartitionProperties(ctx, id) })
}

func (h *gatedHub) OpenPartition(ctx context.Context, id string, options *azeventhubs.PartitionClientOptions) (processor.Receiver, error) {
	return call(ctx, h.process, "open "+id, func() (processor.Receiver, error) {
		r, err := h.Client.OpenPartition(ctx, id, options)
		return &gatedReceiver{process: h.process, next: r, id: id}, err
	})
}

// gatedReceiver is a link of a process.
type gatedReceiver struct {
	*process
	next   processor.Receiver
	id     string
	opened bool
}

func (r *gatedReceiver) ReceiveEvents(ctx context.Context, count int, options *azeventhubs.ReceiveEventsOptions) ([]*azeventhubs.ReceivedEventData, error) {
	events, err := through(r.gate, func() ([]*azeventhubs.ReceivedEventData, error) {
		if err := r.gate.hub.await(ctx); err != nil {
			return nil, err
		}
		if !r.opened && ctx.Err() == nil {
			r.opened = true
			r.observer.opens(r.id)
		}
		return r.next.ReceiveEvents(ctx, count, options)
	})
	var failed *azeventhubs.Error
	if errors.As(err, &failed) && failed.Code == azeventhubs.ErrorCodeOwnershipLost {
		r.observer.linkStolen(r.id)
	}
	return events, err
}

func (r *gatedReceiver) Close(ctx context.Context) error {
	_, err := call(ctx, r.process, "close "+r.id, func() (struct{}, error) { return struct{}{}, r.next.Close(ctx) })
	return err
}

// process is one run of a program with one processor.
type process struct {
	*processor.Processor
	monitor  *monitor
	name     string
	ownerID  string
	seed     uint64
	clock    time.Duration // how far its clock is ahead
	gate     *gate
	observer *observer
	client   *processortest.Client
	faults   *faults.Transport
	ended    chan struct{} // closed when Run has returned

	mu       sync.Mutex
	drawn    map[string]int
	cancel   context.CancelFunc
	stopped  time.Time // when it was told to stop
	behavior []incidentKind
}

// draw returns a source of randomness. It depends on the purpose and on how often that was drawn for, but not on what else
// the process does concurrently.
func (p *process) draw(what string) *rand.Rand {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drawn[what]++
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, p.name, what, p.drawn[what])
	return rand.New(rand.NewPCG(p.seed, h.Sum64()))
}

func (p *process) stoppedAt() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stopped
}

// stop tells the process to stop.
func (p *process) stop() {
	p.mu.Lock()
	if p.stopped.IsZero() {
		p.stopped = time.Now()
	}
	p.mu.Unlock()
	p.cancel()
}

// crash ends all that the process does, at once.
func (p *process) crash(linksEnd bool) {
	p.gate.leave()
	if linksEnd {
		p.client.Close()
	}
	p.cancel()
}

func (p *process) isRunning() bool {
	select {
	case <-p.ended:
		return false
	default:
		return p.stoppedAt().IsZero() && !p.gate.isGone()
	}
}

// run runs the processor and checks how it ends.
func (p *process) run(ctx context.Context) {
	defer close(p.ended)
	err := p.Run(ctx)
	if p.gate.isGone() {
		return
	}
	m, now, stopped := p.monitor, time.Now(), p.stoppedAt()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.logLocked(p.name, "has stopped: %v", err)
	var late, unfinished []string // returned too late, and not returned
	for _, partition := range sortedKeys(m.runs) {
		for _, r := range m.runs[partition] {
			switch {
			case r.process != p:
			case r.end.IsZero():
				unfinished = append(unfinished, partition)
				fallthrough
			case r.end.Sub(stopped) > fleetShutdown-closeTime:
				late = append(late, partition)
			}
		}
	}
	switch {
	case ctx.Err() == nil:
		m.failLocked("%s ended by itself: %v", p.name, err)
		return
	case p.gate.paused.within(stopped, now) > 0: // its time may have passed when it resumed
	case err != nil && len(late) == 0:
		m.failLocked("%s ended with an error though all handlers have returned in time: %v", p.name, err)
	}
	for _, partition := range unfinished {
		if !slices.Contains(namedIn(err), partition) {
			m.failLocked("%s ended with the error %v, and the handler of %s has not returned", p.name, err, partition)
		}
	}
	if took := now.Sub(stopped) - p.gate.paused.within(stopped, now); took > fleetShutdown+fleetRelease+time.Second {
		m.failLocked("%s took %v to stop", p.name, took)
	}
}

// closeTime is how long a link may take to close when its handler has returned.
const closeTime = time.Second

// namedIn returns the partitions that the error of a stop names.
func namedIn(err error) []string {
	if err == nil {
		return nil
	}
	_, names, _ := strings.Cut(err.Error(), "the handlers of partitions ")
	names, _, _ = strings.Cut(names, " did not return")
	return strings.Split(names, ", ")
}

// behaviorOf draws what a handler does with its next event.
func (p *process) behaviorOf(r *rand.Rand) incidentKind {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.behavior) == 0 || r.IntN(3) > 0 {
		return ""
	}
	return p.behavior[r.IntN(len(p.behavior))]
}

func (p *process) setBehavior(kind incidentKind, on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if on {
		p.behavior = append(p.behavior, kind)
		return
	}
	for i, k := range p.behavior {
		if k == kind {
			p.behavior = append(p.behavior[:i], p.behavior[i+1:]...)
			return
		}
	}
}

var errHandler = errors.New("the handler fails")

// handle is the handler of all partitions.
func (p *process) handle(ctx context.Context, partition *processor.Partition) (err error) {
	run := p.monitor.begins(p, ctx, partition)
	exited := true
	defer func() {
		if exited {
			err = errors.New("it panicked, or ended its goroutine")
		}
		run.returned(err)
	}()
	err = p.consume(ctx, partition, run, p.draw("handler "+partition.PartitionID()))
	exited = false
	return err
}

func (p *process) consume(ctx context.Context, partition *processor.Partition, run *handlerRun, random *rand.Rand) error {
	hasty := random.IntN(2) == 0 // it returns in the middle of a batch when notified
	for {
		count, receiving, cancel := 1, ctx, context.CancelFunc(func() {})
		if random.IntN(2) == 0 {
			count = 1 + random.IntN(4)
			receiving, cancel = context.WithTimeout(ctx, time.Duration(random.Int64N(int64(5*time.Second))))
		}
		events, err := partition.ReceiveEvents(receiving, count, nil)
		cancel()
		run.received(events)
		switch {
		case ctx.Err() != nil && (len(events) == 0 || hasty):
			return cmp.Or(err, context.Cause(ctx))
		case errors.Is(err, context.DeadlineExceeded):
			continue
		case err != nil:
			return err
		}
		for _, e := range events {
			if err := p.work(ctx, random); err != nil {
				return err
			}
			run.handled(e)
			if hasty && ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
		if err := p.checkpoint(ctx, partition, run, events, random); err != nil {
			return err
		}
	}
}

var errReturn = errors.New("return nil")

// work is what a handler does with an event.
func (p *process) work(ctx context.Context, random *rand.Rand) error {
	time.Sleep(time.Duration(random.Int64N(int64(100 * time.Millisecond))))
	behavior := p.behaviorOf(random)
	if behavior != "" {
		p.monitor.count(string(behavior))
	}
	switch behavior {
	case handlersFail:
		return errHandler
	case handlersPanic:
		panic(errHandler)
	case handlersExit:
		runtime.Goexit()
	case handlersReturn:
		return errReturn
	case handlersSlow:
		select {
		case <-time.After(time.Duration(random.Int64N(int64(20 * time.Second)))):
		case <-ctx.Done():
		}
	case handlersDeaf:
		time.Sleep(time.Duration(random.Int64N(int64(40 * time.Second))))
	}
	return p.gate.pass()
}

// checkpoint stores the handler's position in most cases, and in all cases once the monitor says so.
func (p *process) checkpoint(ctx context.Context, partition *processor.Partition, run *handlerRun, events []*azeventhubs.ReceivedEventData, random *rand.Rand) error {
	update := func(e *azeventhubs.ReceivedEventData) error {
		err := partition.UpdateCheckpoint(ctx, e, nil)
		run.updated(e, err)
		return err
	}
	last := events[len(events)-1]
	way := random.IntN(8)
	if p.monitor.storesAll.Load() {
		way = 3
	}
	switch way {
	case 0: // later
		return nil
	case 1: // concurrently with the next one
		go func() { _ = update(last) }()
		return nil
	case 2: // each
		for _, e := range events {
			if err := update(e); err != nil {
				return err
			}
		}
		return nil
	}
	if err := update(last); err != nil && random.IntN(2) == 0 {
		return err
	}
	return nil
}

// newProcess returns a process that has not started.
func (f *fleetRun) newProcess(name, ownerID string) *process {
	p := &process{
		monitor: f.monitor, name: name, ownerID: ownerID, gate: &gate{}, ended: make(chan struct{}), client: f.hub.Client(ownerID),
		seed: f.plan.Seed, drawn: make(map[string]int),
	}
	random := p.draw("process")
	if random.IntN(3) == 0 {
		p.clock = time.Duration(random.Int64N(int64(time.Hour))) - 30*time.Minute
	}
	seed := random.Uint64()
	network := faults.New(f.monitor.observe(f.service, name), seed, rule(1, faults.Latency(0, fleetPace/4).Named("network")))
	var rules []faults.Fault
	for _, k := range f.plan.Faults.kinds() {
		rules = append(rules, k.rules(fleetPace)...)
	}
	for i := range rules {
		rules[i].Chance /= 2
	}
	p.faults = faults.New(network, seed, rules...)
	p.observer = newObserver(p, f.newStore(f.plan.Defect.variant().breaks(&gated{p, p.faults}), f.plan.Defect.variant()))
	var store checkpointstore.CheckpointStore = p.observer
	var hub processor.EventHub = &gatedHub{p.client, p}
	handler := p.handleReturning
	store, hub, handler = f.plan.Defect.breakProcess(p, store, hub, handler)
	options := &processor.Options{
		UpdateInterval: fleetInterval, PartitionExpirationDuration: fleetExpiration, MaxOutage: fleetMaxOutage,
		MaxBackoff: fleetMaxBackoff, ShutdownTimeout: fleetShutdown,
		Rand: rand.NewPCG(seed, 2), Logger: slog.New(&logHandler{p}),
	}
	if !f.plan.Latest {
		yes := true
		options.StartPositions.Default = azeventhubs.StartPosition{Earliest: &yes}
	}
	var err error
	if p.Processor, err = processor.NewWithEventHub(hub, store, handler, options); err != nil {
		panic(err)
	}
	return p
}

// handleReturning is handle, which may also return nil.
func (p *process) handleReturning(ctx context.Context, partition *processor.Partition) error {
	if err := p.handle(ctx, partition); !errors.Is(err, errReturn) {
		return err
	}
	return nil
}

// start starts a process.
func (p *process) start() {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go p.run(ctx)
}

// logHandler copies warnings and errors into the log of the monitor.
type logHandler struct{ *process }

func (h *logHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn
}

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	args := []any{r.Message}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "stack" {
			args = append(args, a)
		}
		return true
	})
	if !h.gate.isGone() {
		h.monitor.log(h.name, "logs"+strings.Repeat(" %v", len(args)), args...)
	}
	return nil
}

func (h *logHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *logHandler) WithGroup(string) slog.Handler      { return h }
