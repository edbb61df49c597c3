package proof

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/ea947076/checkpointstore/internal/faults"
)

// faultKind is one kind of fault. The pace is the unit of time of the [backend] that it strikes: a try may take 7 times as long.
type faultKind struct {
	name  string
	rules func(pace time.Duration) []faults.Rule
}

func rule(chance float64, f faults.Fault) faults.Rule { return faults.Rule{Fault: f, Chance: chance} }

func faultKinds() []faultKind {
	lists := func(f faults.Fault) faults.Rule {
		return faults.Rule{Fault: f, Chance: 0.25, Match: faults.IsList}
	}
	return []faultKind{
		{"slow", func(pace time.Duration) []faults.Rule {
			return []faults.Rule{rule(0.3, faults.Latency(0, 6*pace))}
		}},
		{"reset", func(time.Duration) []faults.Rule { return []faults.Rule{rule(0.2, faults.ResetBeforeSend())} }},
		{"lostrequest", func(time.Duration) []faults.Rule { return []faults.Rule{rule(0.15, faults.LoseRequest())} }},
		{"lostresponse", func(time.Duration) []faults.Rule { return []faults.Rule{rule(0.2, faults.LoseResponse())} }},
		{"late", func(pace time.Duration) []faults.Rule {
			return []faults.Rule{rule(0.1, faults.ApplyLate(0, 30*pace)), rule(0.1, faults.ResetThenApplyLate(0, 30*pace))}
		}},
		{"busy", func(time.Duration) []faults.Rule { return []faults.Rule{rule(0.2, faults.Busy(0).Fault())} }},
		{"retryafter", func(pace time.Duration) []faults.Rule {
			return []faults.Rule{
				rule(0.1, faults.Busy(pace).Fault()),                                             // short enough to wait for
				rule(0.1, faults.Busy(2*time.Hour).Fault().Named("503 with a long retry-after")), // too long
			}
		}},
		{"busyapplied", func(pace time.Duration) []faults.Rule {
			return []faults.Rule{rule(0.1, faults.Busy(0).After().Fault()), rule(0.1, faults.Busy(pace).After().Fault())}
		}},
		{"internal", func(time.Duration) []faults.Rule {
			return []faults.Rule{rule(0.1, faults.InternalError().Fault()), rule(0.1, faults.InternalError().After().Fault())}
		}},
		{"truncated", func(time.Duration) []faults.Rule {
			return []faults.Rule{lists(faults.TruncateBody()), lists(faults.ShortenBody())}
		}},
		{"outage", func(pace time.Duration) []faults.Rule { return []faults.Rule{rule(0.04, faults.Outage(0, 12*pace))} }},
		{"date", func(time.Duration) []faults.Rule { return []faults.Rule{rule(1, faults.SkewDate(-25*time.Hour))} }},
	}
}

// faultSet is a set of kinds of faults, one bit for each.
type faultSet uint

// faultSets returns how many sets there are.
func faultSets() int { return 1 << len(faultKinds()) }

func allFaults() faultSet { return faultSet(faultSets() - 1) }

func (f faultSet) count() int { return bits.OnesCount(uint(f)) }

// kinds returns the kinds in the set.
func (f faultSet) kinds() []faultKind {
	var in []faultKind
	for i, k := range faultKinds() {
		if f>>i&1 == 1 {
			in = append(in, k)
		}
	}
	return in
}

// rules returns the rules of the set. All requests take some time, no two of them the same.
func (f faultSet) rules(pace time.Duration) []faults.Rule {
	rules := []faults.Rule{rule(1, faults.Latency(0, pace/2).Named("network"))}
	for _, k := range f.kinds() {
		rules = append(rules, k.rules(pace)...)
	}
	return rules
}

func (f faultSet) String() string {
	var names []string
	for _, k := range f.kinds() {
		names = append(names, k.name)
	}
	return strings.Join(names, "+")
}

// MarshalText returns the names of the kinds.
func (f faultSet) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (f *faultSet) UnmarshalText(text []byte) error {
	*f = 0
	for _, name := range strings.FieldsFunc(string(text), func(r rune) bool { return r == '+' }) {
		i := slices.IndexFunc(faultKinds(), func(k faultKind) bool { return k.name == name })
		if i < 0 {
			return fmt.Errorf("no fault %q", name)
		}
		*f |= 1 << i
	}
	return nil
}
