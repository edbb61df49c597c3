package report

import (
	"fmt"
	"strings"

	"github.com/ea947076/checkpointstore/bench/internal/backend"
	"github.com/ea947076/checkpointstore/bench/internal/measure"
	"github.com/ea947076/checkpointstore/bench/internal/subject"
	"github.com/ea947076/checkpointstore/bench/internal/workload"
)

// Target is one that the store is to reach, judged over all the rows that it is
// about.
type Target struct {
	Text string

	// Counted targets do not depend on how busy the machine is.
	Counted bool

	// Measured is the row that is furthest from the target, or closest to miss it.
	Measured     string
	Rows, Missed int
	Met          bool
}

// goal is a target before it is judged. A value above the limit misses it, or
// below if atLeast.
type goal struct {
	text    string
	counted bool
	atLeast bool
	limit   float64
	about   func(workload.Row) bool
	value   func(workload.Row) float64
}

func (g goal) met(value float64) bool {
	if g.atLeast {
		return value >= g.limit
	}
	return value <= g.limit
}

func goals() []goal {
	return []goal{
		{"claims of 256 partitions at 5 ms are at least 20 times faster than those of the official store", false, true, 20,
			claimsAt5ms, func(r workload.Row) float64 { return of(r, subject.Official, subject.Ours, measure.Wall) }},
		{"claims of 256 partitions at 5 ms take at most 1.3 times as long as bare calls", false, false, 1.3,
			claimsAt5ms, func(r workload.Row) float64 { return of(r, subject.Ours, subject.Bare, measure.Wall) }},
		{"no connection is dialled in a steady round", true, false, 0,
			func(r workload.Row) bool { return r.Backend == backend.TLS && !r.Handed },
			dialledInMostRounds},
		{"no more requests than the official store (which looks under one spelling of $Default only)", true, false, 0,
			func(r workload.Row) bool { return r.Series[subject.Official] != nil && !r.TwoSpellings() }, moreRequests},
		{"at most 1.1 times the allocations of bare azblob with the same deadlines", true, false, 1.1,
			clientAlone, func(r workload.Row) float64 { return of(r, subject.Ours, subject.Bounded, measure.Allocations) }},
		{"at most 1.1 times the allocations of bare azblob that may wait for ever", false, false, 1.1,
			clientAlone, func(r workload.Row) float64 { return of(r, subject.Ours, subject.Bare, measure.Allocations) }},
		{"lists of 1024 records allocate at least 10 times less often than the official store's", true, true, 10,
			longLists, func(r workload.Row) float64 { return of(r, subject.Official, subject.Ours, measure.Allocations) }},
		{"lists of 1024 records allocate at least 10 times fewer bytes than the official store's", true, true, 10,
			longLists, func(r workload.Row) float64 { return of(r, subject.Official, subject.Ours, measure.Bytes) }},
		{"lists of 1024 records take at least 10 times less CPU time than the official store's", false, true, 10,
			longLists, func(r workload.Row) float64 { return of(r, subject.Official, subject.Ours, measure.CPU) }},
	}
}

func claimsAt5ms(r workload.Row) bool {
	return r.Backend == backend.TLS && (r.Kind == workload.Claim || r.Kind == workload.Renew) &&
		r.Records == 256 && r.Latency.Milliseconds() == 5 && !r.Handed
}

// clientAlone is true for all that shows what the store adds to its requests.
func clientAlone(r workload.Row) bool { return r.Backend == backend.InProcess && r.OneRequestEach() }

func longLists(r workload.Row) bool {
	return r.Backend == backend.InProcess && (r.Kind == workload.ListOwnership || r.Kind == workload.ListCheckpoints) &&
		r.Records == 1024 && !r.Default
}

func of(r workload.Row, over, under string, value measure.Value) float64 {
	return r.Series[over].Ratio(r.Series[under], value).Median
}

// dialledInMostRounds is the median of the rounds. A store that keeps too few connections
// dials in every round; but net/http also closes a connection after its response if a busy
// machine lets 50 ms pass until the goroutine that wrote the request goes on, and the next
// round dials then. That a store dials in no round at all is tested in fake time, by the
// TestConnectionsFollowTheRequestsInFlight of the root module.
func dialledInMostRounds(r workload.Row) float64 {
	return r.Series[subject.Ours].Of(measure.Dialled).Median
}

// moreRequests is how many more the store sends than the official one.
func moreRequests(r workload.Row) float64 {
	return r.Series[subject.Ours].Of(measure.Requests).Max - r.Series[subject.Official].Of(measure.Requests).Min
}

// Targets judges the rows. A target that no row is about is left out.
func Targets(rows []workload.Row) []Target {
	var all []Target
	for _, g := range goals() {
		t := Target{Text: g.text, Counted: g.counted}
		var worst float64
		for _, row := range rows {
			if !g.about(row) {
				continue
			}
			t.Rows++
			v := g.value(row)
			if !g.met(v) {
				t.Missed++
			}
			if t.Rows == 1 || (v > worst) != g.atLeast {
				worst = v
				t.Measured = fmt.Sprintf("%s (%s)", number(v), row.Name())
			}
		}
		if t.Rows == 0 {
			continue
		}
		t.Met = t.Missed == 0
		all = append(all, t)
	}
	return all
}

// TargetList writes the targets, one line each.
func TargetList(targets []Target) string {
	var b strings.Builder
	for _, t := range targets {
		verdict := "met"
		if !t.Met {
			verdict = fmt.Sprintf("**not met** by %d of them", t.Missed)
		}
		fmt.Fprintf(&b, "- %s (%d rows): %s; at worst %s\n", t.Text, t.Rows, verdict, t.Measured)
	}
	return b.String()
}
