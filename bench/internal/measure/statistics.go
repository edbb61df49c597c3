package measure

import "slices"

// Value picks one number of a sample.
type Value func(Sample) float64

// The numbers of a sample, times in seconds.
func Wall(s Sample) float64        { return s.Wall.Seconds() }
func CPU(s Sample) float64         { return s.CPU.Seconds() }
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

// Ratio is the spread of s divided by other, round by round, as both were
// measured next to each other there.
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
