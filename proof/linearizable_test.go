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

// verdict is what became of a history.
type verdict struct {
	config
	ops     map[string][]operation
	wire    string
	illegal []string // the partitions that are not linearizable
	struck  map[string]int
}

// judge plays a history on a fake of its own and checks it.
func judge(t *testing.T, c config) verdict {
	t.Helper()
	var v verdict
	synctest.Test(t, func(t *testing.T) {
		service := fakeblob.New()
		h, struck := play(t, onFake(service), c)
		v = verdict{config: c, ops: h.byPartition(), wire: service.Transcript(), struck: struck}
	})
	v.check()
	return v
}

// promised is what the store promises in a config.
func (c config) promised() rules {
	return rules{deleted: c.deletes, same: func(owner string) bool {
		return !c.strict && (owner == "" || c.twins || c.careless)
	}}
}

func (v *verdict) check() {
	for _, p := range slices.Sorted(maps.Keys(v.ops)) {
		if !linearizable(v.ops[p], v.promised()) {
			v.illegal = append(v.illegal, p)
		}
	}
}

// shortest is the beginning of a partition's history up to the first operation whose end makes it illegal.
func (v verdict) shortest(partition string) []operation {
	ops := v.ops[partition]
	for end := range ops[len(ops)-1].end + 1 {
		if known := until(ops, end); !linearizable(known, v.promised()) {
			return known
		}
	}
	return ops
}

// report is for a human: the shortest history that is illegal, what came over the wire, and how to see it again.
func (v verdict) report() string {
	var b strings.Builder
	for _, p := range v.illegal {
		fmt.Fprintf(&b, "partition %s is not linearizable. Calls, by their callers' clock [call end]:\n%s", p, format(v.shortest(p)))
		b.WriteString("Requests, in order of arrival:\n")
		for line := range strings.Lines(v.wire) {
			if strings.Contains(line, ownershipPrefix+p+" ") {
				b.WriteString("  " + strings.Replace(line, "/c/"+ownershipPrefix, "", 1))
			}
		}
	}
	fmt.Fprintf(&b, "Again: go test -run TestOneHistory -v -history '%v'\n", v.config)
	return b.String()
}

func TestOneHistory(t *testing.T) {
	if *historyFlag == "" {
		t.Skip("plays the history that -history names: left out without one")
	}
	c, err := parseConfig(*historyFlag)
	require.NoError(t, err)
	v := judge(t, c)
	for _, p := range slices.Sorted(maps.Keys(v.ops)) {
		t.Logf("partition %s\n%s", p, format(v.ops[p]))
	}
	t.Log("wire\n" + v.wire)
	t.Logf("struck: %v", v.struck)
	if len(v.illegal) > 0 {
		t.Fatal(v.report())
	}
}

// tally is what a run of histories has seen.
type tally struct {
	histories int
	struck    map[string]int
	results   map[result]int
}

func (y *tally) add(v verdict) {
	if y.struck == nil {
		y.struck, y.results = make(map[string]int), make(map[result]int)
	}
	y.histories++
	for name, n := range v.struck {
		y.struck[name] += n
	}
	for _, ops := range v.ops {
		for _, o := range ops {
			if o.action == claims {
				y.results[o.result]++
			}
		}
	}
}

// smallest is the verdict on the smallest illegal history that is found from this one.
func smallest(t *testing.T, c config) verdict {
	t.Helper()
	return judge(t, shrink(c, func(c config) bool { return len(judge(t, c).illegal) > 0 }))
}

// mustHold plays histories, and reports the first one that is illegal, as small as it gets.
func mustHold(t *testing.T, configs iter.Seq[config]) tally {
	t.Helper()
	var seen tally
	for c := range configs {
		v := judge(t, c)
		if len(v.illegal) > 0 {
			t.Fatal(smallest(t, c).report())
		}
		seen.add(v)
	}
	t.Logf("%d histories, claims won %d, lost %d, unknown %d; struck: %v",
		seen.histories, seen.results[won], seen.results[lost], seen.results[unknown], seen.struck)
	return seen
}

// mustFail plays histories until one is illegal, and returns it as small as it gets.
func mustFail(t *testing.T, configs iter.Seq[config]) verdict {
	t.Helper()
	n := 0
	for c := range configs {
		n++
		if v := judge(t, c); len(v.illegal) > 0 {
			small := smallest(t, c)
			t.Logf("found in history %d, here as small as it gets.\n%s", n, small.report())
			return small
		}
	}
	t.Fatalf("none of %d histories is illegal", n)
	return verdict{}
}

// fewer is n, or less of it under the race detector, which makes a history take ten times as long.
func fewer(n uint64) uint64 {
	if raceEnabled {
		return n/10 + 1
	}
	return n
}

// seeds gives a config under the seeds 1 to n.
func seeds(n uint64, c config) iter.Seq[config] {
	return func(yield func(config) bool) {
		for c.seed = 1; c.seed <= n && yield(c); c.seed++ {
		}
	}
}

func TestClaimsAreLinearizableUnderEveryMixOfFaults(t *testing.T) {
	// The race detector gets the mixes of at most two kinds, and some others.
	seen := mustHold(t, func(yield func(config) bool) {
		for m := range mixes() {
			if raceEnabled && mix(m).count() > 2 && m%32 != 31 {
				continue
			}
			if !yield(config{seed: uint64(m), owners: 3, partitions: 2, steps: 5, faults: mix(m), store: whole}) {
				return
			}
		}
	})
	for _, k := range kinds() {
		for _, r := range k.rules(time.Second) {
			require.NotZero(t, seen.struck[r.String()], r)
		}
	}
	require.Greater(t, seen.results[won], seen.histories)
	require.Greater(t, seen.results[lost], seen.histories)
	require.Greater(t, seen.results[unknown], seen.histories)
}

func TestClaimsOfALargerFleetAreLinearizable(t *testing.T) {
	mustHold(t, seeds(fewer(60), config{owners: 8, partitions: 6, steps: 8, faults: everything(), store: whole}))
}

func TestClaimsAreLinearizableWhenRecordsAreDeleted(t *testing.T) {
	mustHold(t, seeds(fewer(300), config{owners: 3, partitions: 2, steps: 5, faults: everything(), deletes: true, store: whole}))
}

// Two owners with one id are one owner to the store: a claim whose answer was lost is won if the record is that id's. So
// both may have won the same state, with the same ETag; no other id has.
func TestOwnersOfOneIDMayBothHaveWonAndNobodyElse(t *testing.T) {
	c := config{owners: 3, partitions: 2, steps: 5, faults: everything(), twins: true, store: whole}
	mustHold(t, seeds(fewer(200), c))
	c.strict = true
	mustFail(t, seeds(200, c))
}

// An owner that claims again after an error, without looking, is like two.
func TestAClaimWithoutALookMayWinTwice(t *testing.T) {
	c := config{owners: 3, partitions: 2, steps: 5, faults: everything(), careless: true, store: whole}
	mustHold(t, seeds(fewer(200), c))
	c.strict = true
	mustFail(t, seeds(200, c))
}

// Nobody is one id: whose relinquishing it was cannot be told if the answer was lost. It is won if the partition is free.
func TestRelinquishingIsWonIfThePartitionIsFree(t *testing.T) {
	c := config{owners: 3, partitions: 1, steps: 6, faults: everything(), store: whole, strict: true}
	mustFail(t, seeds(1000, c))
}

func TestTheCheckFindsAnUnconditionalFirstClaim(t *testing.T) {
	v := mustFail(t, seeds(100, config{owners: 3, partitions: 2, steps: 5, store: unconditional}))
	if !raceEnabled { // where shrinking is thorough
		require.Equal(t, 2, v.owners)
		require.Equal(t, 1, v.steps)
	}
	mustFail(t, seeds(100, config{owners: 3, partitions: 2, steps: 5, faults: everything(), store: unconditional}))
}

func TestTheCheckFindsLostAnswersThatAreNotResolved(t *testing.T) {
	v := mustFail(t, seeds(100, config{owners: 3, partitions: 2, steps: 5, faults: everything(), store: unresolved}))
	if !raceEnabled {
		require.Equal(t, 1, v.owners)
		require.Equal(t, 1, v.partitions)
		require.Equal(t, 1, v.faults.count(), "one kind of fault is enough")
	}
	require.Contains(t, v.report(), "-> lost")
}

func TestASeedGivesTheSameHistoryAgain(t *testing.T) {
	for c := range seeds(fewer(20), config{owners: 4, partitions: 3, steps: 6, faults: everything(), deletes: true, store: whole}) {
		again, err := parseConfig(c.String())
		require.NoError(t, err)
		require.Equal(t, c, again)
		a, b := judge(t, c), judge(t, again)
		require.Equal(t, a.ops, b.ops)
		require.Equal(t, a.wire, b.wire)
	}
}
