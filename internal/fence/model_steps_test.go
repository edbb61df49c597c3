package fence

import "fmt"

// issue begins an actor's operation.
func (w *world) issue(si, ai int, o op) error {
	a := &w.actors[ai]
	switch o.kind {
	case put:
		w.loose = true
		w.writes++
		w.change(at(fmt.Sprintf("e%d", w.writes), o.seq))
		a.next++
	case remove:
		w.loose = true
		w.change(Record{})
		a.next++
	case list, reread:
		a.phase, a.req = sent, request{read: true, op: o}
	case win:
		a.phase, a.req = sent, request{claim: true, on: w.owner, op: o, owner: fmt.Sprintf("owner %d", si)}
	case winOther:
		a.phase, a.req = sent, request{claim: true, on: w.owner, op: o, owner: fmt.Sprintf("other owner %d", si)}
	case renew, relinquish:
		s := &w.stores[si]
		if s.win == "" { // nothing to renew
			a.next++
			return nil
		}
		owner := s.owner
		if o.kind == relinquish {
			owner = ""
		}
		a.phase, a.req = sent, request{claim: true, on: s.win, op: o, owner: owner}
	default:
		w.ask(si, ai, o)
	}
	return nil
}

// ask asks for an update, which then waits for its partition.
func (w *world) ask(si, ai int, o op) {
	s, a := &w.stores[si], &w.actors[ai]
	a.phase, a.updating, a.tenure, a.req = asked, true, s.tenure, request{op: o}
	a.basis, a.free = s.generation()
	a.present, a.ahead, a.existed, a.faulted, a.latest, a.requests, a.changes = false, false, false, false, 0, 0, 0
	a.u = s.p.Start(pos(o.seq), map[opKind]Kind{update: Advance, first: First, rewind: Rewind}[o.kind])
	a.note(w.record)
}

// begin takes the first step of an update, and checks what must be decided
// without a request.
func (w *world) begin(si, ai int) error {
	s, a := &w.stores[si], &w.actors[ai]
	o := a.req.op
	if a.free && s.any { // somebody looked since it was asked for
		a.free, a.basis = false, s.first
	}
	step := s.p.Begin(&a.u)
	if o.kind == update && a.tenure == s.tenure && a.basis == s.basis && o.seq < s.lastOwn && step.Action != Stale && step.Action != Rewound && s.later <= a.basis {
		return fmt.Errorf("an update behind this store's own last write, %d, was not refused at once: %+v", s.lastOwn, step)
	}
	return w.follow(si, ai, step)
}

// note keeps what an update's outcome is judged by.
func (a *actor) note(r Record) {
	if r.Readable {
		a.present = a.present || r.SequenceNumber == a.req.op.seq
		a.ahead = a.ahead || r.SequenceNumber > a.req.op.seq
	}
	a.existed = a.existed || r.ETag != ""
	a.latest = max(a.latest, r.Generation)
}

// change replaces the record.
func (w *world) change(r Record) {
	w.record = r
	for i := range w.actors {
		if a := &w.actors[i]; a.updating {
			a.changes++
			a.note(r)
		}
	}
}

// follow does what the fence asks for next.
func (w *world) follow(si, ai int, step Step) error {
	a := &w.actors[ai]
	o := a.req.op
	if (step.ETag != "") != (step.Action == Replace) {
		return fmt.Errorf("a step with a condition that is not its own: %+v", step)
	}
	switch step.Action {
	case Read, ReadAll:
		a.phase, a.req = sent, request{read: true, op: o}
	case Create, Replace:
		a.phase, a.req = sent, request{write: true, on: step.ETag, op: o, generation: step.Generation, basis: a.basis}
	default:
		err := w.checkOutcome(si, ai, step)
		next := a.next + 1
		*a = actor{next: next}
		return err
	}
	a.requests++
	if limit := 6 + 2*a.changes; a.requests > limit {
		return fmt.Errorf("an update sends its request number %d after %d changes of the record", a.requests, a.changes)
	}
	return nil
}

// apply lets the server take an actor's request. absent is its answer to a
// condition on a record that is not there.
func (w *world) apply(ai int, absent outcome) error {
	a := &w.actors[ai]
	a.phase = answered
	switch req := a.req; {
	case req.read:
		a.ans = answer{record: w.record}
	case req.claim:
		a.ans = answer{outcome: refused}
		if req.on == w.owner {
			w.claims++
			w.owner = fmt.Sprintf("o%d", w.claims)
			a.ans = answer{outcome: wasWritten, etag: w.owner}
		}
	default:
		var err error
		a.ans, err = w.applyWrite(req)
		if a.ans.outcome == gone {
			a.ans.outcome = absent
		}
		return err
	}
	return nil
}

// applyWrite is the server's conditional write.
func (w *world) applyWrite(req request) (answer, error) {
	switch {
	case req.on == w.record.ETag:
		if err := w.checkWrite(req); err != nil {
			return answer{}, err
		}
		w.writes++
		etag := fmt.Sprintf("e%d", w.writes)
		w.change(inGeneration(req.generation, at(etag, req.op.seq)))
		return answer{outcome: wasWritten, etag: etag}, nil
	case w.record.ETag == "":
		return answer{outcome: gone}, nil
	}
	return answer{outcome: refused}, nil
}

// loseAnswer tells the fence that it does not know what became of a write.
func (w *world) loseAnswer(si, ai int) error {
	a := &w.actors[ai]
	w.faults--
	a.faulted = true
	return w.follow(si, ai, w.stores[si].p.Ambiguous(&a.u))
}

// deliver brings an answer to the store.
func (w *world) deliver(si, ai int) error {
	s, a := &w.stores[si], &w.actors[ai]
	req, ans := a.req, a.ans
	a.ans = answer{}
	switch {
	case req.claim:
		a.phase, a.req = idle, request{}
		a.next++
		if ans.outcome == wasWritten {
			return s.won(req, ans.etag)
		}
	case req.op.kind == list:
		a.phase, a.req = idle, request{}
		a.next++
		s.look(ans.record.Generation)
		s.p.Saw(ans.record)
	case req.op.kind == reread:
		a.phase, a.req = idle, request{}
		a.next++
		if s.tenure == 0 && s.refused {
			s.looked = false
			s.lastOwn, s.maxOwn = nowhere, nowhere
		}
		s.look(ans.record.Generation)
		s.p.Reread(ans.record)
	case req.read:
		if a.free {
			a.free, a.basis = false, ans.record.Generation
			if a.tenure == s.tenure && !s.looked {
				s.looked, s.basis = true, a.basis
				if !s.any {
					s.any, s.first = true, a.basis
				}
			}
		}
		return w.follow(si, ai, s.p.Found(&a.u, ans.record))
	case ans.outcome == wasWritten:
		return w.follow(si, ai, s.p.Wrote(&a.u, ans.etag))
	case ans.outcome == gone:
		return w.follow(si, ai, s.p.Gone(&a.u))
	default:
		return w.follow(si, ai, s.p.Refused(&a.u, a.faulted))
	}
	return nil
}

// won keeps the tenure by the rule's own words, and holds the fence to it.
func (s *store) won(req request, now string) error {
	begins := req.owner != "" && (req.on == "" || req.on != s.win || req.owner != s.owner)
	s.win, s.owner = now, req.owner
	if begins {
		s.tenure++
		s.looked, s.refused, s.later, s.lastOwn, s.maxOwn = false, false, 0, nowhere, nowhere
	}
	if got := s.p.Won(req.on, now, req.owner); got != begins {
		return fmt.Errorf("a tenure begins: %v, the fence says %v", begins, got)
	}
	return nil
}

// checkWrite is asked at every fenced write that takes effect.
func (w *world) checkWrite(req request) error {
	r := w.record
	if req.op.kind == rewind {
		if req.generation <= r.Generation {
			return fmt.Errorf("a rewind stores generation %d over %+v", req.generation, r)
		}
		return nil
	}
	switch {
	case r.Generation > req.basis:
		return fmt.Errorf("an update of generation %d replaces the record %+v", req.basis, r)
	case req.generation != req.basis:
		return fmt.Errorf("an update of generation %d stores generation %d", req.basis, req.generation)
	case req.op.kind == first && r.ETag != "":
		return fmt.Errorf("a first checkpoint at %d replaces the record %+v", req.op.seq, r)
	case r.Readable && r.SequenceNumber > req.op.seq:
		return fmt.Errorf("an update to %d replaces the record %+v, which is further on", req.op.seq, r)
	case !w.loose && req.generation < w.gen:
		return fmt.Errorf("an update of generation %d is stored after a rewind to generation %d had returned", req.generation, w.gen)
	}
	return nil
}

// checkOutcome is asked at the end of every update.
func (w *world) checkOutcome(si, ai int, end Step) error {
	s, a := &w.stores[si], &w.actors[ai]
	o := a.req.op
	switch end.Action {
	case Done:
		if !a.present {
			return fmt.Errorf("the update to %d is done, but the record never had that position", o.seq)
		}
		w.done(s, a)
	case Stale:
		own := a.requests == 0 && s.maxOwn > o.seq
		if o.kind == rewind || !a.ahead && !own && !(o.kind == first && a.existed) {
			return fmt.Errorf("the %v is stale, but the record was never further on since it began, nor has this store written further on in its tenure (requests: %d, furthest own: %d)", o, a.requests, s.maxOwn)
		}
	case Rewound:
		own := a.requests == 0 && s.basis > a.basis
		if o.kind == rewind && !a.faulted || o.kind != rewind && a.latest <= a.basis && !own {
			return fmt.Errorf("the %v of generation %d is refused for its generation, but there was no later one", o, a.basis)
		}
		if a.tenure == s.tenure && a.requests > 0 && o.kind != rewind {
			s.refused = true
		}
	case Failed:
		if !a.faulted {
			return fmt.Errorf("the %v failed without a lost answer", o)
		}
	default:
		return fmt.Errorf("an update ends with the action %d", end.Action)
	}
	return nil
}

// done keeps what an update that was stored means for later ones.
func (w *world) done(s *store, a *actor) {
	o, generation := a.req.op, a.basis
	if o.kind == rewind {
		generation = a.u.last.Generation
	}
	if o.kind == rewind {
		w.gen = max(w.gen, generation)
		w.high = nowhere
	} else if generation >= w.gen {
		w.high = max(w.high, o.seq)
	}
	if a.tenure != s.tenure {
		return
	}
	s.lastOwn, s.maxOwn = o.seq, max(s.maxOwn, o.seq)
	s.basis = max(s.basis, generation)
	if o.kind == rewind {
		s.basis, s.maxOwn = generation, o.seq
	}
}

// checkEnd is asked when all programs have ended.
func (w *world) checkEnd() error {
	if w.loose {
		return nil
	}
	if w.record.Generation < w.gen {
		return fmt.Errorf("at the end the record is %+v, though generation %d was reported as begun", w.record, w.gen)
	}
	if w.high != nowhere && w.record.Generation == w.gen && (!w.record.Readable || w.record.SequenceNumber < w.high) {
		return fmt.Errorf("at the end the record is %+v, though %d was reported as stored in generation %d", w.record, w.high, w.gen)
	}
	return nil
}
