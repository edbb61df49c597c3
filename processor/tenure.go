package processor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore"
)

// maxLinkFailures is how many times in a row a link may fail before its partition
// is released for another owner to try.
const maxLinkFailures = 5

// tenure is the time from a won claim to the loss or the release of a partition.
type tenure struct {
	id        string
	log       *slog.Logger
	ctx       context.Context // the handlers'; ends with the tenure
	end       context.CancelCauseFunc
	confirmed chan time.Time // when the last list was asked for that showed the partition as owned

	// Owned by the goroutine of Run.
	record  checkpointstore.Ownership // with the ETag of the last win
	lost    bool                      // this owner has no record: not renewed, not released
	deleted bool                      // lost, because somebody deleted the record
	foreign bool                      // record is not that of the last win: released, but not renewed

	// Guarded by Processor.mu.
	resume   *azeventhubs.StartPosition // as seen or stored in this tenure
	at       *int64                     // the sequence number of resume, if it has one
	enqueued *time.Time                 // when that event was, if this tenure wrote it
	initial  *position                  // to be stored as the first checkpoint
	status   PartitionStatus
	batcher  *batcher // of the handler that runs, if it is one of Batches
}

// renewable reports whether a renewal goes on with the tenure.
func (t *tenure) renewable() bool { return !t.lost && !t.foreign }

// outcome is how one handler ended.
type outcome struct {
	err     error // the link's or the position's, before the handler's
	link    bool  // err is the link's
	healthy bool  // events came, or nothing failed for a long time
}

// runTenure runs handlers for a partition, one after the other, until the tenure ends.
func (p *Processor) runTenure(t *tenure) {
	defer func() {
		p.hookTenureEnd(t)
		select {
		case p.ended <- t:
		case <-p.returned: // the handler outlived Run
		}
	}()
	var failures streak
	for t.ctx.Err() == nil {
		o := p.runHandler(t)
		var fatal *fatalError
		if errors.As(o.err, &fatal) {
			t.log.Error("the handler ended the processor", "error", fatal.err)
			p.abort(fatal)
			t.end(ErrStopping)
		}
		var relinquish *relinquishError
		if errors.As(o.err, &relinquish) {
			t.log.Warn("the handler relinquished the partition", "error", relinquish.err)
			t.end(fmt.Errorf("%w: %w", ErrRelinquished, relinquish.err))
		}
		if t.ctx.Err() != nil {
			t.logEnd(o.err)
			return
		}
		failures.add(o)
		p.noteFailure(t, o.err, failures.any)
		if isStolen(o.err) && !p.stillOwned(t) {
			t.logEnd(o.err)
			return
		}
		if o.link {
			p.linkFailed(t, o.err, failures.link)
		}
		p.pause(t, o.err, failures.any)
	}
	t.logEnd(nil)
}

// streak counts failures in a row.
type streak struct{ any, link int }

func (s *streak) add(o outcome) {
	if o.healthy || o.err == nil {
		*s = streak{}
	}
	s.any++
	if o.link {
		s.link++
	}
}

// pause waits until the next handler may start.
func (p *Processor) pause(t *tenure, err error, failures int) {
	delay := p.backoff(failures)
	switch {
	case t.ctx.Err() != nil:
		return
	case err == nil:
		t.log.Info("the handler returned; it is called again", "in", delay)
	case isStolen(err):
		t.log.Warn("another receiver took the link of a partition that is owned here; it is opened again", "error", err, "in", delay)
	default:
		t.log.Warn("the handler of a partition has ended; it is called again", "error", err, "in", delay)
	}
	p.hookRestart(t, err, failures, delay)
	sleep(t.ctx, delay)
}

// runHandler opens the link and calls the handler.
func (p *Processor) runHandler(t *tenure) outcome {
	start, err := p.startOf(t.ctx, t)
	if err != nil {
		return outcome{err: err, link: errors.Is(err, ErrLinkFailed)}
	}
	receiver, err := bounded(t.ctx, p.hubTimeout(), &p.hung, func(ctx context.Context) (Receiver, error) {
		r, err := p.hub.OpenPartition(ctx, t.id, &azeventhubs.PartitionClientOptions{
			StartPosition: start,
			OwnerLevel:    new(int64),
			Prefetch:      p.options.Prefetch,
		})
		if err == nil && ctx.Err() != nil { // nobody waits any more
			_ = r.Close(ctx)
		}
		return r, err
	})
	if err != nil {
		return outcome{err: fmt.Errorf("%w: %w", ErrLinkFailed, err), link: true}
	}
	ctx, end := context.WithCancelCause(t.ctx)
	l := newLink(ctx, end, receiver)
	partition := &Partition{processor: p, tenure: t, ctx: ctx, link: l, start: start}
	opened := time.Now()
	p.noteReading(t, true)
	p.hookHandlerStart(t)
	err = call(ctx, p.handler, partition)
	failure := context.Cause(ctx)
	p.hookHandlerEnd(t, time.Since(opened), failure, err)
	end(nil) // updates that are under way have checkpointGrace from here
	partition.finish()
	l.close(&p.hung)
	p.noteReading(t, false)
	o := outcome{err: err, healthy: l.received.Load() || time.Since(opened) > p.options.MaxBackoff}
	var fatal *fatalError
	if failure != nil && t.ctx.Err() == nil && !errors.As(err, &fatal) {
		o.err, o.link = failure, true
	}
	return o
}

// call calls the handler.
func call(ctx context.Context, handler Handler, partition *Partition) error {
	return protect(partition.tenure.log, "the handler", func() error { return handler(ctx, partition) })
}

// protect calls f in a goroutine of its own, which f may end.
func protect(log *slog.Logger, what string, f func() error) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = errors.New("processor: " + what + " ended its goroutine")
		defer func() {
			if v := recover(); v != nil {
				err = fmt.Errorf("processor: %s panicked: %v", what, v)
				log.Error(what+" panicked", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			}
		}()
		err = f()
	}()
	<-done
	return err
}

// stillOwned waits after the link was taken until a list shows whether the
// partition is still owned here. Until then, opening the link would take it from
// its new owner, and there is nothing to warn of.
func (p *Processor) stillOwned(t *tenure) bool {
	t.log.Info("another receiver took the link; the next list tells whether the partition is lost")
	taken := time.Now()
	p.wakeUp()
	for {
		select {
		case begun := <-t.confirmed:
			if begun.After(taken) {
				return true
			}
		case <-t.ctx.Done():
			return false
		}
	}
}

// logEnd logs the end of a tenure, with what the handler returned if it failed.
func (t *tenure) logEnd(err error) {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, checkpointstore.ErrStaleCheckpoint) {
		t.log.Info("partition ended", "cause", context.Cause(t.ctx))
	} else {
		t.log.Warn("the handler failed when it was told to return", "cause", context.Cause(t.ctx), "error", err)
	}
}

// linkFailed records how often a link has failed in a row. The next round reads the
// hub again, and after maxLinkFailures the partition is released.
func (p *Processor) linkFailed(t *tenure, err error, failures int) {
	p.mu.Lock()
	p.linkProblems++
	p.mu.Unlock()
	if p.options.StopOn != nil && p.options.StopOn(err) {
		p.abort(&fatalError{fmt.Errorf("processor: partition %s: %w", t.id, err)})
	}
	if failures >= maxLinkFailures {
		t.log.Warn("partition released, because its link keeps failing", "failures", failures, "error", err)
		t.end(fmt.Errorf("%w: %w", ErrLinkFailed, err))
	}
}
