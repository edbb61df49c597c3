package proof

import (
	"encoding/json"
	"iter"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// config determines a history. On the fake service, the same config gives the same history.
type config struct {
	Seed       uint64   `json:"seed"`
	Owners     int      `json:"owners"`
	Partitions int      `json:"partitions"`
	Steps      int      `json:"steps"`
	Faults     faultSet `json:"faults"`
	Store      variant  `json:"store,omitempty"`

	// Of claims.
	Deletes  bool `json:"deletes,omitempty"`  // each record is deleted once
	SharedID bool `json:"sharedID,omitempty"` // two owners have the same ID
	Blind    bool `json:"blind,omitempty"`    // after a claim that failed or was lost, owners claim again without a list
	Strict   bool `json:"strict,omitempty"`   // the check allows nothing for owners that share an ID, see [allowances]

	// Of checkpoints.
	Rewinds   int  `json:"rewinds,omitempty"`   // how often an operator rewinds the partition
	Overlaps  bool `json:"overlaps,omitempty"`  // handlers of one tenure continue in the next tenure of their store
	Coalesced bool `json:"coalesced,omitempty"` // package progress writes the checkpoints
}

// variant is the store as it is, which is the zero value, or a store that is broken on purpose.
type variant string

const (
	unconditional variant = "unconditional" // first claims without If-None-Match
	unresolved    variant = "unresolved"    // ambiguous write results are not resolved by a read
	unfenced      variant = "unfenced"      // the option DisableFencing
	forgetful     variant = "forgetful"     // checkpoints lose their generation on the way to the service
	relabelling   variant = "relabelling"   // every update takes the stored generation
)

// replayable is a config as the -history, -checkpoints and -fleet flags take it.
func replayable(c any) string {
	text, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// replayed reads the config that a flag names. Without one, it skips the test, which plays nothing else.
func replayed[C any](t *testing.T, flag, text string) (c C) {
	t.Helper()
	if text == "" {
		t.Skipf("plays the one history that -%s names: left out without the flag", flag)
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&c))
	return c
}

// seeds yields a config under the seeds 1 to n.
func seeds(n uint64, c config) iter.Seq[config] {
	return func(yield func(config) bool) {
		for c.Seed = 1; c.Seed <= n && yield(c); c.Seed++ {
		}
	}
}

// smaller yields configs that are a step smaller, each under the same seed and some others.
func (c config) smaller() iter.Seq[config] {
	return func(yield func(config) bool) {
		try := func(change func(*config)) bool {
			s := c
			change(&s)
			if s == c {
				return true
			}
			for seed := uint64(0); seed < 100; seed++ {
				if seed > 0 {
					s.Seed = seed
				}
				if !yield(s) {
					return false
				}
			}
			return true
		}
		goesOn := try(func(s *config) { s.Partitions = min(s.Partitions, 1) }) &&
			try(func(s *config) { s.Owners = max(s.Owners-1, 1) }) &&
			try(func(s *config) { s.Rewinds = max(s.Rewinds-1, 0) }) &&
			try(func(s *config) { s.Steps = max(s.Steps/2, 1) }) &&
			try(func(s *config) { s.Steps = max(s.Steps-1, 1) }) &&
			try(func(s *config) { s.Deletes = false })
		for i := 0; goesOn && i < len(faultKinds()); i++ {
			goesOn = try(func(s *config) { s.Faults &^= 1 << i })
		}
	}
}

// shrink follows the smaller configs that fail too, until none does or it has tried enough of them. It returns the last
// failing verdict as it was seen, since another play of the same config may order what happens at one instant differently.
func shrink[C, V any](c C, failing V, tries int, smaller func(C) iter.Seq[C], play func(C) (v V, fails bool)) V {
	for again := true; again; {
		again = false
		for s := range smaller(c) {
			if tries--; tries < 0 {
				return failing
			}
			if v, fails := play(s); fails {
				c, failing, again = s, v, true
				break
			}
		}
	}
	return failing
}

// skipUnderRace skips a test that shows that a check can fail, or that a limit exists. The race detector would take minutes.
func skipUnderRace(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("plays broken histories and shrinks them: left out with the race detector")
	}
}
