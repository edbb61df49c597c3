package measure

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Spread
	}{
		{nil, Spread{}},
		{[]float64{7}, Spread{7, 7, 7}},
		{[]float64{9, 1}, Spread{1, 5, 9}},
		{[]float64{30, 2, 4}, Spread{2, 4, 30}},
		{[]float64{4, 100, 1, 2}, Spread{1, 3, 100}},
	} {
		require.Equal(t, c.want, spread(c.values), "%v", c.values)
	}
}

func TestRatioIsTakenWithinRounds(t *testing.T) {
	seconds := func(values ...int) (s Series) {
		for _, v := range values {
			s = append(s, Sample{Wall: time.Duration(v) * time.Second})
		}
		return s
	}
	// The machine was ten times slower in the second round, for both.
	slow, fast := seconds(20, 200, 30), seconds(2, 20, 1)
	require.Equal(t, Spread{10, 10, 30}, slow.Ratio(fast, Wall))
	require.Equal(t, Spread{20, 30, 200}, slow.Of(Wall))
	require.Equal(t, Spread{}, slow.Ratio(nil, Wall))
}

func TestValues(t *testing.T) {
	s := Sample{Wall: time.Second, CPU: 2 * time.Second, Allocations: 3, Bytes: 4, Requests: 5, Dialled: 6}
	for i, value := range []Value{Wall, CPU, Allocations, Bytes, Requests, Dialled} {
		require.Equal(t, float64(i+1), value(s))
	}
}
