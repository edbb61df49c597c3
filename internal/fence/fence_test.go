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
	b.record = Record{ETag: fmt.Sprintf("e%d", b.writes), SequenceNumber: seq, Readable: true}
	return b.record.ETag
}

// run takes an update from a step to its end and returns that, with the requests
// that it sent.
func (b *blob) run(p *Partition, u *Update, step Step) (end Action, requests []Action) {
	for {
		switch step.Action {
		case Read:
			requests = append(requests, Read)
			step = p.Found(u, b.record)
		case Create, Replace:
			requests = append(requests, step.Action)
			switch {
			case step.ETag == b.record.ETag:
				step = p.Wrote(u, b.write(u.sequenceNumber))
			case b.record.absent():
				step = p.Gone(u)
			default:
				step = p.Refused(u)
			}
		default:
			return step.Action, requests
		}
	}
}

func (b *blob) update(p *Partition, seq int64) (Action, []Action) {
	u, step := p.Begin(seq, false)
	return b.run(p, &u, step)
}

func (b *blob) rewind(p *Partition, seq int64) (Action, []Action) {
	u, step := p.Begin(seq, true)
	return b.run(p, &u, step)
}

// expect checks an update's end, the requests that it took and what is stored.
func (b *blob) expect(t *testing.T, what string, stored int64, end Action, requests []Action, wantEnd Action, wantRequests ...Action) {
	t.Helper()
	if end != wantEnd || fmt.Sprint(requests) != fmt.Sprint(wantRequests) {
		t.Errorf("%s: ends with %d after the requests %v, want %d after %v", what, end, requests, wantEnd, wantRequests)
	}
	if b.record.SequenceNumber != stored {
		t.Errorf("%s: %d is stored, want %d", what, b.record.SequenceNumber, stored)
	}
}

func TestTenures(t *testing.T) {
	type claim struct {
		on, now    string
		relinquish bool
		begins     bool
	}
	for name, claims := range map[string][]claim{
		"the first win begins one":                      {{"", "o1", false, true}},
		"a win on somebody's record begins one":         {{"o7", "o8", false, true}},
		"a renewal does not":                            {{"", "o1", false, true}, {"o1", "o2", false, false}, {"o2", "o3", false, false}},
		"to relinquish goes on with it":                 {{"", "o1", false, true}, {"o1", "o2", true, false}},
		"a win on what it relinquished begins one":      {{"", "o1", false, true}, {"o1", "o2", true, false}, {"o2", "o3", false, true}},
		"a win after somebody else's begins one":        {{"", "o1", false, true}, {"o5", "o6", false, true}},
		"a win where the record was deleted begins one": {{"", "o1", false, true}, {"", "o2", false, true}},
		"a renewal of an older win begins one":          {{"", "o1", false, true}, {"o1", "o2", false, false}, {"o1", "o3", false, true}},
		"to relinquish twice goes on, the win begins":   {{"", "o1", true, true}, {"o1", "o2", true, true}, {"o2", "o3", false, true}},
	} {
		t.Run(name, func(t *testing.T) {
			var p Partition
			for i, c := range claims {
				if begins := p.Won(c.on, c.now, c.relinquish); begins != c.begins {
					t.Errorf("claim %d on %q: a tenure begins: %v, want %v", i, c.on, begins, c.begins)
				}
			}
		})
	}
}

// TestRules has one case for each rule on how a single update goes. The record
// is what is stored when the update begins; prepare makes the partition's memory.
func TestRules(t *testing.T) {
	seen := func(p *Partition, b *blob) { p.Saw(b.record) }
	wrote := func(seq int64) func(*Partition, *blob) {
		return func(p *Partition, b *blob) {
			if end, _ := b.update(p, seq); end != Done {
				t.Fatalf("the first update ends with %d", end)
			}
		}
	}
	then := func(steps ...func(*Partition, *blob)) func(*Partition, *blob) {
		return func(p *Partition, b *blob) {
			for _, step := range steps {
				step(p, b)
			}
		}
	}
	other := func(seq int64) func(*Partition, *blob) { return func(_ *Partition, b *blob) { b.write(seq) } }
	gone := func(_ *Partition, b *blob) { b.record = Record{} }
	garbled := func(_ *Partition, b *blob) { b.write(0); b.record.Readable = false }
	for _, c := range []struct {
		name     string
		prepare  func(*Partition, *blob)
		seq      int64
		rewind   bool
		end      Action
		requests []Action
	}{
		{"one read before the first write, where nothing is", gone, 0, false, Done, []Action{Read, Create}},
		{"one read before the first write, where something is", other(400), 500, false, Done, []Action{Read, Replace}},
		{"no read if it was listed", then(other(400), seen), 500, false, Done, []Action{Replace}},
		{"no read if nothing was listed", then(gone, seen), 500, false, Done, []Action{Create}},
		{"one request in steady state", wrote(400), 500, false, Done, []Action{Replace}},
		{"the same position again", wrote(400), 400, false, Done, []Action{Replace}},
		{"behind its own write", wrote(400), 399, false, Stale, nil},
		{"behind its own write, rewinding", wrote(400), 399, true, Done, []Action{Replace}},
		{"behind what it only saw", then(other(400), seen), 0, false, Done, []Action{Replace}},
		{"behind what it only read", other(400), -1, false, Done, []Action{Read, Replace}},
		{"somebody else wrote, ours is ahead", then(wrote(400), other(450)), 500, false, Done, []Action{Replace, Read, Replace}},
		{"somebody else wrote the same", then(wrote(400), other(500)), 500, false, Done, []Action{Replace, Read}},
		{"somebody else wrote further on", then(wrote(400), other(501)), 500, false, Stale, []Action{Replace, Read}},
		{"somebody else wrote further on, rewinding", then(wrote(400), other(501)), 500, true, Done, []Action{Replace, Read, Replace}},
		{"somebody else wrote the same, rewinding", then(wrote(400), other(300)), 300, true, Done, []Action{Replace, Read}},
		{"somebody else wrote further on than what was seen", then(other(400), seen, other(800)), 510, false, Stale, []Action{Replace, Read}},
		{"a later sight does not move the baseline", then(other(400), seen, other(800), seen), 510, false, Stale, []Action{Replace, Read}},
		{"a sight does not move what it wrote", then(wrote(400), other(800), seen), 510, false, Stale, []Action{Replace, Read}},
		{"somebody wrote where nothing was listed", then(gone, seen, other(800)), 510, false, Stale, []Action{Create, Read}},
		{"somebody wrote less where nothing was listed", then(gone, seen, other(500)), 510, false, Done, []Action{Create, Read, Replace}},
		{"deleted since", then(wrote(400), gone), 500, false, Done, []Action{Replace, Create}},
		{"deleted since, behind its own write", then(wrote(400), gone), 300, false, Stale, nil},
		{"deleted since, rewinding", then(wrote(400), gone), 300, true, Done, []Action{Replace, Create}},
		{"unreadable when seen", then(garbled, seen), -5, false, Done, []Action{Replace}},
		{"unreadable when read", garbled, -5, false, Done, []Action{Read, Replace}},
		{"unreadable since", then(wrote(400), garbled), 500, false, Done, []Action{Replace, Read, Replace}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p Partition
			var b blob
			c.prepare(&p, &b)
			stored := b.record.SequenceNumber
			if c.end == Done {
				stored = c.seq
			}
			u, step := p.Begin(c.seq, c.rewind)
			end, requests := b.run(&p, &u, step)
			b.expect(t, c.name, stored, end, requests, c.end, c.requests...)
		})
	}
}

// TestUnanswered has one case for each thing that a store can find when it reads
// after a write whose answer is missing.
func TestUnanswered(t *testing.T) {
	readable := func(seq int64) Record { return Record{ETag: "e9", SequenceNumber: seq, Readable: true} }
	for _, c := range []struct {
		name   string
		rewind bool
		found  Record
		want   Action
	}{
		{"the position is stored", false, readable(500), Done},
		{"the position is stored, rewinding", true, readable(500), Done},
		{"something further on is stored", false, readable(501), Stale},
		{"something further on is stored, rewinding", true, readable(501), Failed},
		{"something behind is stored", false, readable(499), Failed},
		{"nothing is stored", false, Record{}, Failed},
		{"what is stored cannot be read", false, Record{ETag: "e9"}, Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p Partition
			p.Saw(readable(400))
			u, step := p.Begin(500, c.rewind)
			if step != (Step{Action: Replace, ETag: "e9"}) {
				t.Fatalf("the update begins with %+v", step)
			}
			if step = p.Unanswered(&u); step.Action != Read {
				t.Fatalf("without an answer it goes on with %+v, want a read", step)
			}
			if step = p.Found(&u, c.found); step.Action != c.want {
				t.Errorf("ends with %+v, want %d", step, c.want)
			}
		})
	}
}

// TestWriteOnWhatWasFound: after a condition was not met, the next write is
// conditional on what was read, each time.
func TestWriteOnWhatWasFound(t *testing.T) {
	var p Partition
	p.Saw(Record{ETag: "e1", SequenceNumber: 1, Readable: true})
	u, step := p.Begin(500, false)
	for n := 2; n < 10; n++ {
		if step.Action != Replace || step.ETag != fmt.Sprintf("e%d", n-1) {
			t.Fatalf("round %d: %+v, want a write on e%d", n, step, n-1)
		}
		if step = p.Refused(&u); step.Action != Read {
			t.Fatalf("round %d: %+v after a refusal, want a read", n, step)
		}
		step = p.Found(&u, Record{ETag: fmt.Sprintf("e%d", n), SequenceNumber: int64(n), Readable: true})
	}
	if step = p.Wrote(&u, "e99"); step.Action != Done {
		t.Errorf("ends with %+v, want done", step)
	}
	if _, step = p.Begin(501, false); step != (Step{Action: Replace, ETag: "e99"}) {
		t.Errorf("the next update begins with %+v, want a write on e99", step)
	}
}
