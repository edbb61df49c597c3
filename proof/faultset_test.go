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
	rules func(pace time.Duration) []faults.Fault
}

func rule(chance float64, f faults.Fault) faults.Fault { return f.WithChance(chance) }

func faultKinds() []faultKind {
	lists := func(f faults.Fault) faults.Fault {
		return f.WithChance(0.25).On(faults.OpIs(faults.ListBlobs))
	}
	return []faultKind{
		{"slow", func(pace time.Duration) []faults.Fault {
			return []faults.Fault{rule(0.3, faults.Latency(0, 6*pace))}
		}},
		{"reset", func(time.Duration) []faults.Fault { return []faults.Fault{rule(0.2, faults.ResetBeforeSend())} }},
		{"lostrequest", func(time.Duration) []faults.Fault { return []faults.Fault{rule(0.15, faults.LoseRequest())} }},
		{"lostresponse", func(time.Duration) []faults.Fault { return []faults.Fault{rule(0.2, faults.LoseResponse())} }},
		{"late", func(pace time.Duration) []faults.Fault {
			return []faults.Fault{rule(0.1, faults.ApplyLate(0, 30*pace)), rule(0.1, faults.ResetThenApplyLate(0, 30*pace))}
		}},
		{"busy", func(time.Duration) []faults.Fault { return []faults.Fault{rule(0.2, faults.Busy(0))} }},
		{"retryafter", func(pace time.Duration) []faults.Fault {
			return []faults.Fault{
				rule(0.1, faults.Busy(pace)), // short enough to wait for
				rule(0.1, faults.Busy(2*time.Hour).Named("503 with a long retry-after")), // too long
			}
		}},
		{"busyapplied", func(pace time.Duration) []faults.Fault {
			return []faults.Fault{rule(0.1, faults.ApplyThenStatus(503, "ServerBusy")), rule(0.1, faults.Answer{Status: 503, Code: "ServerBusy", RetryAfter: pace, Applied: true}.Fault())}
		}},
		{"internal", func(time.Duration) []faults.Fault {
			return []faults.Fault{rule(0.1, faults.Status(500, "InternalError")), rule(0.1, faults.ApplyThenStatus(500, "InternalError"))}
		}},
		{"truncated", func(time.Duration) []faults.Fault {
			return []faults.Fault{lists(faults.TruncateBody()), lists(faults.ShortenBody())}
		}},
		{"outage", func(pace time.Duration) []faults.Fault { return []faults.Fault{rule(0.04, faults.Outage(0, 12*pace))} }},
		{"date", func(time.Duration) []faults.Fault { return []faults.Fault{rule(1, faults.SkewDate(-25*time.Hour))} }},
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
func (f faultSet) rules(pace time.Duration) []faults.Fault {
	rules := []faults.Fault{rule(1, faults.Latency(0, pace/2).Named("network"))}
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
