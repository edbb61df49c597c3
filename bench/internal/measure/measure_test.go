package measure

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeJob counts what happens to it.
type fakeJob struct {
	name     string
	turns    *[]string // of all jobs
	prepared []int
	done     int
	each     int // bytes allocated by an operation
	sleep    time.Duration
	requests *int64
	fail     error
	kept     []byte
}

func (j *fakeJob) Prepare(_ context.Context, operations int) error {
	j.prepared = append(j.prepared, operations)
	*j.turns = append(*j.turns, j.name)
	j.kept = make([]byte, 10<<20) // not the operation's
	return nil
}

func (j *fakeJob) Do(context.Context) error {
	j.done++
	*j.requests += 2
	j.kept = make([]byte, j.each)
	time.Sleep(j.sleep)
	return j.fail
}

func TestRunTakesTurns(t *testing.T) {
	var turns []string
	var requests int64
	jobs := []Job{
		&fakeJob{name: "a", turns: &turns, requests: &requests},
		&fakeJob{name: "b", turns: &turns, requests: &requests},
		&fakeJob{name: "c", turns: &turns, requests: &requests},
	}
	counts := func() Counts { return Counts{Requests: requests} }
	all, err := Run(context.Background(), jobs, counts, Plan{Rounds: 6, MostOperations: 1})
	require.NoError(t, err)
	require.Len(t, all, 3)
	for i := range jobs {
		require.Len(t, all[i], 6)
		require.Equal(t, []int{1, 1, 1, 1, 1, 1}, jobs[i].(*fakeJob).prepared, "no warming up")
	}
	places := map[string]map[int]bool{"a": {}, "b": {}, "c": {}}
	for i, name := range turns {
		places[name][i%3] = true
	}
	for name, at := range places {
		require.Len(t, at, 3, "%s was first, second and last: %v", name, turns)
	}
	require.NotEqual(t, turns[0:3], turns[3:6])
}

func TestRunMeasuresOneOperation(t *testing.T) {
	var turns []string
	var requests int64
	job := &fakeJob{turns: &turns, requests: &requests, each: 1 << 20, sleep: 5 * time.Millisecond}
	counts := func() Counts { return Counts{Requests: requests, Dialled: requests / 2} }
	all, err := Run(context.Background(), []Job{job}, counts, Plan{Rounds: 2, Batch: 20 * time.Millisecond, MostOperations: 3})
	require.NoError(t, err)
	require.Equal(t, 1, job.prepared[0], "one operation to warm up")
	require.Equal(t, job.prepared[1], job.prepared[2])
	require.LessOrEqual(t, job.prepared[1], 3)
	require.Equal(t, 1+job.prepared[1]+job.prepared[2], job.done)
	for _, s := range all[0] {
		require.GreaterOrEqual(t, s.Wall, job.sleep)
		if cpuTime() > 0 { // where it is known
			require.Positive(t, s.CPU)
		}
		require.Equal(t, 2.0, s.Requests)
		require.Equal(t, 1.0, s.Dialled)
		require.GreaterOrEqual(t, s.Bytes, float64(1<<20))
		require.Less(t, s.Bytes, float64(2<<20), "what Prepare allocates does not count")
		require.GreaterOrEqual(t, s.Allocations, 1.0)
	}
}

func TestRunFails(t *testing.T) {
	var turns []string
	var requests int64
	broken := errors.New("broken")
	job := &fakeJob{turns: &turns, requests: &requests, fail: broken}
	for _, most := range []int{1, 10} {
		_, err := Run(context.Background(), []Job{job}, func() Counts { return Counts{} }, Plan{Rounds: 1, MostOperations: most})
		require.ErrorIs(t, err, broken)
	}
}

func TestCPUTimeGrowsWithWork(t *testing.T) {
	before, begin := cpuTime(), time.Now()
	if before == 0 {
		t.Skip("the CPU time of a process is not known on this system")
	}
	x := 1
	for time.Since(begin) < 50*time.Millisecond {
		x *= 3
	}
	require.Greater(t, cpuTime(), before, x)
}
