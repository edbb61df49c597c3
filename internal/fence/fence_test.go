package fence

import (
	"fmt"
	"testing"
)

// blob is a checkpoint record on a server.
type blob struct {
	record Record
	writes int
}

// write is what somebody does who does not use a fence.
func (b *blob) write(seq int64) string {
	b.writes++
	b.record = Record{ETag: fmt.Sprintf("e%d", b.writes), Position: Position{SequenceNumber: seq}, Readable: true}
	return b.record.ETag
}

// writeStep is what a step of an update does.
func (b *blob) writeStep(u *Update, step Step) string {
	etag := b.write(u.position.SequenceNumber)
	b.record.Offset, b.record.Generation = u.position.Offset, step.Generation
	return etag
}

func at(etag string, seq int64) Record {
	return Record{ETag: etag, Position: Position{SequenceNumber: seq}, Readable: true}
}

func inGeneration(generation int64, r Record) Record {
	r.Generation = generation
	return r
}

func pos(seq int64) Position { return Position{SequenceNumber: seq} }

// begin starts an update and takes its first step.
func (p *Partition) begin(seq int64, kind Kind) (Update, Step) {
	u := p.Start(pos(seq), kind)
	return u, p.Begin(&u)
}

// run takes an update from a step to its end and returns that, with the requests
// that it sent.
func (b *blob) run(p *Partition, u *Update, step Step) (end Action, requests []Action) {
	for {
		switch step.Action {
		case Read, ReadAll:
			requests = append(requests, step.Action)
			step = p.Found(u, b.record)
		case Create, Replace:
			requests = append(requests, step.Action)
			switch {
			case step.ETag == b.record.ETag:
				step = p.Wrote(u, b.writeStep(u, step))
			case b.record.ETag == "":
				step = p.Gone(u)
			default:
				step = p.Refused(u, false)
			}
		default:
			return step.Action, requests
		}
	}
}

func (b *blob) update(p *Partition, seq int64) (Action, []Action) {
	u, step := p.begin(seq, Advance)
	return b.run(p, &u, step)
}

func (b *blob) rewind(p *Partition, seq int64) (Action, []Action) {
	u, step := p.begin(seq, Rewind)
	return b.run(p, &u, step)
}

func TestTenures(t *testing.T) {
	type claim struct {
		on, now, owner string
		begins         bool
	}
	for name, claims := range map[string][]claim{
		"the first win begins one":                      {{"", "o1", "a", true}},
		"a win on somebody's record begins one":         {{"o7", "o8", "a", true}},
		"a renewal does not":                            {{"", "o1", "a", true}, {"o1", "o2", "a", false}, {"o2", "o3", "a", false}},
		"another owner id begins one, on any ETag":      {{"", "o1", "a", true}, {"o1", "o2", "b", true}, {"o2", "o3", "b", false}, {"o3", "o4", "a", true}},
		"to relinquish begins none":                     {{"", "o1", "a", true}, {"o1", "o2", "", false}},
		"a win on what it relinquished begins one":      {{"", "o1", "a", true}, {"o1", "o2", "", false}, {"o2", "o3", "a", true}},
		"a win after somebody else's begins one":        {{"", "o1", "a", true}, {"o5", "o6", "a", true}},
		"a win where the record was deleted begins one": {{"", "o1", "a", true}, {"", "o2", "a", true}},
		"a renewal of an older win begins one":          {{"", "o1", "a", true}, {"o1", "o2", "a", false}, {"o1", "o3", "a", true}},
		"to relinquish twice begins none, the win does": {{"", "o1", "", false}, {"o1", "o2", "", false}, {"o2", "o3", "a", true}},
	} {
		t.Run(name, func(t *testing.T) {
			var p Partition
			for i, c := range claims {
				if begins := p.Won(c.on, c.now, c.owner); begins != c.begins {
					t.Errorf("claim %d of %q on %q: a tenure begins: %v, want %v", i, c.owner, c.on, begins, c.begins)
				}
			}
		})
	}
}

// A preparation brings a partition's memory and the record into a state.
type preparation func(*testing.T, *Partition, *blob)

func steps(all ...preparation) preparation {
	return func(t *testing.T, p *Partition, b *blob) {
		for _, step := range all {
			step(t, p, b)
		}
	}
}

func wins(owner string) preparation {
	return func(_ *testing.T, p *Partition, b *blob) { p.Won("somebody's", "ours", owner) }
}

func looks(_ *testing.T, p *Partition, b *blob)      { p.Saw(b.record) }
func looksAt(_ *testing.T, p *Partition, b *blob)    { p.Reread(b.record) }
func removed(_ *testing.T, p *Partition, b *blob)    { b.record = Record{} }
func unreadable(_ *testing.T, _ *Partition, b *blob) { b.write(0); b.record.Readable = false }

func writes(seq int64) preparation {
	return func(t *testing.T, p *Partition, b *blob) {
		if end, _ := b.update(p, seq); end != Done {
			t.Fatalf("the update to %d ends with %d", seq, end)
		}
	}
}

func rewinds(seq int64) preparation {
	return func(t *testing.T, p *Partition, b *blob) {
		if end, _ := b.rewind(p, seq); end != Done {
			t.Fatalf("the rewind to %d ends with %d", seq, end)
		}
	}
}

func isRefused(seq int64) preparation {
	return func(t *testing.T, p *Partition, b *blob) {
		if end, _ := b.update(p, seq); end != Rewound {
			t.Fatalf("the update to %d ends with %d, want Rewound", seq, end)
		}
	}
}

// another store writes, in the generation that it finds.
func otherWrites(seq int64) preparation {
	return func(_ *testing.T, _ *Partition, b *blob) {
		generation := b.record.Generation
		b.write(seq)
		b.record.Generation = generation
	}
}

func otherRewinds(seq int64) preparation {
	return func(_ *testing.T, _ *Partition, b *blob) {
		generation := b.record.Generation + 1
		b.write(seq)
		b.record.Generation = generation
	}
}

// a package that does not know of generations writes, and drops the key.
func foreignWrites(seq int64) preparation {
	return func(_ *testing.T, _ *Partition, b *blob) { b.write(seq) }
}

// elsewhere is a newer record under another spelling of the name.
func elsewhere(seq int64) preparation {
	return func(_ *testing.T, _ *Partition, b *blob) {
		b.record.Position, b.record.Readable, b.record.Elsewhere = pos(seq), true, true
	}
}

// TestRules has one case for each rule on how a single update goes, with the
// requests that it takes and the generation that is stored in the end.
func TestRules(t *testing.T) {
	for _, c := range []struct {
		name       string
		prepare    preparation
		seq        int64
		kind       Kind
		end        Action
		requests   []Action
		generation int64
	}{
		// Positions.
		{"one read before the first write, where nothing is", removed, 0, Advance, Done, []Action{ReadAll, Create}, 0},
		{"one read before the first write, where something is", otherWrites(400), 500, Advance, Done, []Action{ReadAll, Replace}, 0},
		{"no read if it was listed", steps(otherWrites(400), looks), 500, Advance, Done, []Action{Replace}, 0},
		{"no read if nothing was listed", steps(removed, looks), 500, Advance, Done, []Action{Create}, 0},
		{"one request in steady state", writes(400), 500, Advance, Done, []Action{Replace}, 0},
		{"the same position again", writes(400), 400, Advance, Done, []Action{Replace}, 0},
		{"behind its own write", writes(400), 399, Advance, Stale, nil, 0},
		{"behind its own write, which a first look shows", steps(wins("a"), writes(400), looks), 399, Advance, Stale, nil, 0},
		{"behind what a look showed", steps(otherWrites(400), looks), 399, Advance, Stale, []Action{ReadAll}, 0},
		{"behind what a look showed, which was deleted since", steps(otherWrites(400), looks, removed), 399, Advance, Done, []Action{ReadAll, Create}, 0},
		{"behind what it reads", otherWrites(400), 399, Advance, Stale, []Action{ReadAll}, 0},
		{"behind what it reads in a tenure", steps(otherWrites(400), wins("a")), 399, Advance, Stale, []Action{ReadAll}, 0},
		{"behind what is stored in the next tenure", steps(wins("a"), writes(400), wins("b")), 399, Advance, Stale, []Action{ReadAll}, 0},
		{"ahead of what is stored in the next tenure, behind what was", steps(wins("a"), writes(5000), foreignWrites(10), wins("b")), 11, Advance, Done, []Action{ReadAll, Replace}, 0},
		{"somebody else wrote, ours is ahead", steps(writes(400), otherWrites(450)), 500, Advance, Done, []Action{Replace, Read, Replace}, 0},
		{"somebody else wrote the same", steps(writes(400), otherWrites(500)), 500, Advance, Done, []Action{Replace, Read}, 0},
		{"somebody else wrote further on", steps(writes(400), otherWrites(501)), 500, Advance, Stale, []Action{Replace, Read}, 0},
		{"somebody wrote where nothing was listed", steps(removed, looks, otherWrites(800)), 510, Advance, Stale, []Action{Create, Read}, 0},
		{"somebody wrote less where nothing was listed", steps(removed, looks, otherWrites(500)), 510, Advance, Done, []Action{Create, Read, Replace}, 0},
		{"deleted since", steps(writes(400), removed), 500, Advance, Done, []Action{Replace, Create}, 0},
		{"deleted since, behind its own write", steps(writes(400), removed), 300, Advance, Stale, nil, 0},
		{"unreadable when seen", steps(unreadable, looks), -5, Advance, Done, []Action{Replace}, 0},
		{"unreadable when read", unreadable, -5, Advance, Done, []Action{ReadAll, Replace}, 0},
		{"unreadable since", steps(writes(400), unreadable), 500, Advance, Done, []Action{Replace, Read, Replace}, 0},

		// Other spellings of the name.
		{"behind a newer record elsewhere", elsewhere(900), 10, Advance, Stale, []Action{ReadAll}, 0},
		{"behind a newer record elsewhere, listed", steps(elsewhere(900), looks), 10, Advance, Stale, []Action{ReadAll}, 0},
		{"at a newer record elsewhere", elsewhere(900), 900, Advance, Done, []Action{ReadAll, Create}, 0},
		{"at a newer record elsewhere, with one of its own", steps(otherWrites(400), elsewhere(900)), 900, Advance, Done, []Action{ReadAll, Replace}, 0},
		{"ahead of a newer record elsewhere", steps(otherWrites(5000), elsewhere(900), looks), 901, Advance, Done, []Action{Replace}, 0},

		// Rewinds.
		{"a rewind behind its own write", writes(400), 399, Rewind, Done, []Action{Replace}, 1},
		{"a rewind to the same position", writes(400), 400, Rewind, Done, []Action{Replace}, 1},
		{"a rewind forward", writes(400), 500, Rewind, Done, []Action{Replace}, 1},
		{"a rewind where nothing is", removed, 400, Rewind, Done, []Action{ReadAll, Create}, 1},
		{"a rewind where something is", otherWrites(400), 10, Rewind, Done, []Action{ReadAll, Replace}, 1},
		{"a rewind after a rewind", steps(writes(400), rewinds(10)), 5, Rewind, Done, []Action{Replace}, 2},
		{"a rewind over somebody else's write", steps(writes(400), otherWrites(501)), 500, Rewind, Done, []Action{Replace, Read, Replace}, 1},
		{"a rewind on top of another store's", steps(writes(400), otherRewinds(10)), 10, Rewind, Done, []Action{Replace, Read, Replace}, 2},
		{"a rewind of a record that was deleted", steps(writes(400), rewinds(10), removed), 5, Rewind, Done, []Action{Replace, Create}, 2},
		{"a rewind where somebody dropped the generation", steps(writes(400), rewinds(10), foreignWrites(20)), 5, Rewind, Done, []Action{Replace, Read, Replace}, 2},

		// First checkpoints.
		{"a first one where nothing is", removed, 400, First, Done, []Action{ReadAll, Create}, 0},
		{"a first one where nothing was listed", steps(removed, looks), 400, First, Done, []Action{Create}, 0},
		{"a first one where something was written since", steps(removed, looks, otherWrites(300)), 400, First, Stale, []Action{Create, Read}, 0},
		{"a first one ahead of what is stored", otherWrites(300), 400, First, Stale, []Action{ReadAll}, 0},
		{"a first one ahead of what was listed", steps(otherWrites(300), looks), 400, First, Stale, []Action{ReadAll}, 0},
		{"a first one, what was listed was deleted since", steps(otherWrites(300), looks, removed), 400, First, Done, []Action{ReadAll, Create}, 0},
		{"a first one at what is stored", otherWrites(400), 400, First, Done, []Action{ReadAll}, 0},
		{"a first one ahead of its own write", writes(300), 400, First, Stale, []Action{ReadAll}, 0},
		{"a first one at its own write", writes(400), 400, First, Done, []Action{ReadAll}, 0},
		{"a first one over one that cannot be read", unreadable, 400, First, Stale, []Action{ReadAll}, 0},
		{"a first one, a record elsewhere is behind", elsewhere(300), 400, First, Stale, []Action{ReadAll}, 0},
		{"a first one, a record elsewhere was listed", steps(elsewhere(300), looks), 400, First, Stale, []Action{ReadAll}, 0},
		{"a first one after another store's rewind", steps(wins("a"), looks, otherRewinds(10)), 400, First, Rewound, []Action{Create, Read}, 1},

		// Updates after rewinds.
		{"on from its own rewind", steps(writes(400), rewinds(10)), 11, Advance, Done, []Action{Replace}, 1},
		{"ahead of another store's rewind", steps(writes(400), otherRewinds(10)), 510, Advance, Rewound, []Action{Replace, Read}, 1},
		{"behind another store's rewind", steps(writes(400), otherRewinds(600)), 510, Advance, Rewound, []Action{Replace, Read}, 1},
		{"at another store's rewind", steps(writes(400), otherRewinds(510)), 510, Advance, Rewound, []Action{Replace, Read}, 1},
		{"a later list does not move the generation", steps(wins("a"), looks, writes(400), otherRewinds(10), looks), 510, Advance, Rewound, []Action{Replace, Read}, 1},
		{"behind its own write, after another store's rewind", steps(wins("a"), looks, writes(400), otherRewinds(10)), 11, Advance, Stale, nil, 1},
		{"behind its own write, after a list that shows the rewind", steps(wins("a"), looks, writes(400), otherRewinds(10), looks), 11, Advance, Rewound, []Action{Read}, 1},
		{"behind its own write, after a list of an earlier tenure that shows a rewind", steps(wins("a"), looks, otherRewinds(10), looks, wins("b"), removed, looks, writes(400)), 11, Advance, Stale, nil, 0},
		{"nor does a later read, in a tenure", steps(wins("a"), looks, writes(400), otherRewinds(10), isRefused(510), looksAt), 510, Advance, Rewound, []Action{Replace, Read}, 1},
		{"a new tenure takes over what it finds", steps(wins("a"), looks, writes(400), otherRewinds(10), wins("b"), looks), 11, Advance, Done, []Action{Replace}, 1},
		{"without a look it belongs to the tenure before", steps(wins("a"), looks, writes(400), otherRewinds(10), wins("b")), 510, Advance, Rewound, []Action{ReadAll}, 1},
		{"its own rewind is known", steps(wins("a"), looks, writes(400), rewinds(10), wins("b")), 11, Advance, Done, []Action{ReadAll, Replace}, 1},
		{"though that had listed a rewind", steps(wins("a"), looks, writes(400), otherRewinds(10), looks, wins("b")), 510, Advance, Rewound, []Action{ReadAll}, 1},
		{"a first look counts after a write without one", steps(wins("a"), writes(400), otherRewinds(10), looks), 11, Advance, Done, []Action{Replace}, 1},
		{"a store that knows nothing, in a tenure", steps(otherRewinds(10), wins("a")), 11, Advance, Rewound, []Action{ReadAll}, 1},
		{"a store that knows nothing, without claims", otherRewinds(10), 11, Advance, Done, []Action{ReadAll, Replace}, 1},
		{"its first update is a look", steps(writes(400), otherRewinds(10), looks), 510, Advance, Rewound, []Action{Replace, Read}, 1},
		{"without claims, a read after the refusal accepts it", steps(writes(400), otherRewinds(10), isRefused(510), looksAt), 11, Advance, Done, []Action{Replace}, 1},
		{"a read before the refusal does not", steps(writes(400), otherRewinds(10), looksAt), 510, Advance, Rewound, []Action{Replace, Read}, 1},
		{"a list after the refusal does not", steps(writes(400), otherRewinds(10), isRefused(510), looks), 510, Advance, Rewound, []Action{Replace, Read}, 1},
		{"a dropped generation comes back with the next write", steps(writes(400), rewinds(10), foreignWrites(20)), 21, Advance, Done, []Action{Replace, Read, Replace}, 1},
		{"a new tenure finds a dropped generation", steps(wins("a"), writes(400), rewinds(10), foreignWrites(20), wins("b"), looks), 21, Advance, Done, []Action{Replace}, 0},
		{"a deleted record starts where its owner is", steps(writes(400), rewinds(10), removed), 21, Advance, Done, []Action{Replace, Create}, 1},
		{"a deleted record starts at 0 for a new tenure", steps(wins("a"), writes(400), rewinds(10), removed, wins("b"), looks), 21, Advance, Done, []Action{Create}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p Partition
			var b blob
			c.prepare(t, &p, &b)
			before := b.record
			u, step := p.begin(c.seq, c.kind)
			end, requests := b.run(&p, &u, step)
			if end != c.end || fmt.Sprint(requests) != fmt.Sprint(c.requests) {
				t.Errorf("ends with %d after the requests %v, want %d after %v", end, requests, c.end, c.requests)
			}
			after := b.record
			switch {
			case after.Generation != c.generation:
				t.Errorf("generation %d is stored, want %d", after.Generation, c.generation)
			case c.end == Done && after.SequenceNumber != c.seq:
				t.Errorf("%d is stored, want %d", after.SequenceNumber, c.seq)
			case c.end != Done && after != before:
				t.Errorf("the record went from %+v to %+v, want no change", before, after)
			}
		})
	}
}

// TestUpdateThatWaited: an update that the caller asked for before this store
// rewound the partition, or before its next tenure, belongs to what was then.
func TestUpdateThatWaited(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile preparation
		end       Action
		requests  []Action
	}{
		"a rewind of this store":                      {rewinds(10), Rewound, nil},
		"a rewind of this store in the next tenure":   {steps(wins("b"), looks, rewinds(10)), Rewound, []Action{ReadAll}},
		"a rewind of another store, a tenure, a look": {steps(otherRewinds(10), wins("b"), looks), Rewound, []Action{ReadAll}},
		"a tenure and a look":                         {steps(wins("b"), looks), Done, []Action{ReadAll, Replace}},
		"nothing":                                     {steps(), Done, []Action{Replace}},
	} {
		t.Run(name, func(t *testing.T) {
			var p Partition
			var b blob
			steps(wins("a"), looks, writes(400))(t, &p, &b)
			u := p.Start(pos(510), Advance)
			c.meanwhile(t, &p, &b)
			end, requests := b.run(&p, &u, p.Begin(&u))
			if end != c.end || fmt.Sprint(requests) != fmt.Sprint(c.requests) {
				t.Errorf("ends with %d after the requests %v, want %d after %v", end, requests, c.end, c.requests)
			}
		})
	}
}

// TestAmbiguousWrite has one case for each thing that a store can find when it
// reads after a write that may have taken effect: the step that follows, and the
// one after a second such write.
func TestAmbiguousWrite(t *testing.T) {
	before := at("e4", 400) // what the write was conditional on
	ours := inGeneration(1, at("e5", 500))
	for _, c := range []struct {
		name          string
		kind          Kind
		found         Record
		first, second Action
	}{
		{"nothing changed", Advance, before, Replace, Failed},
		{"the position is stored", Advance, at("e5", 500), Done, Done},
		{"a position behind is stored", Advance, at("e5", 450), Replace, Failed},
		{"a position ahead is stored", Advance, at("e5", 501), Stale, Stale},
		{"a later generation is stored", Advance, inGeneration(1, at("e5", 500)), Rewound, Rewound},
		{"the record was deleted", Advance, Record{}, Create, Failed},
		{"it cannot be read", Advance, Record{ETag: "e5"}, Replace, Failed},

		{"nothing is there, for a first one", First, Record{}, Create, Failed},
		{"the first one is stored", First, at("e5", 500), Done, Done},
		{"another first one is stored, behind", First, at("e5", 450), Stale, Stale},

		{"nothing changed, rewinding", Rewind, before, Replace, Failed},
		{"the rewind is stored", Rewind, ours, Done, Done},
		{"the rewind was rewound again", Rewind, inGeneration(2, at("e6", 10)), Rewound, Rewound},
		{"the rewind was rewound again, to the same position", Rewind, inGeneration(2, at("e6", 500)), Rewound, Rewound},
		{"another position is stored in its generation", Rewind, inGeneration(1, at("e6", 501)), Rewound, Rewound},
		{"another offset is stored in its generation", Rewind, Record{ETag: "e6", Position: Position{500, "other"}, Readable: true, Generation: 1}, Rewound, Rewound},
		{"an update was stored instead of the rewind", Rewind, at("e5", 450), Replace, Replace},
		{"the position is stored in the old generation", Rewind, at("e5", 500), Replace, Replace},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, lost := range []int{1, 2} {
				var p Partition
				before, begins := before, Replace
				if c.kind == First {
					before, begins = Record{}, Create
				}
				p.Saw(before)
				u, step := p.begin(500, c.kind)
				if step.Action != begins || step.ETag != before.ETag {
					t.Fatalf("the update begins with %+v", step)
				}
				want := c.first
				if lost == 2 {
					p.Ambiguous(&u)
					if step = p.Found(&u, before); step.Action != begins || step.ETag != before.ETag {
						t.Fatalf("the write is not sent once more: %+v", step)
					}
					want = c.second
				}
				if step = p.Ambiguous(&u); step.Action != Read {
					t.Fatalf("it goes on with %+v, want a read", step)
				}
				if step = p.Found(&u, c.found); step.Action != want {
					t.Errorf("after %d such writes: %+v, want %d", lost, step, want)
				}
			}
		})
	}
}

// TestRepeatedWrite: a write that was sent more than once may have met its own
// earlier self. A rewind must not go on top of itself.
func TestRepeatedWrite(t *testing.T) {
	var p Partition
	p.Saw(at("e4", 400))
	u, step := p.begin(10, Rewind)
	p.Refused(&u, true)
	if step = p.Found(&u, inGeneration(step.Generation, at("e5", 10))); step.Action != Done {
		t.Errorf("it goes on with %+v, want done", step)
	}
	if _, step = p.begin(11, Advance); step.Action != Replace || step.ETag != "e5" || step.Generation != 1 {
		t.Errorf("the next update begins with %+v, want a write on e5 in generation 1", step)
	}
}
