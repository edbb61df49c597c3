package proof

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ea947076/checkpointstore/internal/faults"
)

// config says all that a history follows from. The same config gives the same history, on the fake.
type config struct {
	seed                      uint64
	owners, partitions, steps int
	faults                    mix
	store                     variant

	// Of claims.
	deletes  bool // somebody deletes each record once
	twins    bool // two of the owners have the same id
	careless bool // owners claim again on what they knew, without looking, after a claim was not won
	strict   bool // the check knows nothing of owners with one id, see [rules]

	// Of checkpoints.
	rewinds   int  // how often somebody rewinds
	overlaps  bool // handlers of one tenure go on in the next one of their store
	coalesced bool // package progress writes, see coalesced_test.go
}

// variant is a store as it is, or one that is broken on purpose.
type variant string

const (
	whole         variant = "whole"
	unconditional variant = "unconditional" // first claims without If-None-Match
	unresolved    variant = "unresolved"    // ambiguous answers are taken at their word
	unfenced      variant = "unfenced"      // the option DisableFencing
	forgetful     variant = "forgetful"     // checkpoints lose their generation on the way to the service
	relabelling   variant = "relabelling"   // every update is of the generation that is stored
)

// numbers and switches are the fields by the names that String gives them.
func (c *config) numbers() map[string]*int {
	return map[string]*int{"owners": &c.owners, "partitions": &c.partitions, "steps": &c.steps, "rewinds": &c.rewinds}
}

func (c *config) switches() map[string]*bool {
	return map[string]*bool{
		"deletes": &c.deletes, "twins": &c.twins, "careless": &c.careless, "strict": &c.strict, "overlaps": &c.overlaps,
		"coalesced": &c.coalesced,
	}
}

func (c config) String() string {
	s := fmt.Sprintf("seed=%d,owners=%d,partitions=%d,steps=%d,rewinds=%d,faults=%v", c.seed, c.owners, c.partitions, c.steps, c.rewinds, c.faults)
	switches := c.switches()
	for _, name := range slices.Sorted(maps.Keys(switches)) {
		if *switches[name] {
			s += "," + name
		}
	}
	if c.store != whole {
		s += ",store=" + string(c.store)
	}
	return s
}

// parseConfig reads what String writes.
func parseConfig(text string) (config, error) {
	c := config{store: whole}
	for _, field := range strings.Split(text, ",") {
		name, value, _ := strings.Cut(field, "=")
		var err error
		number, isNumber := c.numbers()[name]
		isSet, isSwitch := c.switches()[name]
		switch {
		case isNumber:
			*number, err = strconv.Atoi(value)
		case isSwitch:
			*isSet = true
		case name == "seed":
			c.seed, err = strconv.ParseUint(value, 10, 64)
		case name == "faults":
			c.faults, err = parseMix(value)
		case name == "store":
			c.store = variant(value)
		default:
			err = fmt.Errorf("no such field")
		}
		if err != nil {
			return config{}, fmt.Errorf("%q: %w", field, err)
		}
	}
	return c, nil
}

// mix is a set of kinds of faults, one bit for each.
type mix uint

// kind is a kind of fault: what strikes, at the pace of the world it strikes in.
type kind struct {
	name  string
	rules func(pace time.Duration) []faults.Fault
}

func rule(chance float64, f faults.Fault) faults.Fault { return f.WithChance(chance) }

// kinds are all kinds. A try may take 7 times the pace, see [world].
func kinds() []kind {
	lists := func(f faults.Fault) faults.Fault {
		return f.WithChance(0.25).On(faults.OpIs(faults.ListBlobs))
	}
	return []kind{
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
				rule(0.1, faults.Busy(pace)), // waited for
				rule(0.1, faults.Busy(2*time.Hour).Named("503 with a long retry-after")), // not waited for
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

// mixes is how many sets of kinds there are.
func mixes() int { return 1 << len(kinds()) }

func everything() mix { return mix(mixes() - 1) }

func (m mix) count() int { return bits.OnesCount(uint(m)) }

// each is the kinds in the set.
func (m mix) each() []kind {
	var in []kind
	for i, k := range kinds() {
		if m>>i&1 == 1 {
			in = append(in, k)
		}
	}
	return in
}

func (m mix) rules(pace time.Duration) []faults.Fault {
	// However few faults there are, requests take some time, no two of them the same.
	rules := []faults.Fault{rule(1, faults.Latency(0, pace/2).Named("way"))}
	for _, k := range m.each() {
		rules = append(rules, k.rules(pace)...)
	}
	return rules
}

func (m mix) String() string {
	var names []string
	for _, k := range m.each() {
		names = append(names, k.name)
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, "+")
}

func parseMix(text string) (mix, error) {
	var m mix
	if text == "none" {
		return m, nil
	}
	for _, name := range strings.Split(text, "+") {
		i := slices.IndexFunc(kinds(), func(k kind) bool { return k.name == name })
		if i < 0 {
			return 0, fmt.Errorf("no fault %q", name)
		}
		m |= 1 << i
	}
	return m, nil
}
