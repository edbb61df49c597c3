package proof

import (
	"flag"
	"fmt"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/azurite"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
)

var historyFlag = flag.String("history", "", "the config of the one history that TestOneHistory plays and prints")

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	azurite.CloseShared()
	os.Exit(code)
}

// verdict is the outcome of a history of claims.
type verdict struct {
	config
	ops     map[string][]operation // by partition
	wire    string
	illegal []string // the partitions that are not linearizable
	struck  map[string]int
}

// playOnFake plays a history on a fake service of its own and checks it.
func playOnFake(t *testing.T, c config) verdict {
	t.Helper()
	var v verdict
	synctest.Test(t, func(t *testing.T) {
		service := fakeblob.New()
		v = play(t, onFake(service), c)
		v.wire = service.Transcript()
	})
	v.check()
	return v
}

func (v *verdict) check() {
	// The empty ID, which every relinquish writes, is shared by all owners.
	a := allowances{deleted: v.Deletes, sharedID: func(owner string) bool {
		return !v.Strict && (owner == "" || v.SharedID || v.Blind)
	}}
	for _, p := range slices.Sorted(maps.Keys(v.ops)) {
		if !linearizable(v.ops[p], a) {
			v.illegal = append(v.illegal, p)
		}
	}
}

// report shows what is illegal, the requests, and how to play the history again.
func (v verdict) report() string {
	var b strings.Builder
	for _, p := range v.illegal {
		fmt.Fprintf(&b, "partition %s is not linearizable. Calls, by the clock of their callers [call end]:\n%s", p, format(v.ops[p]))
		b.WriteString("Requests, in order of arrival:\n")
		for line := range strings.Lines(v.wire) {
			if strings.Contains(line, ownershipPrefix+p+" ") {
				b.WriteString("  " + strings.Replace(line, "/c/"+ownershipPrefix, "", 1))
			}
		}
	}
	fmt.Fprintf(&b, "Again: go test -run TestOneHistory -v -history '%s'\n", replayable(v.config))
	return b.String()
}

func TestOneHistory(t *testing.T) {
	v := playOnFake(t, replayed[config](t, "history", *historyFlag))
	for _, p := range slices.Sorted(maps.Keys(v.ops)) {
		t.Logf("partition %s\n%s", p, format(v.ops[p]))
	}
	t.Logf("wire\n%s\nfaults: %v", v.wire, v.struck)
	require.Empty(t, v.illegal, v.report())
}

// tally counts what a run of histories has seen.
type tally struct {
	histories int
	struck    map[string]int
	results   map[result]int
}

func newTally() tally { return tally{struck: make(map[string]int), results: make(map[result]int)} }

func (y *tally) add(v verdict) {
	y.histories++
	addCounts(y.struck, v.struck)
	for _, ops := range v.ops {
		for _, o := range ops {
			if o.action == claims {
				y.results[o.result]++
			}
		}
	}
}

func (y *tally) String() string {
	return fmt.Sprintf("%d histories, claims won %d, lost %d, unknown %d; faults: %v",
		y.histories, y.results[won], y.results[lost], y.results[unknown], y.struck)
}

func addCounts[K comparable](sum, more map[K]int) {
	for what, n := range more {
		sum[what] += n
	}
}

// smallest returns the verdict on the smallest illegal history that shrinking this one finds.
func smallest(t *testing.T, illegal verdict) verdict {
	t.Helper()
	return shrink(illegal.config, illegal, 1<<20, config.smaller, func(c config) (verdict, bool) {
		v := playOnFake(t, c)
		return v, len(v.illegal) > 0
	})
}

// mustHold plays histories, and reports the first illegal one after shrinking it.
func mustHold(t *testing.T, configs iter.Seq[config]) tally {
	t.Helper()
	seen := newTally()
	for c := range configs {
		v := playOnFake(t, c)
		if len(v.illegal) > 0 {
			t.Fatal(smallest(t, v).report())
		}
		seen.add(v)
	}
	t.Log(&seen)
	return seen
}

// mustFail plays histories until one is illegal, and returns that one after shrinking it.
func mustFail(t *testing.T, configs iter.Seq[config]) verdict {
	t.Helper()
	for c := range configs {
		if v := playOnFake(t, c); len(v.illegal) > 0 {
			small := smallest(t, v)
			t.Logf("found in history %d, shrunk:\n%s", c.Seed, small.report())
			return small
		}
	}
	t.Fatal("no history is illegal")
	return verdict{}
}

// fewer returns n, or a tenth of it under the race detector, with which a history takes ten times as long.
func fewer(n uint64) uint64 {
	if raceEnabled {
		return n/10 + 1
	}
	return n
}

func TestClaimsAreLinearizableUnderEverySetOfFaults(t *testing.T) {
	// The race detector gets the sets of at most two kinds, and some others.
	seen := mustHold(t, func(yield func(config) bool) {
		for i := range faultSets() {
			set := faultSet(i)
			if raceEnabled && set.count() > 2 && i%32 != 31 {
				continue
			}
			if !yield(config{Seed: uint64(i), Owners: 3, Partitions: 2, Steps: 5, Faults: set}) {
				return
			}
		}
	})
	for _, k := range faultKinds() {
		for _, r := range k.rules(time.Second) {
			require.NotZero(t, seen.struck[r.String()], r)
		}
	}
	for _, r := range []result{won, lost, unknown} {
		require.Greater(t, seen.results[r], seen.histories, r)
	}
}

// threeOwners is the usual case.
func threeOwners() config {
	return config{Owners: 3, Partitions: 2, Steps: 5, Faults: allFaults()}
}

func TestClaimsOfEightOwnersAreLinearizable(t *testing.T) {
	mustHold(t, seeds(fewer(60), config{Owners: 8, Partitions: 6, Steps: 8, Faults: allFaults()}))
}

func TestClaimsAreLinearizableWhenRecordsAreDeleted(t *testing.T) {
	c := threeOwners()
	c.Deletes = true
	mustHold(t, seeds(fewer(300), c))
}

// Two owners that share an ID may both be told that they won the same state, with the same ETag: a claim with a lost
// response is reported won if the record has that ID. An owner that claims again after an error, without a list, is like
// two owners with one ID. No owner with another ID may win that state.
func TestOwnersWithOneIDMayBothWin(t *testing.T) {
	for name, change := range map[string]func(*config){
		"shared ID":        func(c *config) { c.SharedID = true },
		"without a reread": func(c *config) { c.Blind = true },
	} {
		t.Run(name, func(t *testing.T) {
			c := threeOwners()
			change(&c)
			mustHold(t, seeds(fewer(200), c))
			skipUnderRace(t)
			c.Strict = true
			mustFail(t, seeds(200, c))
		})
	}
}

// A relinquish with a lost response is reported won if the partition has no owner, whoever freed it: every relinquish
// writes the empty ID.
func TestARelinquishIsWonIfThePartitionHasNoOwner(t *testing.T) {
	skipUnderRace(t)
	mustFail(t, seeds(1000, config{Owners: 3, Partitions: 1, Steps: 6, Faults: allFaults(), Strict: true}))
}

func TestTheCheckFindsBrokenClaims(t *testing.T) {
	skipUnderRace(t)
	for name, c := range map[string]struct {
		faults        faultSet
		store         variant
		owners, kinds int // of the shrunk history, at most
	}{
		"unconditional, no faults": {0, unconditional, 2, 0},
		"unconditional":            {allFaults(), unconditional, 2, 1},
		"unresolved":               {allFaults(), unresolved, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			v := mustFail(t, seeds(100, config{Owners: 3, Partitions: 2, Steps: 5, Faults: c.faults, Store: c.store}))
			require.LessOrEqual(t, v.Owners, c.owners)
			require.LessOrEqual(t, v.Faults.count(), c.kinds)
		})
	}
}

func TestAConfigGivesTheSameHistoryAgain(t *testing.T) {
	for c := range seeds(fewer(20), config{Owners: 4, Partitions: 3, Steps: 6, Faults: allFaults(), Deletes: true}) {
		again := replayed[config](t, "history", replayable(c))
		require.Equal(t, c, again)
		a, b := playOnFake(t, c), playOnFake(t, again)
		require.Equal(t, a.ops, b.ops)
		require.Equal(t, a.wire, b.wire)
	}
}
