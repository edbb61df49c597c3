package measure

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRunTakesTurns(t *testing.T) {
	var turns []string
	var jobs []Job
	for _, name := range []string{"a", "b", "c"} {
		jobs = append(jobs, Job{Do: func(context.Context) error {
			turns = append(turns, name)
			time.Sleep(time.Millisecond)
			return nil
		}})
	}
	all, err := Run(t.Context(), jobs, func() Counts { return Counts{} }, 6, time.Millisecond)
	require.NoError(t, err)
	require.Len(t, all, 3)
	places := map[string]map[int]bool{"a": {}, "b": {}, "c": {}}
	require.Len(t, turns, 18, "an operation that takes long enough is not done again")
	for i, name := range turns {
		places[name][i%3] = true
	}
	for name, at := range places {
		require.Len(t, at, 3, "%s was first, second and last: %v", name, turns)
	}
	require.NotEqual(t, turns[0:3], turns[3:6])
}

func TestRunMeasuresOneOperation(t *testing.T) {
	var done, prepared int
	var turns []int
	var kept []byte
	job := Job{
		Prepare: func(_ context.Context, operations int) error {
			prepared += operations
			turns = append(turns, operations)
			done++ // not the operation's request
			kept = make([]byte, 10<<20)
			return nil
		},
		Do: func(context.Context) error {
			prepared--
			done += 2
			kept = make([]byte, 1<<20)
			time.Sleep(time.Millisecond)
			return nil
		},
	}
	counts := func() Counts { return Counts{Requests: int64(done), Dialled: int64(done) / 2} }
	all, err := Run(t.Context(), []Job{job}, counts, 2, 20*time.Millisecond)
	require.NoError(t, err)
	require.Zero(t, prepared, "operations that are prepared and not done")
	require.Len(t, all[0], 2)
	want := []int{1, 1}
	if most := turns[len(turns)-1]; most > 1 {
		want = []int{most, 1, most}
	}
	require.Equal(t, want, turns[len(turns)-len(want):], "the second round does what the first did, after one to warm up")
	for _, s := range all[0] {
		require.GreaterOrEqual(t, s.Wall, time.Millisecond.Seconds())
		if cpuTime() > 0 { // where it is known
			require.Positive(t, s.CPU)
		}
		require.Equal(t, 2.0, s.Requests)
		require.InDelta(t, 1.0, s.Dialled, 1e-9)
		require.InDelta(t, 1<<20, s.Bytes, 1<<19, "what Prepare allocates does not count: %d", len(kept))
		require.GreaterOrEqual(t, s.Allocations, 1.0)
	}
}

func TestRunFails(t *testing.T) {
	broken := errors.New("broken")
	fail := func(context.Context) error { return broken }
	for name, job := range map[string]Job{
		"operation":   {Do: fail},
		"preparation": {Prepare: func(ctx context.Context, _ int) error { return fail(ctx) }},
	} {
		_, err := Run(t.Context(), []Job{job}, func() Counts { return Counts{} }, 1, time.Millisecond)
		require.ErrorIs(t, err, broken, name)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Run(canceled, []Job{{Do: func(context.Context) error { return nil }}}, func() Counts { return Counts{} }, 1, time.Millisecond)
	require.ErrorIs(t, err, context.Canceled)
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Spread
	}{
		{nil, Spread{}},
		{[]float64{7}, Spread{7, 7, 7}},
		{[]float64{30, 2, 4}, Spread{2, 4, 30}},
		{[]float64{4, 100, 1, 2}, Spread{1, 3, 100}},
	} {
		require.Equal(t, c.want, spread(c.values), "%v", c.values)
	}
}

func TestRatioIsTakenWithinRounds(t *testing.T) {
	// The machine was ten times slower in the second round, for both.
	slow, fast := Series{{Wall: 20}, {Wall: 200}, {Wall: 30}}, Series{{Wall: 2}, {Wall: 20}, {Wall: 1}}
	require.Equal(t, Spread{10, 10, 30}, slow.Ratio(fast, Wall))
	require.Equal(t, Spread{20, 30, 200}, slow.Of(Wall))
	require.Equal(t, Spread{}, slow.Ratio(nil, Wall))
}
