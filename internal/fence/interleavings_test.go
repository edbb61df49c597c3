package fence

import "testing"

// at is a record that is there when the exploration begins.
func at(seq int64) Record { return Record{SequenceNumber: seq, Readable: true} }

// unreadable is a record whose sequence number cannot be read.
func unreadable() Record { return Record{SequenceNumber: 1} }

// TestInterleavings explores every schedule of each situation. What must hold in
// all of them is in checkWrite, checkOutcome, checkEnd, follow, begin and won.
func TestInterleavings(t *testing.T) {
	claimListUpdate := []op{{kind: win}, {kind: list}, {update, 500}, {update, 510}}
	for name, c := range map[string]config{
		"two stores claim, list and write": {
			record: at(400),
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
			record: at(400),
			programs: []program{
				{0, []op{{kind: win}, {kind: list}, {update, 500}}},
				{0, []op{{kind: list}, {update, 510}}},
				{1, []op{{kind: win}, {kind: list}, {update, 800}}},
			},
		},
		"two handlers and another owner": {
			record: at(400),
			programs: []program{
				{0, []op{{kind: win}, {kind: list}, {update, 510}, {update, 520}}},
				{0, []op{{update, 500}}},
				{1, []op{{update, 515}}},
			},
		},
		"two handlers whose writes may get lost": {
			record: at(400), faults: 2,
			programs: []program{
				{0, []op{{kind: list}, {update, 510}, {update, 520}}},
				{0, []op{{kind: list}, {update, 500}}},
			},
		},
		"two stores whose writes may get lost": {
			record: at(400), faults: 2,
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
			record: at(400),
			programs: []program{
				{0, []op{{kind: win}, {kind: list}, {kind: renew}, {kind: renew}}},
				{0, []op{{update, 500}, {update, 510}}},
				{1, []op{{kind: win}, {update, 505}}},
			},
		},
		"a hand-over there and back": {
			record: at(400), faults: 1,
			programs: []program{
				{0, []op{{kind: win}, {kind: list}, {update, 500}, {kind: relinquish}, {kind: win}, {kind: list}, {update, 900}}},
				{1, []op{{kind: win}, {kind: list}, {update, 800}}},
			},
		},
		"somebody deletes the record": {
			record: at(400),
			programs: []program{
				{0, []op{{kind: list}, {update, 500}, {update, 510}}},
				{1, []op{{kind: list}, {update, 505}}},
				{nobody, []op{{kind: remove}}},
			},
		},
		"somebody recreates the hub": {
			record: at(5000),
			programs: []program{
				{0, []op{{kind: win}, {kind: list}, {update, 3}, {update, 4}}},
				{1, []op{{kind: list}, {update, 5001}}},
			},
		},
		"an operator rewinds with put": {
			record: at(400),
			programs: []program{
				{0, []op{{kind: list}, {update, 500}, {update, 510}}},
				{1, []op{{kind: win}, {kind: list}, {update, 20}}},
				{nobody, []op{{put, 10}}},
			},
		},
		"an operator rewinds through the store": {
			record: at(400),
			programs: []program{
				{0, []op{{kind: list}, {rewind, 10}, {update, 20}, {update, 15}}},
				{0, []op{{update, 510}}},
				{1, []op{{update, 505}}},
			},
		},
		"a rewind that may get lost": {
			record: at(400), faults: 2,
			programs: []program{
				{0, []op{{kind: list}, {rewind, 10}, {update, 20}, {update, 15}}},
				{1, []op{{update, 505}}},
			},
		},
		"a record that cannot be read": {
			record: unreadable(), faults: 1,
			programs: []program{
				{0, []op{{kind: list}, {update, 500}}},
				{1, []op{{update, 510}}},
			},
		},
		"the same position twice": {
			record: at(400), faults: 1,
			programs: []program{
				{0, []op{{kind: list}, {update, 500}, {update, 500}}},
				{1, []op{{kind: list}, {update, 500}}},
			},
		},
		"no baseline, two handlers at once": {
			record:   at(400),
			programs: []program{{0, []op{{update, 510}}}, {0, []op{{update, 500}}}},
		},
		"no baseline, a list and another store": {
			record:   at(400),
			programs: []program{{0, []op{{update, 500}}}, {0, []op{{kind: list}}}, {1, []op{{update, 800}}}},
		},
		"no baseline, where nothing is stored, answers may get lost": {
			faults:   2,
			programs: []program{{0, []op{{update, 510}, {update, 520}}}, {0, []op{{update, 500}}}},
		},
		"an answer that comes in the next tenure": {
			record: at(100),
			programs: []program{
				{0, []op{{kind: win}, {kind: list}, {kind: relinquish}, {kind: win}, {kind: list}, {update, 20}}},
				{0, []op{{update, 110}}},
				{nobody, []op{{put, 10}}},
			},
		},
		"a read for a baseline that comes in the next tenure": {
			record: at(100),
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
