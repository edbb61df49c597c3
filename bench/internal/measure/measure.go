// Package measure runs the same work by several competitors, taking turns, and
// says what it took.
package measure

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

// Job is the work of one competitor.
type Job interface {
	// Prepare makes ready for that many operations. It is not measured.
	Prepare(ctx context.Context, operations int) error

	// Do is one operation.
	Do(ctx context.Context) error
}

// Plan is how much is measured.
type Plan struct {
	Rounds int

	// Batch is how long a competitor works for one sample, at least one operation
	// and at most MostOperations.
	Batch          time.Duration
	MostOperations int
}

// Sample is what one operation took, on average over a batch.
type Sample struct {
	Wall, CPU          time.Duration
	Allocations, Bytes float64
	Requests, Dialled  float64
}

// Series are the samples of one competitor, by round.
type Series []Sample

// Counts are the requests and connections so far.
type Counts struct{ Requests, Dialled int64 }

// Run measures the jobs. In each round every job has its turn, in an order that
// starts with another job and turns around from round to round. An operation of
// each goes before the first round, to tell how many fit into a batch, unless one
// is the most.
func Run(ctx context.Context, jobs []Job, counts func() Counts, plan Plan) ([]Series, error) {
	operations := make([]int, len(jobs))
	for i, job := range jobs {
		if plan.MostOperations <= 1 {
			operations[i] = 1
			continue
		}
		s, err := batch(ctx, job, 1, counts)
		if err != nil {
			return nil, fmt.Errorf("warming up: %w", err)
		}
		operations[i] = max(1, min(plan.MostOperations, int(plan.Batch/max(s.Wall, 1))))
	}
	all := make([]Series, len(jobs))
	for round := range plan.Rounds {
		for _, i := range order(len(jobs), round) {
			s, err := batch(ctx, jobs[i], operations[i], counts)
			if err != nil {
				return nil, err
			}
			all[i] = append(all[i], s)
		}
	}
	return all, nil
}

// order is whose turn it is in a round of n.
func order(n, round int) []int {
	turns := make([]int, n)
	for i := range turns {
		turns[i] = (round + i) % n
		if round%2 == 1 {
			turns[i] = (round + n - i) % n
		}
	}
	return turns
}

// batch measures operations one after another. Garbage of others is collected
// before.
func batch(ctx context.Context, job Job, operations int, counts func() Counts) (Sample, error) {
	if err := job.Prepare(ctx, operations); err != nil {
		return Sample{}, err
	}
	runtime.GC()
	countsBefore, before := counts(), usageBefore()
	for range operations {
		if err := job.Do(ctx); err != nil {
			return Sample{}, err
		}
	}
	after, countsAfter := usageAfter(), counts()
	n := float64(operations)
	return Sample{
		Wall:        after.at.Sub(before.at) / time.Duration(operations),
		CPU:         (after.cpu - before.cpu) / time.Duration(operations),
		Allocations: float64(after.mallocs-before.mallocs) / n,
		Bytes:       float64(after.bytes-before.bytes) / n,
		Requests:    float64(countsAfter.Requests-countsBefore.Requests) / n,
		Dialled:     float64(countsAfter.Dialled-countsBefore.Dialled) / n,
	}, nil
}
