package fence

import "testing"

// An owner that was paused must not move a checkpoint back, whatever was listed
// meanwhile for its other partitions.
func TestPausedOwnerIsStale(t *testing.T) {
	var b blob
	var paused, other Partition
	b.write(400)
	paused.Won("", "o1", false)
	paused.Saw(b.record)
	end, requests := b.update(&paused, 500)
	b.expect(t, "the owner's first update", 500, end, requests, Done, Replace)

	other.Won("o1", "o2", false)
	other.Saw(b.record)
	end, requests = b.update(&other, 800)
	b.expect(t, "the new owner's update", 800, end, requests, Done, Replace)

	paused.Saw(b.record) // it lists again, for another partition
	end, requests = b.update(&paused, 510)
	b.expect(t, "the paused owner's handler", 800, end, requests, Stale, Replace, Read)
	end, requests = b.update(&paused, 520)
	b.expect(t, "its next one", 800, end, requests, Stale, Replace, Read)
}

// The same where the partition had no checkpoint at all: that nothing was listed
// is a baseline too.
func TestPausedOwnerOfFreshPartitionIsStale(t *testing.T) {
	var b blob
	var paused, other Partition
	paused.Won("", "o1", false)
	paused.Saw(Record{})
	other.Won("o1", "o2", false)
	other.Saw(Record{})
	end, requests := b.update(&other, 800)
	b.expect(t, "the new owner's update", 800, end, requests, Done, Create)
	end, requests = b.update(&paused, 510)
	b.expect(t, "the paused owner's handler", 800, end, requests, Stale, Create, Read)
}

// An operator rewinds while nobody owns the partition; its former owner wins it
// again and goes on from there.
func TestOperatorRewindsBetweenTenures(t *testing.T) {
	for name, relinquish := range map[string]bool{"relinquished": true, "expired and taken by another": false} {
		t.Run(name, func(t *testing.T) {
			var b blob
			var p Partition
			p.Won("", "o1", false)
			p.Saw(b.record)
			end, requests := b.update(&p, 5000)
			b.expect(t, "the first tenure", 5000, end, requests, Done, Create)
			on := "o3" // somebody had it in between
			if relinquish {
				p.Won("o1", "o2", true)
				on = "o2"
			}
			b.write(10)
			p.Won(on, "o4", false)
			p.Saw(b.record)
			end, requests = b.update(&p, 20)
			b.expect(t, "the next tenure", 20, end, requests, Done, Replace)
			end, requests = b.update(&p, 15)
			b.expect(t, "behind that", 20, end, requests, Stale)
		})
	}
}

// A recreated hub starts at 0 again: accepted once, by who takes the partition
// over, and then it is a baseline like any other.
func TestRecreatedHub(t *testing.T) {
	var b blob
	var p Partition
	b.write(5000)
	p.Won("o1", "o2", false)
	p.Saw(b.record)
	end, requests := b.update(&p, 0)
	b.expect(t, "the first event", 0, end, requests, Done, Replace)
	end, requests = b.update(&p, 1)
	b.expect(t, "the second event", 1, end, requests, Done, Replace)
}

// A hub that is recreated under an owner needs Rewind, as positions of that owner
// are on record.
func TestRecreatedHubUnderAnOwner(t *testing.T) {
	var b blob
	var p Partition
	p.Won("", "o1", false)
	b.update(&p, 5000)
	end, requests := b.update(&p, 0)
	b.expect(t, "without Rewind", 5000, end, requests, Stale)
	end, requests = b.rewind(&p, 0)
	b.expect(t, "with Rewind", 0, end, requests, Done, Replace)
	end, requests = b.update(&p, 1)
	b.expect(t, "then on", 1, end, requests, Done, Replace)
}

// One owner has 510 and 500 in flight at once: 510 stays, in whichever order they
// arrive and are answered.
func TestTwoInFlight(t *testing.T) {
	begin := func() (p Partition, b blob, u510, u500 Update) {
		p.Saw(Record{ETag: "e0", SequenceNumber: 400, Readable: true})
		b.record = Record{ETag: "e0", SequenceNumber: 400, Readable: true}
		var step Step
		for _, begun := range []struct {
			u   *Update
			seq int64
		}{{&u510, 510}, {&u500, 500}} {
			if *begun.u, step = p.Begin(begun.seq, false); step != (Step{Replace, "e0"}) {
				t.Fatalf("%d begins with %+v", begun.seq, step)
			}
		}
		return p, b, u510, u500
	}
	t.Run("510 arrives first", func(t *testing.T) {
		p, b, u510, u500 := begin()
		p.Wrote(&u510, b.write(510))
		end, requests := b.run(&p, &u500, p.Refused(&u500))
		b.expect(t, "500", 510, end, requests, Stale, Read)
	})
	t.Run("510 arrives first and is answered last", func(t *testing.T) {
		p, b, u510, u500 := begin()
		etag := b.write(510)
		end, requests := b.run(&p, &u500, p.Refused(&u500))
		b.expect(t, "500", 510, end, requests, Stale, Read)
		p.Wrote(&u510, etag)
		end, requests = b.update(&p, 505)
		b.expect(t, "505", 510, end, requests, Stale)
	})
	t.Run("500 arrives first", func(t *testing.T) {
		p, b, u510, u500 := begin()
		p.Wrote(&u500, b.write(500))
		end, requests := b.run(&p, &u510, p.Refused(&u510))
		b.expect(t, "510", 510, end, requests, Done, Read, Replace)
	})
	t.Run("500 arrives first and is answered last", func(t *testing.T) {
		p, b, u510, u500 := begin()
		etag := b.write(500)
		end, requests := b.run(&p, &u510, p.Refused(&u510))
		b.expect(t, "510", 510, end, requests, Done, Read, Replace)
		p.Wrote(&u500, etag)
		end, _ = b.update(&p, 505)
		if end != Stale || b.record.SequenceNumber != 510 {
			t.Errorf("505 ends with %d and leaves %d, want it stale and 510 there", end, b.record.SequenceNumber)
		}
	})
}

// Two updates begin without a baseline. The second one's read sees what the first
// one wrote: that is this store's own write, not a first sight.
func TestTwoInFlightWithoutBaseline(t *testing.T) {
	var b blob
	var p Partition
	b.write(400)
	u510, first := p.Begin(510, false)
	u500, second := p.Begin(500, false)
	end, requests := b.run(&p, &u510, first)
	b.expect(t, "510", 510, end, requests, Done, Read, Replace)
	end, requests = b.run(&p, &u500, second)
	b.expect(t, "500", 510, end, requests, Stale, Read)
}

// An update begins without a baseline; before its read, a listing has given one
// and another store has written. What is read is then not the first sight.
func TestBaselineListedWhileReading(t *testing.T) {
	var b blob
	var p Partition
	b.write(400)
	u, step := p.Begin(500, false)
	p.Saw(b.record)
	b.write(800)
	end, requests := b.run(&p, &u, step)
	b.expect(t, "500", 800, end, requests, Stale, Read)
}

// A write that the network delays past a hand-over finds another ETag.
func TestWriteDelayedPastHandOver(t *testing.T) {
	for name, written := range map[string]int64{"the new owner wrote": 999, "the new owner wrote nothing": 0} {
		t.Run(name, func(t *testing.T) {
			var b blob
			var old, next Partition
			old.Won("", "o1", false)
			end, requests := b.update(&old, 150)
			b.expect(t, "the first update", 150, end, requests, Done, Read, Create)
			u, step := old.Begin(199, false) // sent, and delayed
			if step.Action != Replace || step.ETag != b.record.ETag {
				t.Fatalf("199 begins with %+v", step)
			}
			old.Won("o1", "o2", true)
			next.Won("o2", "o3", false)
			next.Saw(b.record)
			want, stored := Done, int64(199)
			if written != 0 {
				end, requests = b.update(&next, written)
				b.expect(t, "the new owner's update", written, end, requests, Done, Replace)
				want, stored = Stale, written
			}
			end, _ = b.run(&old, &u, step) // now it arrives
			if end != want || b.record.SequenceNumber != stored {
				t.Errorf("the delayed write ends with %d and leaves %d, want %d and %d", end, b.record.SequenceNumber, want, stored)
			}
		})
	}
}

// An answer that comes when the next tenure has begun says nothing about that
// tenure's baseline: an operator has rewound in between.
func TestAnswerInTheNextTenure(t *testing.T) {
	var b blob
	var p Partition
	b.write(100)
	p.Won("", "o1", false)
	p.Saw(b.record)
	u, _ := p.Begin(110, false)
	etag := b.write(110) // its write took effect, the answer is on its way
	p.Won("o1", "o2", true)
	b.write(10)
	p.Won("o2", "o3", false)
	p.Saw(b.record)
	if step := p.Wrote(&u, etag); step.Action != Done {
		t.Errorf("110 ends with %+v, want done", step)
	}
	end, requests := b.update(&p, 20)
	b.expect(t, "20", 20, end, requests, Done, Replace)
}

// An update that began in one tenure and reads its baseline in the next one is a
// late handler: what it finds is no first sight of its own.
func TestReadInTheNextTenure(t *testing.T) {
	var b blob
	var p Partition
	b.write(100)
	p.Won("", "o1", false)
	u, step := p.Begin(110, false) // nothing was listed: it reads first
	b.write(800)                   // another owner's
	p.Won("o2", "o3", false)
	end, requests := b.run(&p, &u, step)
	b.expect(t, "110", 800, end, requests, Stale, Read)
}

// A single reader that claims nothing through the store: positions go on, and
// Rewind is the way back.
func TestNoClaims(t *testing.T) {
	var b blob
	var p Partition
	end, requests := b.update(&p, 10)
	b.expect(t, "the first update", 10, end, requests, Done, Read, Create)
	end, requests = b.update(&p, 20)
	b.expect(t, "the second", 20, end, requests, Done, Replace)
	end, requests = b.update(&p, 5)
	b.expect(t, "back, without Rewind", 20, end, requests, Stale)
	end, requests = b.rewind(&p, 5)
	b.expect(t, "back, with Rewind", 5, end, requests, Done, Replace)
	end, requests = b.update(&p, 6)
	b.expect(t, "then on", 6, end, requests, Done, Replace)
}

// TestUpdateBeforeTheFirstLook: in a tenure that a win began, an update that
// nobody looked for is compared; where nobody claims, what it reads is the
// baseline.
func TestUpdateBeforeTheFirstLook(t *testing.T) {
	stored := Record{ETag: "e1", SequenceNumber: 20, Readable: true}
	for name, c := range map[string]struct {
		won    bool
		at     int64
		rewind bool
		found  Record
		want   Step
	}{
		"nobody claims, behind":  {false, 11, false, stored, Step{Action: Replace, ETag: "e1"}},
		"won, behind":            {true, 11, false, stored, Step{Action: Stale}},
		"won, behind, rewind":    {true, 11, true, stored, Step{Action: Replace, ETag: "e1"}},
		"won, the same position": {true, 20, false, stored, Step{Action: Done}},
		"won, ahead":             {true, 21, false, stored, Step{Action: Replace, ETag: "e1"}},
		"won, no record":         {true, 11, false, Record{}, Step{Action: Create}},
		"won, no position":       {true, 11, false, Record{ETag: "e1"}, Step{Action: Replace, ETag: "e1"}},
	} {
		t.Run(name, func(t *testing.T) {
			var p Partition
			if c.won {
				p.Won("", "o1", false)
			}
			u, step := p.Begin(c.at, c.rewind)
			if step != (Step{Action: Read}) {
				t.Fatalf("the first step is %v", step)
			}
			if got := p.Found(&u, c.found); got != c.want {
				t.Errorf("the step is %v, want %v", got, c.want)
			}
		})
	}
}
