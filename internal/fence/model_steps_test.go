package fence

import "fmt"

// issue begins an actor's operation.
func (w *world) issue(si, ai int, o op) error {
	a := &w.actors[ai]
	switch o.kind {
	case put:
		w.back = w.back || w.record.Readable && o.seq < w.record.SequenceNumber
		w.writes++
		w.change(Record{ETag: fmt.Sprintf("e%d", w.writes), SequenceNumber: o.seq, Readable: true})
		a.next++
	case remove:
		w.back = true
		w.change(Record{})
		a.next++
	case list:
		a.phase, a.req = sent, request{read: true, op: o}
	case win:
		a.phase, a.req = sent, request{claim: true, on: w.owner, op: o}
	case renew, relinquish:
		if w.stores[si].win == "" { // nothing to renew
			a.next++
			return nil
		}
		a.phase, a.req = sent, request{claim: true, on: w.stores[si].win, op: o}
	default:
		return w.begin(si, ai, o)
	}
	return nil
}

// begin starts an update and checks what must be decided without a request.
func (w *world) begin(si, ai int, o op) error {
	s, a := &w.stores[si], &w.actors[ai]
	a.updating, a.tenure, a.sight = true, s.tenure, s.sight
	a.present, a.ahead, a.faulted, a.requests, a.changes = false, false, false, 0, 0
	a.note(w.record, o)
	a.req = request{op: o}
	var step Step
	a.u, step = s.p.Begin(o.seq, o.kind == rewind)
	if o.kind == update && o.seq < s.lastOwn && step.Action != Stale {
		return fmt.Errorf("an update behind this store's own last write, %d, was not refused at once: %+v", s.lastOwn, step)
	}
	return w.follow(si, ai, step)
}

// note keeps what an update's outcome is judged by.
func (a *actor) note(r Record, o op) {
	if r.Readable {
		a.present = a.present || r.SequenceNumber == o.seq
		a.ahead = a.ahead || r.SequenceNumber > o.seq
	}
}

// change replaces the record.
func (w *world) change(r Record) {
	w.record = r
	for i := range w.actors {
		if a := &w.actors[i]; a.updating {
			a.changes++
			a.note(r, a.req.op)
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
	case Read:
		a.phase, a.req = sent, request{read: true, op: o}
	case Create, Replace:
		a.phase, a.req = sent, request{write: true, on: step.ETag, op: o, sight: a.sight}
	default:
		err := w.checkOutcome(si, ai, step.Action)
		a.phase, a.updating, a.req, a.ans, a.u = idle, false, request{}, answer{}, Update{}
		a.sight, a.tenure, a.requests, a.changes = "", 0, 0, 0
		a.present, a.ahead, a.faulted = false, false, false
		a.next++
		return err
	}
	a.requests++
	if limit := 5 + 2*a.changes; a.requests > limit {
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
			a.ans = answer{outcome: written, etag: w.owner}
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
		w.change(Record{ETag: etag, SequenceNumber: req.op.seq, Readable: true})
		return answer{outcome: written, etag: etag}, nil
	case w.record.absent():
		return answer{outcome: gone}, nil
	}
	return answer{outcome: refused}, nil
}

// loseAnswer tells the fence that it does not know what became of a write.
func (w *world) loseAnswer(si, ai int) error {
	a := &w.actors[ai]
	w.faults--
	a.faulted = true
	return w.follow(si, ai, w.stores[si].p.Unanswered(&a.u))
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
		if ans.outcome == written {
			return w.won(s, req, ans.etag)
		}
	case req.op.kind == list:
		a.phase, a.req = idle, request{}
		a.next++
		s.saw(ans.record)
		s.p.Saw(ans.record)
	case req.read:
		if first := a.requests == 1; first && a.tenure == s.tenure {
			s.saw(ans.record)
			a.sight = s.sight
		}
		return w.follow(si, ai, s.p.Found(&a.u, ans.record))
	case ans.outcome == written:
		return w.follow(si, ai, s.p.Wrote(&a.u, ans.etag))
	case ans.outcome == gone:
		return w.follow(si, ai, s.p.Gone(&a.u))
	default:
		return w.follow(si, ai, s.p.Refused(&a.u))
	}
	return nil
}

// saw keeps the first sight of the tenure.
func (s *store) saw(r Record) {
	if s.sight == unseen {
		s.sight = r.ETag
	}
}

// won keeps the tenure by the rule's own words, and holds the fence to it.
func (w *world) won(s *store, req request, now string) error {
	begins := req.on == "" || req.on != s.win || s.gaveUp
	s.win, s.gaveUp = now, req.op.kind == relinquish
	if begins {
		s.tenure++
		s.sight, s.lastOwn, s.maxOwn = unseen, none, none
	}
	if got := s.p.Won(req.on, now, s.gaveUp); got != begins {
		return fmt.Errorf("a tenure begins: %v, the fence says %v", begins, got)
	}
	return nil
}

// checkWrite is asked at every fenced write that takes effect.
func (w *world) checkWrite(req request) error {
	goesBack := w.record.Readable && w.record.SequenceNumber > req.op.seq
	if goesBack && req.op.kind != rewind && req.sight != w.record.ETag {
		return fmt.Errorf("a fenced update to %d replaces the record %+v, which is further on and is not what its tenure saw first (%q)", req.op.seq, w.record, req.sight)
	}
	w.back = w.back || goesBack
	return nil
}

// checkOutcome is asked at the end of every update.
func (w *world) checkOutcome(si, ai int, end Action) error {
	s, a := &w.stores[si], &w.actors[ai]
	o := a.req.op
	switch end {
	case Done:
		if !a.present {
			return fmt.Errorf("the update to %d is done, but the record never had that position", o.seq)
		}
		w.high = max(w.high, o.seq)
		if a.tenure == s.tenure {
			s.lastOwn, s.maxOwn = o.seq, max(s.maxOwn, o.seq)
			if o.kind == rewind {
				s.maxOwn = o.seq
			}
		}
	case Stale:
		own := a.requests == 0 && s.maxOwn > o.seq
		if o.kind == rewind || !a.ahead && !own {
			return fmt.Errorf("the %v is stale, but the record was never further on since it began, nor has this store written further on in its tenure (requests: %d, furthest own: %d)", o, a.requests, s.maxOwn)
		}
	case Failed:
		if !a.faulted {
			return fmt.Errorf("the %v failed without a lost answer", o)
		}
	default:
		return fmt.Errorf("an update ends with the action %d", end)
	}
	return nil
}

// checkEnd is asked when all programs have ended.
func (w *world) checkEnd() error {
	if !w.back && w.high != none && (!w.record.Readable || w.record.SequenceNumber < w.high) {
		return fmt.Errorf("at the end the record is %+v, though %d was reported as stored and nothing may have gone back", w.record, w.high)
	}
	return nil
}
