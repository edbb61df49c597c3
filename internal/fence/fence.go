// Package fence decides whether a checkpoint may be written over what is stored.
// It is pure: it sends nothing, and says what to send next.
//
// # Why
//
// Every other store writes checkpoints unconditionally. An owner that was
// paused, lost its partition and resumed then moves the checkpoint back; so does
// a write that the network delayed past a hand-over. Here every write is
// conditional on a baseline.
//
// # Baseline
//
// The baseline of a partition is the record, or the absence of one, that the
// next write may replace: its ETag and its sequence number. It is set by the
// first time that the record is seen in a tenure, and by each write of this
// store. Seeing the record again later does not move it: a listing on behalf of
// another partition must not arm the late handler of this one.
//
// # Tenure
//
// A tenure begins when this store wins the partition on an ETag other than that
// of its own last win, or after it relinquished the partition; that drops the
// baseline. A renewal goes on with the tenure. A loss ends nothing: late
// handlers must keep failing.
//
// # Rules
//
//   - Behind a position that this store wrote itself: stale, nothing is sent.
//   - Behind a baseline that it has only seen: accepted. A recreated hub starts
//     at 0 again, and an operator may have rewound.
//   - No baseline, and the tenure began with a win: read, and compare. Who starts
//     to read a partition looks where first; an update without that look comes
//     from a handler of before, which a Processor that wins the partition back
//     does not start anew. What it reads is no look for the next update, if its
//     own write fails.
//   - No baseline otherwise (nobody claims): what is read is the baseline.
//   - Somebody else has written since the baseline: read, and compare. Ahead of
//     it: write on what was read, until decided. The same position: done. Behind
//     it: stale.
//   - A record whose sequence number cannot be read is ahead of nothing.
//
// # Limits
//
// An update carries no owner, only its partition. One that begins when its store
// has won the partition anew and looked where it stands, and has not written yet,
// is taken for the new tenure's: a handler from before may then move a position
// back that was only seen. A renewal whose outcome was never learned makes the
// next one look like a new tenure.
package fence

// A Record is what is stored for a partition. The zero value is "no record".
type Record struct {
	ETag           string // in one form only, so that equal means equal
	SequenceNumber int64
	Readable       bool // whether SequenceNumber is known
}

func (r Record) absent() bool { return r.ETag == "" }

// Partition is what a store remembers of one partition. The zero value is ready.
// It is a value without pointers in it, for callers to lock and for tests to
// copy.
type Partition struct {
	lastWin      string // the ETag of the ownership record that this store won last
	relinquished bool   // whether that win gave the partition up

	tenure   int  // which one it is; 0 until the first win
	known    bool // whether there is a baseline
	baseline Record
	wrote    bool // whether this store wrote the baseline, rather than saw it
	unlooked bool // whether only an update of the tenure saw it: nobody has looked yet
}

// Won tells that a claim on the ownership record was won: the ETag it was
// conditional on ("" for none), the record's new one, and whether it gave the
// partition up. It reports whether a tenure began.
func (p *Partition) Won(on, now string, relinquished bool) bool {
	renewal := on != "" && on == p.lastWin && !p.relinquished
	p.lastWin, p.relinquished = now, relinquished
	if renewal {
		return false
	}
	p.tenure++
	p.known, p.baseline, p.wrote, p.unlooked = false, Record{}, false, false
	return true
}

// Saw tells what a listing or a read found.
func (p *Partition) Saw(r Record) {
	if !p.known {
		p.known, p.baseline, p.wrote = true, r, false
	}
	if p.baseline == r {
		p.unlooked = false
	}
}

// Position is the sequence number of the baseline; 0 if there is none.
func (p *Partition) Position() int64 { return p.baseline.SequenceNumber }

// Action is what an [Update] has to do next.
type Action int

const (
	Read    Action = iota // read the record
	Create                // write, on condition that there is no record
	Replace               // write, on condition that the record has ETag
	Done                  // stored
	Stale                 // not stored: a position further on is
	Failed                // not known to be stored: the last write's own error says why
)

// Step is an action with the ETag that it is conditional on, if it is [Replace].
type Step struct {
	Action Action
	ETag   string
}

// Update is one checkpoint on its way.
type Update struct {
	tenure         int // in which it began
	sequenceNumber int64
	rewind         bool
	state          state
}

type state int

const (
	toBaseline state = iota // reading for a baseline
	toStart                 // reading for one in a tenure that a win began
	writing                 // a write is out
	toCompare               // reading, because a condition was not met
	toResolve               // reading, because the write's answer is missing
)

// Begin starts an update and gives the first step.
func (p *Partition) Begin(sequenceNumber int64, rewind bool) (Update, Step) {
	u := Update{tenure: p.tenure, sequenceNumber: sequenceNumber, rewind: rewind}
	switch {
	case !p.known && p.tenure == 0:
		u.state = toBaseline
		return u, Step{Action: Read}
	case !p.known, p.unlooked:
		u.state = toStart
		return u, Step{Action: Read}
	case p.wrote && !rewind && sequenceNumber < p.baseline.SequenceNumber:
		return u, Step{Action: Stale}
	}
	return u, u.write(p.baseline)
}

// Found is the outcome of [Read]. What an update reads for a baseline may be
// replaced as it is only if it is the baseline then: not if another list or
// update was faster, and not in another tenure than the update's own.
func (p *Partition) Found(u *Update, r Record) Step {
	own := u.tenure == p.tenure
	if own && u.state == toBaseline {
		p.Saw(r)
		if p.baseline == r && !p.wrote {
			return u.write(r)
		}
	}
	switch {
	case !r.absent() && r.Readable && r.SequenceNumber == u.sequenceNumber:
		p.Wrote(u, r.ETag)
		return Step{Action: Done}
	case !r.absent() && r.Readable && r.SequenceNumber > u.sequenceNumber && !u.rewind:
		return Step{Action: Stale}
	case u.state == toResolve:
		return Step{Action: Failed}
	case own && u.state == toStart && !p.known:
		p.known, p.baseline, p.unlooked = true, r, true
	}
	return u.write(r)
}

// Wrote is the outcome of a [Create] or [Replace] that took effect: the record's
// new ETag. It says nothing about a tenure that began since.
func (p *Partition) Wrote(u *Update, etag string) Step {
	if u.tenure != p.tenure {
		return Step{Action: Done}
	}
	p.known, p.wrote, p.unlooked = true, true, false
	p.baseline = Record{ETag: etag, SequenceNumber: u.sequenceNumber, Readable: true}
	return Step{Action: Done}
}

// Refused is the outcome of a [Create] or [Replace] whose condition was not met:
// there is a record, or another one, or none any more.
func (p *Partition) Refused(u *Update) Step {
	u.state = toCompare
	return Step{Action: Read}
}

// Gone is the outcome of a [Replace] that found no record.
func (p *Partition) Gone(u *Update) Step { return u.write(Record{}) }

// Unanswered is the outcome of a [Create] or [Replace] that may have taken effect.
func (p *Partition) Unanswered(u *Update) Step {
	u.state = toResolve
	return Step{Action: Read}
}

// write is the step that replaces r and nothing else.
func (u *Update) write(r Record) Step {
	u.state = writing
	if r.absent() {
		return Step{Action: Create}
	}
	return Step{Action: Replace, ETag: r.ETag}
}
