package balance

import "time"

// For how many rounds an owner is watched before it is considered one that does
// not give, because its handlers need time to end, or one that does not take.
const (
	patience     = 3
	takePatience = 2
)

// watch is what was seen of another owner. Its times are those of
// Sightings.sight, so that nobody is blamed for an outage.
type watch struct {
	above      bool // it holds more than allowed
	aboveSince time.Duration
	allowed    int // its share at aboveSince

	below      bool // it holds less than its share
	belowSince time.Duration
	goal       int  // its share at belowSince
	leavesFree bool // until it has its share
}

// unowned is a partition that nobody owns.
type unowned struct {
	etag  string // of its record; empty if it has none
	since time.Duration
}

// watch brings what is known of the other owners up to date, and tells the view.
//
// An owner keeps its surplus if, for some rounds, it did not come down to what
// its share was at their beginning. An owner leaves partitions free if, for some
// rounds, it did not reach what its share was then and a partition stayed free. One
// that does not renew its records either is left to expire.
func (s *Sightings) watch(v *View) {
	f := v.fleet()
	tooLong := takePatience * s.UpdateInterval
	leftFree := s.freeFor(f.free) >= tooLong

	renewed := make(map[string]time.Duration, len(f.members)) // age of the owner's youngest record
	for _, r := range v.Records {
		if age, ok := renewed[r.OwnerID]; !ok || r.Age < age {
			renewed[r.OwnerID] = r.Age
		}
	}

	before := s.owners
	s.owners = make(map[string]*watch, len(f.members))
	f.divide(nil)
	for i := range f.members {
		m := &f.members[i]
		if m.id == v.OwnerID {
			continue
		}
		w := before[m.id]
		if w == nil {
			w = &watch{}
		}
		s.owners[m.id] = w
		switch {
		case m.room() == 0 || renewed[m.id] > s.Expiration/2:
			w.below, w.leavesFree = false, false
		case !w.below || len(m.partitions) >= w.goal:
			w.below, w.belowSince, w.goal = true, s.sight, m.share
		case leftFree && s.sight-w.belowSince >= tooLong:
			w.leavesFree = true
		}
		if w.leavesFree {
			v.LeaveFree = append(v.LeaveFree, m.id)
		}
	}

	unseen := len(f.self().partitions) == 0 // the others do not count with this owner yet
	for i := range f.members {
		m := &f.members[i]
		w := s.owners[m.id]
		switch {
		case w == nil:
		case unseen || len(m.surplus()) == 0:
			w.above = false
		case !w.above || len(m.partitions) <= w.allowed:
			w.above, w.aboveSince, w.allowed = true, s.sight, m.share
		case s.sight-w.aboveSince >= patience*s.UpdateInterval:
			v.KeepSurplus = append(v.KeepSurplus, m.id)
		}
	}
}

// freeFor is for how long the partition that nobody has owned for longest was
// seen to be free.
func (s *Sightings) freeFor(partitions []string) (longest time.Duration) {
	before := s.free
	s.free = make(map[string]unowned, len(partitions))
	for _, p := range partitions {
		u := unowned{since: s.sight}
		if state := s.records[p]; state != nil {
			u.etag = state.etag
		}
		if known, ok := before[p]; ok && known.etag == u.etag {
			u = known
		}
		s.free[p] = u
		longest = max(longest, s.sight-u.since)
	}
	return longest
}
