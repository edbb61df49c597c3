package workload

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/bench/internal/backend"
	"github.com/ea947076/checkpointstore/bench/internal/measure"
	"github.com/ea947076/checkpointstore/bench/internal/subject"
)

// Row is a work with what came of it.
type Row struct {
	Work
	Series map[string]measure.Series // by subject
}

// Run measures one work, in rounds in which each subject has its turn.
func Run(ctx context.Context, w Work, on backend.Backend, rounds int, atLeast time.Duration) (Row, error) {
	row := Row{Work: w, Series: make(map[string]measure.Series)}
	err := withJobs(ctx, w, on, func(jobs []measure.Job, counts func() measure.Counts) error {
		all, err := measure.Run(ctx, jobs, counts, rounds, atLeast)
		for i, series := range all {
			row.Series[w.Subjects()[i]] = series
		}
		return err
	})
	return row, err
}

// Benchmark is the work as a Go benchmark, with the subjects as sub-benchmarks named store=ours and so on.
func Benchmark(b *testing.B, w Work, on backend.Backend) {
	err := withJobs(b.Context(), w, on, func(jobs []measure.Job, counts func() measure.Counts) error {
		for i, name := range w.Subjects() {
			b.Run("store="+name, func(b *testing.B) {
				if err := jobs[i].Benchmark(b.Context(), b, counts); err != nil {
					b.Fatal(err)
				}
			})
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// withJobs makes the jobs of all subjects, in a container that is made for them alone, and calls do with them.
func withJobs(ctx context.Context, w Work, on backend.Backend, do func([]measure.Job, func() measure.Counts) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", w.Name(), err)
		}
	}()
	if err := on.SetLatency(0); err != nil {
		return err
	}
	c, err := on.Container(ctx)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, on.Drop(ctx, c)) }()
	if err := fill(ctx, w, on, c); err != nil {
		return err
	}
	var jobs []measure.Job
	for _, name := range w.Subjects() {
		store, err := subject.Open(name, c, w.Handed)
		if err != nil {
			return err
		}
		defer store.Close()
		if err := connect(ctx, w, on, store, name); err != nil {
			return err
		}
		job, err := newJob(ctx, w, store, name)
		if err != nil {
			return err
		}
		jobs = append(jobs, job)
	}
	if err := on.SetLatency(w.Latency); err != nil {
		return err
	}
	return do(jobs, func() measure.Counts { return measure.Counts(on.Traffic()) })
}

// newJob makes the job of one subject, and does what it needs to have been done once.
func newJob(ctx context.Context, w Work, store subject.Store, name string) (measure.Job, error) {
	hubs := 0
	newScope := func() subject.Scope { // of an event hub of which nothing is stored yet
		hubs++
		return w.scope(backend.AbsentHub + strconv.Itoa(hubs) + "-" + name)
	}
	switch w.Kind {
	case Claim:
		var ready []subject.Claim
		return measure.Job{
			Prepare: func(_ context.Context, operations int) error {
				for ready = nil; len(ready) < operations; {
					ready = append(ready, store.Claims(newScope(), w.Records))
				}
				return nil
			},
			Do: func(ctx context.Context) error {
				next := ready[0]
				ready = ready[1:]
				return claimAll(ctx, next, w.Records)
			},
		}, nil
	case Renew:
		claim := store.Claims(w.scope("renewed-"+name), w.Records)
		return measure.Job{
			Do: func(ctx context.Context) error { return claimAll(ctx, claim, w.Records) },
		}, claimAll(ctx, claim, w.Records)
	case Steady, Get:
		sequenceNumber := int64(1 << 40)
		checkpoint := store.Checkpoint(w.scope("checkpointed-"+name), "0")
		update := func(ctx context.Context) error {
			sequenceNumber++
			return checkpoint.Update(ctx, sequenceNumber)
		}
		if w.Kind == Get {
			return measure.Job{Do: checkpoint.Get}, update(ctx)
		}
		return measure.Job{Do: update}, update(ctx)
	case FirstCheckpoint, UnlistedFirst:
		var ready []subject.Checkpoint
		return measure.Job{
			Prepare: func(ctx context.Context, operations int) error {
				for ready = nil; len(ready) < operations; {
					scope := newScope()
					ready = append(ready, store.Checkpoint(scope, "0"))
					if w.Kind == UnlistedFirst {
						continue
					}
					if err := claimAll(ctx, store.Claims(scope, 1), 1); err != nil {
						return err
					}
					if n, err := store.ListCheckpoints(ctx, scope); err != nil || n != 0 {
						return fmt.Errorf("%d checkpoints before the first: %w", n, err)
					}
				}
				return nil
			},
			Do: func(ctx context.Context) error {
				next := ready[0]
				ready = ready[1:]
				return next.Update(ctx, 1)
			},
		}, nil
	}
	list := store.ListCheckpoints
	if w.Kind == ListOwnership {
		list = store.ListOwnership
	}
	scope := w.listed()
	return measure.Job{Do: func(ctx context.Context) error {
		n, err := list(ctx, scope)
		if err == nil && n != w.Records {
			err = fmt.Errorf("%d of %d records were listed", n, w.Records)
		}
		return err
	}}, nil
}

func claimAll(ctx context.Context, claim subject.Claim, n int) error {
	won, err := claim(ctx)
	if err == nil && won != n {
		err = fmt.Errorf("%d of %d claims were won", won, n)
	}
	return err
}

func (w Work) scope(hub string) subject.Scope {
	s := subject.Scope{Namespace: "mynamespace.servicebus.windows.net", EventHub: hub, ConsumerGroup: plainGroup}
	if w.Default {
		s.ConsumerGroup = defaultGroup
	}
	return s
}

// listed is the event hub whose records are listed, by all subjects.
func (w Work) listed() subject.Scope { return w.scope("listed-" + strconv.Itoa(w.Records)) }

// fill stores the records that are listed, under both spellings where the store reads both.
func fill(ctx context.Context, w Work, on backend.Backend, c backend.Container) error {
	if !w.lists() {
		return nil
	}
	kind, metadata := "ownership", map[string]string{"ownerid": "6fbd5e9b-1d7c-4a35-9c9f-2f0ad9b2c8b1"}
	if w.Kind == ListCheckpoints {
		kind, metadata = "checkpoint", map[string]string{"sequencenumber": "1099511627776", "offset": "8589934592"}
	}
	prefix := w.listed().Prefix(kind)
	if err := on.Fill(ctx, c, prefix, w.Records, metadata); err != nil {
		return err
	}
	if lower := strings.ToLower(prefix); lower != prefix {
		return on.Fill(ctx, c, lower, w.Records, metadata)
	}
	return nil
}

// connect makes the connections that a fleet has after its first rounds: as many as the store sends requests at once. Each
// of these waits for all others, so that every one has a connection of its own.
func connect(ctx context.Context, w Work, on backend.Backend, store subject.Store, name string) error {
	if w.Backend != backend.TLS {
		return nil
	}
	atOnce := checkpointstore.DefaultMaxConcurrency
	switch {
	case name == subject.Official:
		atOnce = 1
	case w.Handed:
		atOnce = checkpointstore.DefaultMaxConcurrencyOfClient
	}
	if err := on.Gather(atOnce); err != nil {
		return err
	}
	return claimAll(ctx, store.Claims(w.scope(backend.AbsentHub+"connect-"+name), atOnce), atOnce)
}
