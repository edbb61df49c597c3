// Package fence decides whether a checkpoint may replace the stored one. It sends
// no requests: it says which request to send next.
//
// A stored checkpoint has a generation and a sequence number. Within a generation
// positions only move forward, and only a rewind begins the next generation. Every
// write is conditional on the ETag of the record that it was compared with, so that
// no other write comes between the comparison and the write.
//
// A tenure is the time from one take-over of a partition to the next (Raft's term,
// the generation of a Kafka group). The first look of a tenure, which is a list or
// a read for the caller, fixes the generation of the tenure's updates. An update
// that meets a later generation is refused.
//
// docs/design.md has the state diagram and the argument.
package fence

// A Record is what is stored for a partition. The zero value is "no record".
type Record struct {
	// ETag is that of the blob which writes replace, in one form only, so that
	// equal means equal. Empty if there is no such blob.
	ETag string

	Position
	Readable   bool // whether the position's sequence number is known
	Generation int64

	// Elsewhere is set if the position is that of a newer record under another
	// spelling of the names, which is only ever read.
	Elsewhere bool
}

// A Position is what an update stores.
type Position struct {
	SequenceNumber int64
	Offset         string // empty for none
}

// isAt reports whether the blob itself has that sequence number.
func (r Record) isAt(sequenceNumber int64) bool {
	return r.ETag != "" && !r.Elsewhere && r.Readable && r.SequenceNumber == sequenceNumber
}

// isNone reports whether no checkpoint is stored, under any spelling.
func (r Record) isNone() bool { return r.ETag == "" && !r.Elsewhere }

func (r Record) isAheadOf(sequenceNumber int64) bool {
	return r.Readable && r.SequenceNumber > sequenceNumber
}

// An origin says where the baseline comes from, the record that the next write of a
// tenure replaces without a read before it.
type origin int

const (
	none    origin = iota // there is no baseline: read before the write
	seen                  // a look showed it
	written               // this store wrote it
)

// Partition is what a store remembers of one partition. The zero value is ready to
// use. It contains no pointers, so that tests can copy it. The caller locks it.
type Partition struct {
	win   string // the ETag of the ownership record that this store won last
	owner string // under which owner id; empty if that win relinquished it

	tenure   int // which one it is; 0 until the first win
	origin   origin
	baseline Record

	// generation is what the tenure's updates belong to: fixed by its first look,
	// and moved on by rewinds of this store. Until that look it is that of the
	// tenure before, as an update that comes then may come from a late handler.
	generation int64
	looked     bool

	// first is the generation of the very first look, if that came before any
	// tenure. Updates that were started earlier belong to it.
	first    int64
	anyLooks bool

	// later is the latest generation that a look of the tenure has shown.
	later int64

	// rewound is set if an update was refused with [Rewound] since the last look by
	// [Partition.Reread].
	rewound bool
}

// Won records that a claim was won: the ETag that the claim replaced ("" for none),
// the record's new ETag, and the owner ID, which is empty if the claim relinquished
// the partition. It reports whether a tenure began. One begins with a claim under
// another owner ID, on an ETag other than that of this store's last win, or after
// that win relinquished the partition. A relinquish begins none, so that late
// updates still meet what the tenure knows.
func (p *Partition) Won(on, now, owner string) bool {
	renewed := on == p.win && owner == p.owner
	p.win, p.owner = now, owner
	if renewed || owner == "" {
		return false
	}
	p.tenure++
	p.origin, p.baseline = none, Record{}
	p.looked, p.rewound, p.later = false, false, 0
	return true
}

// Saw records what a list or a read for the caller found. Only the first look of a
// tenure counts: a list for another partition must not move a late update of this
// one into the new generation.
func (p *Partition) Saw(r Record) {
	p.later = max(p.later, r.Generation)
	if p.looked {
		return
	}
	p.look(r.Generation)
	if p.origin != written || p.baseline.ETag != r.ETag {
		p.origin, p.baseline = seen, r
	}
}

// Reread is [Partition.Saw] for a read of this one partition. In a store that never
// claims, a read that follows a refusal accepts what it found, as a new tenure
// would.
func (p *Partition) Reread(r Record) {
	if p.tenure == 0 && p.rewound {
		p.looked, p.origin = false, none
	}
	p.Saw(r)
}

func (p *Partition) look(generation int64) {
	if !p.anyLooks {
		p.anyLooks, p.first = true, generation
	}
	p.looked, p.generation, p.rewound = true, generation, false
}

// Action is what an [Update] has to do next.
type Action int

const (
	Read    Action = iota // read the record
	ReadAll               // read the record, under all spellings of its name
	Create                // write, on condition that there is no record
	Replace               // write, on condition that the record has ETag
	Done                  // stored
	Stale                 // not stored: the position is behind the stored one or, of a First, there is one
	Rewound               // not stored: the record is of a later generation
	Failed                // not known to be stored: the last write's own error says why
)

// Step is an action and its parameters.
type Step struct {
	Action     Action
	ETag       string // of [Replace]
	Generation int64  // that [Create] and [Replace] store
	Stored     Record // that [Stale] and [Rewound] were decided by
}

// Kind is what an [Update] may replace.
type Kind int

const (
	Advance Kind = iota // a record of its generation that is not ahead
	First               // no record: it only stores a first checkpoint
	Rewind              // any record, and it begins the next generation
)

// KindOf returns the kind of an update with these options, of which one may be set.
func KindOf(first, rewind bool) Kind {
	switch {
	case rewind:
		return Rewind
	case first:
		return First
	}
	return Advance
}

// Update is one checkpoint update in progress.
type Update struct {
	position   Position
	kind       Kind
	tenure     int   // in which it started
	generation int64 // that it belongs to
	open       bool  // it takes the generation that it finds

	last      Step // the last write
	ambiguous int  // how many writes may have taken effect, or may yet
	repeated  bool // a write may have taken effect before its condition was not met
}

// Generation returns the generation that the update belongs to, as far as it is
// known.
func (u *Update) Generation() int64 { return u.generation }

// Start begins an update. It must be called when the caller requests the update,
// before any wait: an update that waits while the partition is rewound or taken
// over still belongs to the generation in which it was requested.
func (p *Partition) Start(position Position, kind Kind) Update {
	return Update{
		position:   position,
		kind:       kind,
		tenure:     p.tenure,
		generation: p.generation,
		open:       p.tenure == 0 && !p.looked,
	}
}

// Begin returns the first step of an update.
func (p *Partition) Begin(u *Update) Step {
	current := u.tenure == p.tenure
	if u.open && p.anyLooks {
		u.open, u.generation = false, p.first
	}
	switch {
	case current && u.kind != Rewind && !u.open && u.generation < p.generation:
		return Step{Action: Rewound, Stored: p.baseline}
	case current && p.origin == seen:
		return p.beginSeen(u)
	case current && p.origin == written && u.kind != First:
		return p.beginWritten(u)
	}
	return Step{Action: ReadAll} // nothing is known that the update may replace
}

// beginSeen replaces what a look showed. If the update may not replace that, it is
// stale if the record has not changed, so it reads first.
func (p *Partition) beginSeen(u *Update) Step {
	switch {
	case u.kind == Advance && p.baseline.isAheadOf(u.position.SequenceNumber),
		u.kind == First && !p.baseline.isNone():
		return Step{Action: ReadAll}
	}
	return u.write(p.baseline)
}

// beginWritten replaces what this store wrote, or refuses an update that is behind
// it. If a look has shown a rewind since, a read decides between the two errors.
func (p *Partition) beginWritten(u *Update) Step {
	switch {
	case u.kind == Rewind || !p.baseline.isAheadOf(u.position.SequenceNumber):
		return u.write(p.baseline)
	case p.later > u.generation:
		return Step{Action: Read}
	}
	return Step{Action: Stale, Stored: p.baseline}
}

// Found returns the step after [Read] and [ReadAll]. What an update reads is only
// compared with the update. It is not a look, because it does not show where the
// caller started.
func (p *Partition) Found(u *Update, r Record) Step {
	if u.open {
		u.open, u.generation = false, r.Generation
		if u.tenure == p.tenure && !p.looked {
			p.look(r.Generation) // nobody claims: the first update that comes is the first look
		}
	}
	if u.kind == Rewind {
		return p.foundByRewind(u, r)
	}
	switch {
	case r.Generation > u.generation:
		p.rewound = true
		return Step{Action: Rewound, Stored: r}
	case r.isAt(u.position.SequenceNumber):
		return p.Wrote(u, r.ETag)
	case r.isAheadOf(u.position.SequenceNumber), u.kind == First && !r.isNone():
		return Step{Action: Stale, Stored: r}
	case u.ambiguous > 1:
		return Step{Action: Failed}
	}
	return u.write(r)
}

// foundByRewind compares a rewind with the stored record. It replaces the record,
// unless an earlier write of the same rewind may be part of it.
func (p *Partition) foundByRewind(u *Update, r Record) Step {
	switch {
	case u.ambiguous == 0 && !u.repeated, r.ETag == u.last.ETag && u.ambiguous == 1:
		return u.write(r) // no earlier write took effect
	case r.Generation == u.last.Generation && r.isAt(u.position.SequenceNumber) && r.Offset == u.position.Offset:
		return p.Wrote(u, r.ETag)
	case r.Generation >= u.last.Generation:
		return Step{Action: Rewound, Stored: r}
	case r.ETag == u.last.ETag:
		return Step{Action: Failed}
	}
	return u.write(r)
}

// Wrote returns the step after a [Create] or [Replace] that was applied, with the
// record's new ETag. It does not affect a tenure that began since.
func (p *Partition) Wrote(u *Update, etag string) Step {
	generation := u.generation
	if u.kind == Rewind {
		generation = u.last.Generation
	}
	if u.tenure == p.tenure {
		p.generation = max(p.generation, generation)
		p.origin = written
		p.baseline = Record{ETag: etag, Position: u.position, Readable: true, Generation: generation}
	}
	return Step{Action: Done}
}

// Refused returns the step after a [Create] or [Replace] whose condition was not
// met. repeated is set if the request was sent more than once, so that it may have
// met its own earlier effect.
func (p *Partition) Refused(u *Update, repeated bool) Step {
	u.repeated = u.repeated || repeated
	return Step{Action: Read}
}

// Gone returns the step after a [Replace] that found no record.
func (p *Partition) Gone(u *Update) Step { return u.write(Record{}) }

// Ambiguous returns the step after a [Create] or [Replace] that may have been
// applied.
func (p *Partition) Ambiguous(u *Update) Step {
	u.ambiguous++
	return Step{Action: Read}
}

// write returns the step that replaces exactly r.
func (u *Update) write(r Record) Step {
	step := Step{Action: Replace, ETag: r.ETag, Generation: u.generation}
	if u.kind == Rewind {
		step.Generation = max(r.Generation, u.generation) + 1
	}
	if r.ETag == "" {
		step.Action = Create
	}
	u.last = step
	return step
}
