package fence

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestInterleavings explores every schedule of each situation. What must hold in
// all of them is in checkWrite, checkOutcome, checkEnd, follow, begin and won of the model.
// With -short at most one answer gets lost.
func TestInterleavings(t *testing.T) {
	for name, c := range map[string]config{
		"two stores claim, list and write": {record: at("e0", 400), programs: programs(
			"store 0: win, list, update 500, update 510",
			"store 1: win, list, update 800, update 810",
		)},
		"two stores claim, list and write, where nothing is stored": {programs: programs(
			"store 0: win, list, update 500, update 510",
			"store 1: win, list, update 505",
		)},
		"a paused owner lists for another partition": {record: at("e0", 400), programs: programs(
			"store 0: win, list, update 500",
			"store 0: list, update 510",
			"store 1: win, list, update 800",
		)},
		"two handlers and another owner": {record: at("e0", 400), programs: programs(
			"store 0: win, list, update 510, update 520",
			"store 0: update 500",
			"store 1: update 515",
		)},
		"two handlers whose writes may get lost": {record: at("e0", 400), faults: 2, programs: programs(
			"store 0: list, update 510, update 520",
			"store 0: list, update 500",
		)},
		"two stores whose writes may get lost": {record: at("e0", 400), faults: 2, programs: programs(
			"store 0: win, list, update 500, update 510",
			"store 1: win, list, update 505",
		)},
		"first writes that may get lost": {faults: 2, programs: programs(
			"store 0: list, update 500",
			"store 1: list, update 510, update 520",
		)},
		"renewals while others try": {record: at("e0", 400), programs: programs(
			"store 0: win, list, renew, renew",
			"store 0: update 500, update 510",
			"store 1: win, update 505",
		)},
		"a hand-over there and back": {record: at("e0", 400), faults: 1, programs: programs(
			"store 0: win, list, update 500, relinquish, win, list, update 900",
			"store 1: win, list, update 800",
		)},
		"somebody deletes the record": {record: at("e0", 400), programs: programs(
			"store 0: list, update 500, update 510",
			"store 1: list, update 505",
			"somebody: delete",
		)},
		"an operator rewinds while an owner and a late handler write": {record: at("e0", 400), programs: programs(
			"store 0: win, list, update 500, update 510",
			"store 0: update 505",
			"store 1: rewind 10",
		)},
		"an operator rewinds, and the next owner goes on from there": {record: at("e0", 400), faults: 1, programs: programs(
			"store 0: win, list, update 500, update 510",
			"store 1: rewind 10, win, list, update 11",
		)},
		"two rewinds at once, answers may get lost": {record: at("e0", 400), faults: 2, programs: programs(
			"store 0: rewind 10, update 11",
			"store 1: rewind 20, update 21",
		)},
		"two rewinds to one position at once, answers may get lost": {record: at("e0", 400), faults: 2, programs: programs(
			"store 0: rewind 10, update 11",
			"store 1: rewind 10, update 12",
		)},
		"another owner id of the same store, after a rewind": {record: at("e0", 400), programs: programs(
			"store 0: win, list, update 500, win for another owner, list, update 501",
			"store 0: update 510",
			"store 1: rewind 10",
		)},
		"without claims, a read after the refusal": {record: at("e0", 400), programs: programs(
			"store 0: list, update 520, read, update 521",
			"store 0: update 510, list",
			"store 1: rewind 10, update 11",
		)},
		"a rewind of a deleted record": {record: at("e0", 400), faults: 1, programs: programs(
			"store 0: win, list, rewind 10, update 11",
			"store 1: list, update 405",
			"somebody: delete",
		)},
		"a package without generations writes after a rewind": {record: at("e0", 400), programs: programs(
			"store 0: win, list, rewind 10, update 11, update 12",
			"store 1: list, update 405",
			"somebody: put 11",
		)},
		"an operator rewinds with put": {record: at("e0", 400), programs: programs(
			"store 0: list, update 500, update 510",
			"store 1: win, list, update 20",
			"somebody: put 10",
		)},
		"an operator rewinds through the store": {record: at("e0", 400), programs: programs(
			"store 0: list, rewind 10, update 20, update 15",
			"store 0: update 510",
			"store 1: update 505",
		)},
		"a rewind that may get lost": {record: at("e0", 400), faults: 2, programs: programs(
			"store 0: list, rewind 10, update 20, update 15",
			"store 1: update 505",
		)},
		"two first checkpoints at once, answers may get lost": {faults: 2, programs: programs(
			"store 0: win, list, first 500, update 510",
			"store 1: win, list, first 600",
		)},
		"a first checkpoint, an update and a delete": {faults: 1, programs: programs(
			"store 0: list, first 500, update 510",
			"store 1: update 400, first 450",
			"somebody: delete",
		)},
		"a first checkpoint after a rewind": {faults: 1, programs: programs(
			"store 0: win, list, first 500, update 510",
			"store 1: rewind 10",
		)},
		"a record that cannot be read": {record: Record{ETag: "e0"}, faults: 1, programs: programs(
			"store 0: list, update 500",
			"store 1: update 510",
		)},
		"the same position twice": {record: at("e0", 400), faults: 1, programs: programs(
			"store 0: list, update 500, update 500",
			"store 1: list, update 500",
		)},
		"no baseline, two handlers at once": {record: at("e0", 400), programs: programs(
			"store 0: update 510",
			"store 0: update 500",
		)},
		"no baseline, a list and another store": {record: at("e0", 400), programs: programs(
			"store 0: update 500",
			"store 0: list",
			"store 1: update 800",
		)},
		"no baseline, where nothing is stored, answers may get lost": {faults: 2, programs: programs(
			"store 0: update 510, update 520",
			"store 0: update 500",
		)},
		"an answer that comes in the next tenure": {record: at("e0", 100), programs: programs(
			"store 0: win, list, relinquish, win, list, update 20",
			"store 0: update 110",
			"somebody: put 10",
		)},
		"a read for a baseline that comes in the next tenure": {record: at("e0", 100), programs: programs(
			"store 0: win, update 110, win, list, update 900",
			"store 1: update 800",
			"store 0: update 120",
		)},
	} {
		if testing.Short() {
			c.faults = min(c.faults, 1)
		}
		t.Run(name, func(t *testing.T) { explore(t, c) })
	}
}

// programs reads one program from each line: who runs it, and what it does.
func programs(lines ...string) (all []program) {
	for _, line := range lines {
		who, does, _ := strings.Cut(line, ": ")
		p := program{store: nobody}
		_, _ = fmt.Sscanf(who, "store %d", &p.store)
		for text := range strings.SplitSeq(does, ", ") {
			p.ops = append(p.ops, operation(text))
		}
		all = append(all, p)
	}
	return all
}

// operation is the op whose String is text.
func operation(text string) op {
	name, number, _ := strings.Cut(text, " ")
	o := op{kind: opKind(slices.Index(opNames, name))}
	if _, err := fmt.Sscan(number, &o.seq); err != nil {
		o.kind = opKind(slices.Index(opNames, text))
	}
	if o.kind < 0 || o.String() != text {
		panic("not an operation: " + text)
	}
	return o
}
