package processor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/processor/internal/balance"
)

// Run claims partitions of client's event hub and hands each one to handler, until
// ctx is done or an error ends it. It calls [New] and [Processor.Run].
func Run(ctx context.Context, client *azeventhubs.ConsumerClient, store checkpointstore.CheckpointStore, handler Handler, options *Options) error {
	p, err := New(client, store, handler, options)
	if err != nil {
		return err
	}
	return p.Run(ctx)
}

// Processor is one owner in a consumer group. Make it with [New].
type Processor struct {
	hub     EventHub
	store   checkpointstore.CheckpointStore
	handler Handler
	options Options
	log     *slog.Logger
	random  *rand.Rand

	started   atomic.Bool
	abort     func(*fatalError) // ends Run with an error
	stoppedAt atomic.Pointer[time.Time]
	ended     chan *tenure  // whose goroutine has ended
	wake      chan struct{} // holds a token when a round is due at once
	returned  chan struct{} // closed when Run has returned

	names       EventHubProperties // of when Run began
	round                          // owned by the goroutine of Run
	checkpoints checkpointLists
	hung        atomic.Int64 // calls of hub that outlasted their context

	mu             sync.Mutex
	tenures        map[string]*tenure // written by the goroutine of Run alone
	initial        map[string]position
	added          map[string]bool // partitions that came to the hub during Run
	errors         map[operation]error
	succeeded      map[operation]bool
	partitionCount int
	listedAt       time.Time
	linkProblems   int                     // links that failed since the hub was read
	outages        map[operation]time.Time // when they began
	roundAt        time.Time               // when the last round began, or a pass of it
	firstRoundOver bool                    // a round that could list the ownerships has ended
}

// New returns a Processor that reads client's event hub as the consumer group of
// client, with its InstanceID as the owner id. It sends no request. The Processor
// closes neither client nor store. Processors of one consumer group can share a
// store, but each needs a client of its own, because owner ids must be unique.
func New(client *azeventhubs.ConsumerClient, store checkpointstore.CheckpointStore, handler Handler, options *Options) (*Processor, error) {
	if client == nil {
		return nil, errors.New("processor: the ConsumerClient is nil")
	}
	hub := &consumerClient{ownerID: client.InstanceID(), client: client}
	if options != nil {
		hub.newClient = options.NewClient
	}
	return newProcessor(hub, store, handler, options)
}

// NewWithEventHub returns a Processor that reads hub, such as the one in memory of
// package processortest. It sends no request.
func NewWithEventHub(hub EventHub, store checkpointstore.CheckpointStore, handler Handler, options *Options) (*Processor, error) {
	if options != nil && options.NewClient != nil {
		return nil, errors.New("processor: Options.NewClient has no effect with NewWithEventHub")
	}
	return newProcessor(hub, store, handler, options)
}

func newProcessor(hub EventHub, store checkpointstore.CheckpointStore, handler Handler, options *Options) (*Processor, error) {
	if hub == nil || store == nil || handler == nil {
		return nil, errors.New("processor: an event hub, a store and a handler are required")
	}
	o, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Processor{
		hub: hub, store: store, handler: handler, options: o,
		log:         o.Logger,
		random:      rand.New(&lockedSource{source: o.Rand}),
		ended:       make(chan *tenure),
		wake:        make(chan struct{}, 1),
		returned:    make(chan struct{}),
		checkpoints: checkpointLists{listing: make(chan struct{}, 1)},
		round: round{
			sightings: balance.Sightings{UpdateInterval: o.UpdateInterval, Expiration: o.PartitionExpirationDuration, MaxOutage: o.MaxOutage},
			cooling:   make(map[string]time.Time),
			notInHub:  make(map[string]bool),
			deleted:   make(map[string]bool),
		},
		tenures:   make(map[string]*tenure),
		initial:   make(map[string]position),
		added:     make(map[string]bool),
		errors:    make(map[operation]error),
		succeeded: make(map[operation]bool),
		outages:   make(map[operation]time.Time),
	}, nil
}

// Run claims and reads partitions until ctx is done. Then it stops: it tells the
// handlers to return, renews each partition until its handler has returned,
// releases it at once, and claims nothing more. That takes as long as the handlers
// do, at most Options.ShutdownTimeout and 5 seconds.
//
// It returns nil if ctx was done and everything has stopped. Failures of the
// network, a lost partition, and errors and panics of handlers do not end Run.
//
// Errors: one that a handler wrapped with [Fatal]; a permanent one (see
// [IsPermanent]) of an operation that has never succeeded; one for which
// Options.StopOn returned true; one that names the partitions whose handlers did
// not return in time, which are not released; one if Run was called before.
//
// A round sends one list request, and a write for each partition whose record is
// older than a third of the expiration. It lists again only while partitions move.
func (p *Processor) Run(ctx context.Context) (err error) {
	if !p.started.CompareAndSwap(false, true) {
		return errors.New("processor: Run was called before; make another Processor")
	}
	running, end := context.WithCancelCause(ctx)
	defer end(nil)
	p.abort = func(err *fatalError) { end(err) }
	defer close(p.returned)
	p.hookRunStart()
	defer func() { p.hookRunEnd(err) }()
	handlers, endHandlers := context.WithCancelCause(context.WithoutCancel(ctx))
	defer endHandlers(ErrStopping)
	defer context.AfterFunc(running, func() {
		now := time.Now()
		p.stoppedAt.Store(&now)
		endHandlers(ErrStopping)
	})()

	p.work(running, handlers)
	endHandlers(ErrStopping)
	err = p.stop(running)
	if hub, ok := p.hub.(*consumerClient); ok {
		_, _ = bounded(context.Background(), closeTimeout, &p.hung, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, hub.closeMade(ctx)
		})
	}
	var fatal *fatalError
	switch failed := errors.As(context.Cause(running), &fatal); {
	case failed && err != nil:
		err = fmt.Errorf("%w; %w", fatal.err, err)
	case failed:
		err = fatal.err
	}
	p.log.Info("stopped")
	return err
}

// scope is the consumer group that is read, without names until the hub was read.
func (p *Processor) scope() checkpointstore.Scope {
	return checkpointstore.Scope{
		FullyQualifiedNamespace: p.names.FullyQualifiedNamespace,
		EventHubName:            p.names.EventHubName,
		ConsumerGroup:           p.names.ConsumerGroup,
	}
}

// work runs rounds, and releases what handlers have left, until ctx is done.
func (p *Processor) work(ctx, handlers context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case t := <-p.ended:
			p.release(ctx, append(p.alsoEnded(), t))
			continue
		case <-p.wake:
		case <-timer.C:
		}
		if ctx.Err() != nil {
			return
		}
		p.noteRound()
		p.runRound(ctx, handlers)
		p.mu.Lock()
		p.firstRoundOver = p.listed
		p.mu.Unlock()
		timer.Reset(p.interval())
	}
}

// wakeUp makes the next round begin at once.
func (p *Processor) wakeUp() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// operation is a kind of request. Its permanent errors end Run only until it has
// succeeded once.
type operation string

const (
	readingHub         operation = "reading the event hub's properties"
	listingOwnerships  operation = "listing ownerships"
	claiming           operation = "claiming"
	listingCheckpoints operation = "listing checkpoints"
)

// report records the result of a request. It logs the first of several failures in
// a row, and ends Run if the error is one to stop on.
func (p *Processor) report(op operation, err error) {
	p.mu.Lock()
	before, ever := p.errors[op], p.succeeded[op]
	p.errors[op] = err
	p.succeeded[op] = ever || err == nil
	if err != nil && before == nil {
		p.outages[op] = time.Now()
	}
	began := p.outages[op]
	p.mu.Unlock()
	switch {
	case err == nil && before != nil:
		p.log.Info(string(op) + " works again")
		p.hookOutage(op, began, nil)
	case err == nil:
	case before == nil:
		p.log.Warn(string(op)+" failed", "error", err)
		p.hookOutage(op, began, err)
	default:
		p.log.Debug(string(op)+" failed again", "error", err)
	}
	if err != nil && (!ever && IsPermanent(err) || p.options.StopOn != nil && p.options.StopOn(err)) {
		p.abort(&fatalError{fmt.Errorf("processor: %s: %w", op, err)})
	}
}
