// Package measure runs the same work by several competitors as Go benchmarks that take turns.
package measure

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"
)

// Job is the work of one competitor.
type Job struct {
	// Prepare makes ready for that many operations. It is not measured. It may be nil.
	Prepare func(ctx context.Context, operations int) error
	// Do is one operation.
	Do func(ctx context.Context) error
}

// Counts are the requests and connections so far.
type Counts struct{ Requests, Dialled int64 }

// The units of what a [Job] reports beside its time and its allocations.
const (
	requestsUnit = "requests/op"
	dialledUnit  = "dials/op"
	cpuUnit      = "cpu-ns/op"
)

// Benchmark runs b.N operations of the job, and reports requests, connections and CPU time of one.
func (j Job) Benchmark(ctx context.Context, b *testing.B, counts func() Counts) error {
	if j.Prepare != nil {
		if err := j.Prepare(ctx, b.N); err != nil {
			return err
		}
	}
	b.ReportAllocs()
	before, cpuBefore := counts(), cpuTime()
	b.ResetTimer()
	for range b.N {
		if err := j.Do(ctx); err != nil {
			return err
		}
	}
	b.StopTimer()
	cpu, after := cpuTime()-cpuBefore, counts()
	n := float64(b.N)
	b.ReportMetric(float64(after.Requests-before.Requests)/n, requestsUnit)
	b.ReportMetric(float64(after.Dialled-before.Dialled)/n, dialledUnit)
	b.ReportMetric(float64(cpu)/n, cpuUnit)
	return nil
}

// Sample is what one operation took, on average over a benchmark. Times are in seconds.
type Sample struct {
	Wall, CPU, Allocations, Bytes, Requests, Dialled float64
}

func sampleOf(r testing.BenchmarkResult) Sample {
	n := float64(r.N)
	return Sample{
		Wall: r.T.Seconds() / n, CPU: r.Extra[cpuUnit] / 1e9,
		Allocations: float64(r.MemAllocs) / n, Bytes: float64(r.MemBytes) / n,
		Requests: r.Extra[requestsUnit], Dialled: r.Extra[dialledUnit],
	}
}

// Series are the samples of one competitor, by round.
type Series []Sample

// Run benchmarks the jobs. In each round every job has its turn, in an order that starts with another job and turns
// around from round to round. A turn of the first round lasts at least about so long, or for one operation; those of the
// other rounds have as many operations.
func Run(ctx context.Context, jobs []Job, counts func() Counts, rounds int, atLeast time.Duration) ([]Series, error) {
	testing.Init() // the flags of go test, for those who are not run by it
	all, turns := make([]Series, len(jobs)), make([]string, len(jobs))
	for i := range turns {
		turns[i] = atLeast.String()
	}
	for round := range rounds {
		for _, i := range order(len(jobs), round) {
			if err := flag.Set("test.benchtime", turns[i]); err != nil {
				return nil, err
			}
			var err error
			result := testing.Benchmark(func(b *testing.B) {
				if err = errors.Join(ctx.Err(), jobs[i].Benchmark(ctx, b, counts)); err != nil {
					b.FailNow()
				}
			})
			if err != nil {
				return nil, err
			}
			all[i] = append(all[i], sampleOf(result))
			turns[i] = fmt.Sprintf("%dx", result.N)
		}
	}
	return all, nil
}

// order is whose turn it is in a round of n.
func order(n, round int) []int {
	turns := make([]int, n)
	for i := range turns {
		turns[i] = (round + i) % n
	}
	if round%2 == 1 {
		slices.Reverse(turns[1:])
	}
	return turns
}

// Value picks one number of a sample.
type Value func(Sample) float64

// The numbers of a sample.
func Wall(s Sample) float64        { return s.Wall }
func CPU(s Sample) float64         { return s.CPU }
func Allocations(s Sample) float64 { return s.Allocations }
func Bytes(s Sample) float64       { return s.Bytes }
func Requests(s Sample) float64    { return s.Requests }
func Dialled(s Sample) float64     { return s.Dialled }

// Spread is what several rounds gave.
type Spread struct{ Min, Median, Max float64 }

// Of is the spread of a series.
func (s Series) Of(v Value) Spread {
	values := make([]float64, len(s))
	for i, sample := range s {
		values[i] = v(sample)
	}
	return spread(values)
}

// Ratio is the spread of s divided by other, round by round, as both were measured next to each other there.
func (s Series) Ratio(other Series, v Value) Spread {
	values := make([]float64, min(len(s), len(other)))
	for i := range values {
		values[i] = v(s[i]) / v(other[i])
	}
	return spread(values)
}

// spread is all zero for no values.
func spread(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	slices.Sort(values)
	middle := len(values) / 2
	median := values[middle]
	if len(values)%2 == 0 {
		median = (values[middle-1] + median) / 2
	}
	return Spread{Min: values[0], Median: median, Max: values[len(values)-1]}
}
