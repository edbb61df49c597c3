package processor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

const (
	// closeTimeout bounds the closing of a link: a handler's end waits for it.
	closeTimeout = time.Second

	// receiveGrace is how long a receive whose context has ended may take to return
	// what it has.
	receiveGrace = time.Second
)

// link is the receiver of one handler. Its context is the handler's, which it ends
// if the link fails.
type link struct {
	ctx      context.Context
	end      context.CancelCauseFunc
	receiver Receiver
	busy     chan struct{} // holds a token while a receive waits
	pending  *receive      // the call that is under way; owned by the holder of the token
	last     atomic.Int64  // when events came last, or the link was opened
	received atomic.Bool   // whether events ever came
	calls    sync.WaitGroup
}

// receive is one call of the receiver.
type receive struct {
	opens   bool // the link: then no caller's context ends it
	cancel  context.CancelFunc
	results chan received
}

type received struct {
	events []*azeventhubs.ReceivedEventData
	err    error
}

// newLink starts to receive at once, because that is what opens the link.
func newLink(ctx context.Context, end context.CancelCauseFunc, receiver Receiver) *link {
	l := &link{ctx: ctx, end: end, receiver: receiver, busy: make(chan struct{}, 1)}
	l.last.Store(time.Now().UnixNano())
	l.start(ctx, 1)
	l.pending.opens = true
	return l
}

// start calls the receiver in a goroutine.
func (l *link) start(ctx context.Context, count int) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(l.ctx, cancel)
	r := &receive{cancel: cancel, results: make(chan received, 1)}
	l.pending = r
	l.calls.Go(func() {
		defer stop()
		defer cancel()
		events, err := l.receiver.ReceiveEvents(ctx, count, nil)
		switch {
		case len(events) > 0:
			l.last.Store(time.Now().UnixNano())
			l.received.Store(true)
		case err == nil || isStolen(err) || ctx.Err() == nil:
			l.fail(err)
		}
		r.results <- received{events, err}
	})
}

// fail ends the handler.
func (l *link) fail(err error) {
	switch {
	case err == nil:
		err = errors.New("a receive returned nothing")
		fallthrough
	default:
		l.end(fmt.Errorf("%w: %w", ErrLinkFailed, err))
	case isStolen(err):
		l.end(fmt.Errorf("%w: %w", ErrPartitionLost, err))
	}
}

// receive returns up to count events, as azeventhubs does, except that it returns
// at once when the handler's context is done.
func (l *link) receive(ctx context.Context, count int) ([]*azeventhubs.ReceivedEventData, error) {
	if count <= 0 {
		return nil, errors.New("processor: ReceiveEvents needs a count above 0")
	}
	select {
	case l.busy <- struct{}{}:
		defer func() { <-l.busy }()
	case <-ctx.Done():
	case <-l.ctx.Done():
	}
	if l.ctx.Err() != nil {
		return nil, context.Cause(l.ctx)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var events []*azeventhubs.ReceivedEventData
	if l.pending != nil { // of the opening, or of a call that outlasted its context
		first, err := l.await(ctx)
		if err != nil {
			return nil, err
		}
		events = first
	}
	if len(events) >= count || len(events) > 0 && ctx.Err() != nil {
		return events, nil
	}
	l.start(ctx, count-len(events))
	more, err := l.await(ctx)
	if events = append(events, more...); len(events) > 0 && l.ctx.Err() == nil {
		return events, nil
	}
	return nil, err
}

// await waits for the call that is under way.
func (l *link) await(ctx context.Context) ([]*azeventhubs.ReceivedEventData, error) {
	var r received
	select {
	case r = <-l.pending.results:
	case <-l.ctx.Done():
		return nil, context.Cause(l.ctx)
	case <-ctx.Done():
		switch {
		case l.ctx.Err() != nil: // usually ctx is made from it
			return nil, context.Cause(l.ctx)
		case l.pending.opens:
			return nil, ctx.Err()
		}
		l.pending.cancel()
		t := time.NewTimer(receiveGrace)
		defer t.Stop()
		select {
		case r = <-l.pending.results:
		case <-l.ctx.Done():
			return nil, context.Cause(l.ctx)
		case <-t.C:
			return nil, ctx.Err() // the next receive gets what comes
		}
	}
	l.pending = nil
	switch {
	case l.ctx.Err() != nil:
		return nil, context.Cause(l.ctx)
	case len(r.events) > 0:
		return r.events, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return nil, r.err
}

// close detaches the link after the end of its context, and waits for that no longer than closeTimeout.
func (l *link) close(hung *atomic.Int64) {
	_, _ = bounded(context.Background(), closeTimeout, hung, func(ctx context.Context) (struct{}, error) {
		err := l.receiver.Close(ctx)
		l.calls.Wait()
		return struct{}{}, err
	})
}
