package fence

import "testing"

// TestInterleavings explores every schedule of each situation. What must hold in
// all of them is in checkWrite, checkOutcome, checkEnd, follow, begin and won of the model.
func TestInterleavings(t *testing.T) {
	claimListUpdate := []op{{kind: win}, {kind: list}, {update, 500}, {update, 510}}
	for name, c := range map[string]config{
		"two stores claim, list and write": {
			record: at("e0", 400),
			programs: []program{
				{0, claimListUpdate},
				{1, []op{{kind: win}, {kind: list}, {update, 800}, {update, 810}}},
			},
		},
		"two stores claim, list and write, where nothing is stored": {
			programs: []program{
				{0, claimListUpdate},
				{1, []op{{kind: win}, {kind: list}, {update, 505}}},
			},
		},
		"a paused owner lists for another partition": {
			record: at("e0", 400),
			programs: []program{
				{0, []op{{kind: win}, {kind: list}, {update, 500}}},
				{0, []op{{kind: list}, {update, 510}}},
				{1, []op{{kind: win}, {kind: list}, {update, 800}}},
			},
		},
		"two handlers and another owner": {
			record: at("e0", 400),
			programs: []program{
				{0, []op{{kind: win}, {kind: list}, {update, 510}, {update, 520}}},
				{0, []op{{update, 500}}},
				{1, []op{{update, 515}}},
			},
		},
		"two handlers whose writes may get lost": {
			record: at("e0", 400), faults: 2,
			programs: []program{
				{0, []op{{kind: list}, {update, 510}, {update, 520}}},
				{0, []op{{kind: list}, {update, 500}}},
			},
		},
		"two stores whose writes may get lost": {
			record: at("e0", 400), faults: 2,
			programs: []program{
				{0, claimListUpdate},
				{1, []op{{kind: win}, {kind: list}, {update, 505}}},
			},
		},
		"first writes that may get lost": {
			faults: 2,
			programs: []program{
				{0, []op{{kind: list}, {update, 500}}},
				{1, []op{{kind: list}, {update, 510}, {update, 520}}},
			},
		},
		"renewals while others try": {
			record: at("e0", 400),
			programs: []program{
				{0, []op{{kind: win}, {kind: list}, {kind: renew}, {kind: renew}}},
				{0, []op{{update, 500}, {update, 510}}},
				{1, []op{{kind: win}, {update, 505}}},
			},
		},
		"a hand-over there and back": {
			record: at("e0", 400), faults: 1,
			programs: []program{
				{0, []op{{kind: win}, {kind: list}, {update, 500}, {kind: relinquish}, {kind: win}, {kind: list}, {update, 900}}},
				{1, []op{{kind: win}, {kind: list}, {update, 800}}},
			},
		},
		"somebody deletes the record": {
			record: at("e0", 400),
			programs: []program{
				{0, []op{{kind: list}, {update, 500}, {update, 510}}},
				{1, []op{{kind: list}, {update, 505}}},
				{nobody, []op{{kind: remove}}},
			},
		},
		"an operator rewinds while an owner and a late handler write": {
			record: at("e0", 400),
			programs: []program{
				{0, []op{{kind: win}, {kind: list}, {update, 500}, {update, 510}}},
				{0, []op{{update, 505}}},
				{1, []op{{rewind, 10}}},
			},
		},
		"an operator rewinds, and the next owner goes on from there": {
			record: at("e0", 400), faults: 1,
			programs: []program{
				{0, []op{{kind: win}, {kind: list}, {update, 500}, {update, 510}}},
				{1, []op{{rewind, 10}, {kind: win}, {kind: list}, {update, 11}}},
			},
		},
		"two rewinds at once, answers may get lost": {
			record: at("e0", 400), faults: 2,
			programs: []program{
				{0, []op{{rewind, 10}, {update, 11}}},
				{1, []op{{rewind, 20}, {update, 21}}},
			},
		},
		"two rewinds to one position at once, answers may get lost": {
			record: at("e0", 400), faults: 2,
			programs: []program{
				{0, []op{{rewind, 10}, {update, 11}}},
				{1, []op{{rewind, 10}, {update, 12}}},
			},
		},
		"another owner id of the same store, after a rewind": {
			record: at("e0", 400),
			programs: []program{
				{0, []op{{kind: win}, {kind: list}, {update, 500}, {kind: winOther}, {kind: list}, {update, 501}}},
				{0, []op{{update, 510}}},
				{1, []op{{rewind, 10}}},
			},
		},
		"without claims, a read after the refusal": {
			record: at("e0", 400),
			programs: []program{
				{0, []op{{kind: list}, {update, 520}, {kind: reread}, {update, 521}}},
				{0, []op{{update, 510}, {kind: list}}},
				{1, []op{{rewind, 10}, {update, 11}}},
			},
		},
		"a rewind of a deleted record": {
			record: at("e0", 400), faults: 1,
			programs: []program{
				{0, []op{{kind: win}, {kind: list}, {rewind, 10}, {update, 11}}},
				{1, []op{{kind: list}, {update, 405}}},
				{nobody, []op{{kind: remove}}},
			},
		},
		"a package without generations writes after a rewind": {
			record: at("e0", 400),
			programs: []program{
				{0, []op{{kind: win}, {kind: list}, {rewind, 10}, {update, 11}, {update, 12}}},
				{1, []op{{kind: list}, {update, 405}}},
				{nobody, []op{{put, 11}}},
			},
		},
		"an operator rewinds with put": {
			record: at("e0", 400),
			programs: []program{
				{0, []op{{kind: list}, {update, 500}, {update, 510}}},
				{1, []op{{kind: win}, {kind: list}, {update, 20}}},
				{nobody, []op{{put, 10}}},
			},
		},
		"an operator rewinds through the store": {
			record: at("e0", 400),
			programs: []program{
				{0, []op{{kind: list}, {rewind, 10}, {update, 20}, {update, 15}}},
				{0, []op{{update, 510}}},
				{1, []op{{update, 505}}},
			},
		},
		"a rewind that may get lost": {
			record: at("e0", 400), faults: 2,
			programs: []program{
				{0, []op{{kind: list}, {rewind, 10}, {update, 20}, {update, 15}}},
				{1, []op{{update, 505}}},
			},
		},
		"a record that cannot be read": {
			record: Record{ETag: "e0"}, faults: 1,
			programs: []program{
				{0, []op{{kind: list}, {update, 500}}},
				{1, []op{{update, 510}}},
			},
		},
		"the same position twice": {
			record: at("e0", 400), faults: 1,
			programs: []program{
				{0, []op{{kind: list}, {update, 500}, {update, 500}}},
				{1, []op{{kind: list}, {update, 500}}},
			},
		},
		"no baseline, two handlers at once": {
			record:   at("e0", 400),
			programs: []program{{0, []op{{update, 510}}}, {0, []op{{update, 500}}}},
		},
		"no baseline, a list and another store": {
			record:   at("e0", 400),
			programs: []program{{0, []op{{update, 500}}}, {0, []op{{kind: list}}}, {1, []op{{update, 800}}}},
		},
		"no baseline, where nothing is stored, answers may get lost": {
			faults:   2,
			programs: []program{{0, []op{{update, 510}, {update, 520}}}, {0, []op{{update, 500}}}},
		},
		"an answer that comes in the next tenure": {
			record: at("e0", 100),
			programs: []program{
				{0, []op{{kind: win}, {kind: list}, {kind: relinquish}, {kind: win}, {kind: list}, {update, 20}}},
				{0, []op{{update, 110}}},
				{nobody, []op{{put, 10}}},
			},
		},
		"a read for a baseline that comes in the next tenure": {
			record: at("e0", 100),
			programs: []program{
				{0, []op{{kind: win}, {update, 110}, {kind: win}, {kind: list}, {update, 900}}},
				{1, []op{{update, 800}}},
				{0, []op{{update, 120}}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) { explore(t, c) })
	}
}
