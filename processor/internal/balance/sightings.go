package balance

import (
	"strings"
	"time"

	"github.com/ea947076/checkpointstore"
)

const (
	// resolution is that of LastModifiedTime: the second is cut off.
	resolution = time.Second

	// winCounts is how long a win tells the service's time. After that, the
	// clocks may have drifted apart.
	winCounts = time.Hour

	// maxClockError is what a machine's wall clock may be off before the times
	// of its own wins are considered nonsense and ignored.
	maxClockError = 24 * time.Hour
)

// Sightings tells how old ownership records are, from what one owner saw of the
// store. It does not rely on the machine's wall clock: it measures with the
// monotonic clock between calls of time.Now, and learns the service's time from
// the owner's own wins. The first three fields must be set. It is not safe for
// concurrent use.
type Sightings struct {
	UpdateInterval time.Duration // of the rounds
	Expiration     time.Duration // of records

	// MaxOutage limits how much time without sight of the store is not counted
	// towards the expiry of a record.
	MaxOutage time.Duration

	origin time.Time // what local times count from

	// Every moment since the origin is either sight or outage.
	sight, outage time.Duration
	listed        bool
	lastList      time.Duration // local time at which the last good list was answered
	listTook      time.Duration // and how long it took
	failing       bool
	failed        time.Duration // local time at which the first list after it that failed was asked for
	written       time.Duration // the sight when writes succeeded last, or were found to fail

	service    time.Time     // the service's time at the origin is this or later
	servicedAt time.Duration // local time of the win that told it; none if service is zero

	records map[string]*sighting // by partition
	owners  map[string]*watch    // the others, by id
	free    map[string]unowned   // by partition
}

// sighting is the state of a record that was seen. The state ends with the next
// write of the record.
type sighting struct {
	ownerID, etag string
	modified      time.Time

	first time.Duration // local time of the first list, or of the win, that showed it
	gap   time.Duration // outage between the list before and this one, during which it may have been written

	// What the service's time told about its age at first; known if it did.
	known    bool
	raw      time.Duration // with the outage before
	age      time.Duration // without
	excluded time.Duration // the difference

	sight, outage time.Duration // of the Sightings, then
}

// Listed takes in a good list: when it was asked for, when it was answered, and
// the records.
func (s *Sightings) Listed(asked, answered time.Time, records []checkpointstore.Ownership) {
	from, to := s.local(asked), s.local(answered)
	gap := s.elapse(from, to)
	before := s.records
	s.records = make(map[string]*sighting, len(records))
	for _, o := range records {
		state := stateOf(o)
		if known := before[o.PartitionID]; known != nil && known.is(state) {
			s.records[o.PartitionID] = known
			continue
		}
		state.first, state.gap = from, gap
		state.sight, state.outage = s.sight, s.outage
		s.learn(state)
		s.records[o.PartitionID] = state
	}
}

// elapse counts the time up to a good list and returns how much of the time since
// the list before was asked for was outage. Sight is the time between a list that was answered and the next one
// that is asked for, or fails. Of a pause that is longer than rounds are apart,
// only half an interval is sight: whatever held this process up may have held up
// the others.
func (s *Sightings) elapse(from, to time.Duration) (outage time.Duration) {
	start, end := s.lastList, from
	if s.failing {
		end = min(s.failed, from)
	}
	if !s.listed {
		start = end
	}
	sight := max(end-start, 0)
	if sight > s.UpdateInterval*3/2 {
		sight = s.UpdateInterval / 2
	}
	outage = max(to-start-sight, 0)
	s.sight += sight
	s.outage += outage
	s.listed, s.lastList, s.failing = true, max(to, s.lastList), false
	outage, s.listTook = outage+s.listTook, max(to-from, 0)
	return outage
}

// Unreachable tells of a list that failed, and when it was asked for. The time until
// the next good list does not count towards the expiry of records.
func (s *Sightings) Unreachable(asked time.Time) {
	if at := s.local(asked); !s.failing {
		s.failing, s.failed = true, at
	}
}

// Unwritable tells of a round in which every write failed. The time from the last
// good list to the next does not count towards the expiry of records, and neither does
// the sight since this owner's last win, in which others may have failed to renew: at
// most as much as the longest time between two renewals.
func (s *Sightings) Unwritable() {
	if !s.failing {
		s.failing, s.failed = true, s.lastList
	}
	renewal := s.Expiration/3 + s.UpdateInterval*6/5 // due, and a round later, with its jitter
	blind := min(s.sight-s.written, renewal)
	s.sight -= blind
	s.outage += blind
	s.written = s.sight
	for _, state := range s.records {
		if after := state.sight - s.sight; after > 0 {
			state.sight -= after
			state.outage += after
		}
	}
	for _, w := range s.owners {
		w.aboveSince, w.belowSince = min(w.aboveSince, s.sight), min(w.belowSince, s.sight)
	}
	for p, u := range s.free {
		u.since = min(u.since, s.sight)
		s.free[p] = u
	}
}

// Won takes in records that this owner won, and when the store's answer came.
func (s *Sightings) Won(answered time.Time, won ...checkpointstore.Ownership) {
	at := s.local(answered)
	for _, o := range won {
		state := stateOf(o)
		state.first, state.known = at, true
		state.sight, state.outage = s.sight, s.outage
		if s.records == nil {
			s.records = make(map[string]*sighting)
		}
		s.records[o.PartitionID] = state
		s.tellTime(at, answered, o.LastModifiedTime)
	}
	if len(won) > 0 {
		s.written = s.sight
	}
	for _, state := range s.records {
		s.learn(state)
	}
}

// tellTime takes a lower bound of the service's time from the time of a win,
// which lies before its answer.
func (s *Sightings) tellTime(at time.Duration, answered, modified time.Time) {
	if !plausible(modified) || modified.Sub(answered).Abs() > maxClockError {
		return
	}
	if service := modified.Add(-at); service.After(s.service) || !s.knowsTime(at) {
		s.service, s.servicedAt = service, at
	}
}

func (s *Sightings) knowsTime(at time.Duration) bool {
	return !s.service.IsZero() && at-s.servicedAt <= winCounts
}

// learn sets the age that a state had when it was first seen, if the service's
// time is known and the state was first seen lately.
func (s *Sightings) learn(state *sighting) {
	if state.known || !plausible(state.modified) || !s.knowsTime(state.first) || s.lastList-state.first > s.Expiration {
		return
	}
	state.known = true
	state.raw = max(s.service.Add(state.first).Sub(state.modified)-resolution, 0)
	state.excluded = min(state.gap, s.MaxOutage, state.raw)
	state.age = state.raw - state.excluded
}

// Age is how old the record is. For a record of another owner it is a lower
// bound, as of the last list, in which outages are not counted. It is zero for a
// record that was not in the last list.
func (s *Sightings) Age(at time.Time, o checkpointstore.Ownership) time.Duration {
	known := s.records[o.PartitionID]
	if known == nil || !known.is(stateOf(o)) {
		return 0
	}
	return s.age(known)
}

// age is what can be proved of a state's age, without up to MaxOutage of the
// outages since it was written.
func (s *Sightings) age(state *sighting) time.Duration {
	outage := s.outage - state.outage
	return state.age + s.sight - state.sight + max(outage-(s.MaxOutage-state.excluded), 0)
}

// View is what the owner knows of the partitions after the last list.
func (s *Sightings) View(at time.Time, ownerID string, partitions []string) View {
	v := View{OwnerID: ownerID, Partitions: partitions, Expiration: s.Expiration}
	now := s.local(at)
	for _, p := range partitions {
		state := s.records[p]
		if state == nil {
			continue
		}
		r := Record{PartitionID: p, OwnerID: state.ownerID, Age: s.age(state)}
		r.Expired = r.Age > s.Expiration
		if r.OwnerID == ownerID {
			r.Age = state.raw + now - state.first // a renewal is due, outage or not
		}
		v.Records = append(v.Records, r)
	}
	s.watch(&v)
	return v
}

// local is a time as this machine's monotonic clock has it.
func (s *Sightings) local(t time.Time) time.Duration {
	if s.origin.IsZero() {
		s.origin = t
	}
	return t.Sub(s.origin)
}

func stateOf(o checkpointstore.Ownership) *sighting {
	state := &sighting{ownerID: o.OwnerID, modified: o.LastModifiedTime}
	if o.ETag != nil {
		state.etag = strings.Trim(string(*o.ETag), `"`) // lists leave the quotes out
	}
	return state
}

func (a *sighting) is(b *sighting) bool {
	return a.etag == b.etag && a.ownerID == b.ownerID && a.modified.Equal(b.modified)
}

// plausible reports whether a store can have stamped a record with the time: not
// the zero value of any program.
func plausible(t time.Time) bool { return t.Unix() > 0 }
