package workload

import (
	"context"
	"fmt"
	"strconv"

	"github.com/ea947076/checkpointstore/bench/internal/backend"
	"github.com/ea947076/checkpointstore/bench/internal/measure"
	"github.com/ea947076/checkpointstore/bench/internal/subject"
)

// worker is one subject at one work. The jobs embed it.
type worker struct {
	work  Work
	store subject.Store
	name  string // of the subject
	hubs  int    // made so far
}

// scope is that of an event hub of the subject's own.
func (w *worker) scope(hub string) subject.Scope {
	return scope(w.work, hub+w.name)
}

// newScope is that of an event hub of which nothing is stored yet.
func (w *worker) newScope() subject.Scope {
	w.hubs++
	return w.scope(backend.AbsentHub + strconv.Itoa(w.hubs) + "-")
}

func scope(w Work, hub string) subject.Scope {
	s := subject.Scope{Namespace: "mynamespace.servicebus.windows.net", EventHub: hub, ConsumerGroup: plainGroup}
	if w.Default {
		s.ConsumerGroup = defaultGroup
	}
	return s
}

// listed is the event hub whose records are listed, by all subjects.
func listed(w Work) subject.Scope { return scope(w, "listed-"+strconv.Itoa(w.Records)) }

func newJob(w Work, store subject.Store, name string) measure.Job {
	base := worker{work: w, store: store, name: name}
	switch w.Kind {
	case Claim:
		return &claimJob{worker: base}
	case Renew:
		return &renewJob{worker: base}
	case Steady, Get:
		return &steadyJob{worker: base}
	case FirstCheckpoint, UnlistedFirst:
		return &firstJob{worker: base}
	}
	return &listJob{worker: base}
}

// claimJob claims the partitions of another event hub each time.
type claimJob struct {
	worker
	ready []subject.Claims
}

func (j *claimJob) Prepare(_ context.Context, operations int) error {
	j.ready = make([]subject.Claims, operations)
	for i := range j.ready {
		j.ready[i] = j.store.Claims(j.newScope(), j.work.Records)
	}
	return nil
}

func (j *claimJob) Do(ctx context.Context) error {
	next := j.ready[0]
	j.ready = j.ready[1:]
	return claimAll(ctx, next, j.work.Records)
}

func claimAll(ctx context.Context, claims subject.Claims, n int) error {
	won, err := claims.Claim(ctx)
	if err == nil && won != n {
		err = fmt.Errorf("%d of %d claims were won", won, n)
	}
	return err
}

// renewJob renews the same partitions each time.
type renewJob struct {
	worker
	claims subject.Claims
}

func (j *renewJob) Prepare(ctx context.Context, _ int) error {
	if j.claims != nil {
		return nil
	}
	j.claims = j.store.Claims(j.scope("renewed-"), j.work.Records)
	return claimAll(ctx, j.claims, j.work.Records)
}

func (j *renewJob) Do(ctx context.Context) error { return claimAll(ctx, j.claims, j.work.Records) }

// steadyJob writes, or reads, the checkpoint of one partition.
type steadyJob struct {
	worker
	checkpoint     subject.Checkpoint
	sequenceNumber int64
}

func (j *steadyJob) Prepare(ctx context.Context, _ int) error {
	if j.checkpoint != nil {
		return nil
	}
	j.sequenceNumber = 1 << 40
	j.checkpoint = j.store.Checkpoint(j.scope("checkpointed-"), "0")
	return j.checkpoint.Update(ctx, j.sequenceNumber)
}

func (j *steadyJob) Do(ctx context.Context) error {
	if j.work.Kind == Get {
		return j.checkpoint.Get(ctx)
	}
	j.sequenceNumber++
	return j.checkpoint.Update(ctx, j.sequenceNumber)
}

// firstJob writes the first checkpoint of a partition of another event hub each
// time.
type firstJob struct {
	worker
	ready []subject.Checkpoint
}

func (j *firstJob) Prepare(ctx context.Context, operations int) error {
	j.ready = make([]subject.Checkpoint, operations)
	for i := range j.ready {
		scope := j.newScope()
		j.ready[i] = j.store.Checkpoint(scope, "0")
		if j.work.Kind == UnlistedFirst {
			continue
		}
		if err := claimAll(ctx, j.store.Claims(scope, 1), 1); err != nil {
			return err
		}
		if n, err := j.store.ListCheckpoints(ctx, scope); err != nil || n != 0 {
			return fmt.Errorf("%d checkpoints before the first: %w", n, err)
		}
	}
	return nil
}

func (j *firstJob) Do(ctx context.Context) error {
	next := j.ready[0]
	j.ready = j.ready[1:]
	return next.Update(ctx, 1)
}

// listJob lists the same records each time.
type listJob struct{ worker }

func (j *listJob) Prepare(context.Context, int) error { return nil }

func (j *listJob) Do(ctx context.Context) error {
	list := j.store.ListCheckpoints
	if j.work.Kind == ListOwnership {
		list = j.store.ListOwnership
	}
	n, err := list(ctx, listed(j.work))
	if err == nil && n != j.work.Records {
		err = fmt.Errorf("%d of %d records were listed", n, j.work.Records)
	}
	return err
}
