package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// testMixedGroup: in one group with plain azeventhubs Processors on the official
// store, everybody gets a share and keeps it.
func testMixedGroup(t *testing.T, figures *report) {
	for _, greedy := range []bool{false, true} {
		for _, v := range variants {
			for _, first := range []loop{official, v.loop} {
				if v.loop == adapted && (v.greedy != greedy || first != official) {
					continue
				}
				name := fmt.Sprintf("%s, beside official ones, %s, first %s", v.name,
					map[bool]string{false: "balanced", true: "greedy"}[greedy], map[bool]string{true: "the official", false: "ours"}[first == official])
				t.Run(name, func(t *testing.T) {
					parallel(t)
					mixedGroup(t, figures, name, v, greedy, first == official)
				})
			}
		}
	}
}

func mixedGroup(t *testing.T, figures *report, name string, v variant, greedy, officialFirst bool) {
	w := newWorld(t, 8, 20)
	w.look(true)
	var names []string
	all := make(map[string]*network)
	start := func(i int, v variant) {
		c := w.config(i).as(v)
		c.Verbatim = true
		all[c.Name] = newNetwork()
		w.start(c, all[c.Name])
		names = append(names, c.Name)
	}
	plain := variant{"", official, greedy}
	order := []variant{plain, plain, v, v}
	if !officialFirst {
		order = []variant{v, v, plain, plain}
	}
	for i := range 2 {
		start(i, order[i])
	}
	w.settled(names...)
	for i := 2; i < 4; i++ {
		start(i, order[i])
	}
	took := w.settled(names...)
	seen := w.watch()
	for _, f := range all { // nobody is stolen from for ever
		f.rounds(t, 10)
	}
	seen.stop()
	changes, back := seen.result()
	require.Zero(t, changes, "shares %v", shares(w.owners()))
	require.Empty(t, back)
	require.True(t, w.balanced(names...))
	w.hub.appendAll(5)
	w.complete()
	_, duplicates, _ := w.ledger.count()
	figures.add("mixed group", name, fmt.Sprintf("8 partitions, balanced %s after the last two started, %d duplicates", seconds(took), duplicates))
}

// testWrongClocks: an owner whose clock is minutes ahead takes nothing from owners
// that live, and one whose clock is behind takes over from one that died.
func testWrongClocks(t *testing.T, figures *report) {
	tried := variants
	if compare() {
		tried = append(tried[:len(tried):len(tried)], variant{"official store", official, true})
	}
	for _, ahead := range []time.Duration{5 * time.Minute, -5 * time.Minute} {
		for _, v := range tried {
			name := fmt.Sprintf("%v ahead, %s", ahead, v.name)
			t.Run(name, func(t *testing.T) {
				parallel(t)
				w := newWorld(t, 8, 20)
				w.look(v.loop == official)
				a, b := w.expiring(0, lasting).as(v), w.expiring(1, lasting).as(v)
				b.Clock = ahead
				first := w.spawn(a) // so that it can die
				w.settled(a.Name)
				f := newNetwork()
				w.start(b, f)
				if v.loop != official {
					w.settled(a.Name, b.Name)
				} else {
					f.rounds(t, 30)
				}
				seen := w.watch()
				f.rounds(t, 20)
				seen.stop()
				changes, _ := seen.result()
				if v.loop == official {
					first.kill(t)
					f.rounds(t, 40) // twice the expiry
					figures.add("wrong clocks", name, fmt.Sprintf("%d ownership changes in 20 rounds; %d of 8 partitions read after the other one died", changes, len(w.of(b.Name))))
					return
				}
				require.Zero(t, changes, "nobody steals")
				first.kill(t)
				took := w.settled(b.Name)
				w.hub.appendAll(5)
				w.complete()
				require.Len(t, w.of(b.Name), 8)
				figures.add("wrong clocks", name, fmt.Sprintf("no ownership change in 20 rounds; what the other one had was taken over %s after it died", seconds(took)))
			})
		}
	}
}
