package balance

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Passes is how often, at most, a loop lists and decides in one round. It goes on
// to the next pass if it lost a claim or a steal, at once, or if [Decision].Again
// says so, after a tenth of the interval between rounds.
const Passes = 8

// Record is the ownership record of a partition, as the last list had it.
type Record struct {
	PartitionID string

	// OwnerID is the owner; empty means relinquished.
	OwnerID string

	// Age is the time since the record was written. For records of others it is
	// a lower bound that does not count outages; see [Sightings].
	Age time.Duration

	// Expired reports that the record's owner did not renew it in time. It is
	// ignored for records of one's own.
	Expired bool
}

// View is what an owner knows when it decides.
type View struct {
	OwnerID    string   // who decides
	Partitions []string // of the event hub; records of others are ignored
	Records    []Record // at most one for each partition

	// Leaving are the partitions that the owner gave up and has not released
	// yet. They stay in Records and are not given up a second time.
	Leaving []string

	// KeepSurplus are owners that were seen not to give up what they hold above
	// their share. LeaveFree are owners that were seen to leave partitions free
	// although they hold less than their share. [Sightings].View fills them.
	KeepSurplus, LeaveFree []string

	// Expiration is the age at which a record expires.
	Expiration time.Duration

	// Stopping limits the decision to renewals.
	Stopping bool
}

// Decision is what an owner does next. Its lists have no partition in common.
type Decision struct {
	// Renew are partitions of one's own whose record is older than a third of
	// the expiration.
	Renew []string

	// Claim are partitions that nobody owns, in the order to claim them in.
	Claim []string

	// GiveUp are partitions of one's own above the share: their handlers end,
	// the last checkpoint is stored, the partition is released.
	GiveUp []string

	// Steal are partitions of other owners.
	Steal []string

	// Again asks for another list and decision in the same round: this owner has
	// just become visible. The short pause before it lets owners that start at
	// the same time see each other before they claim their shares.
	Again bool
}

// Decide returns what the owner does next. It needs r to choose among equals.
func (v View) Decide(r *rand.Rand) Decision {
	f := v.fleet()
	d := Decision{Renew: f.due}
	if v.Stopping {
		return d
	}
	f.divide(v.LeaveFree)
	self := f.self()
	held := len(self.partitions)
	switch room := self.share - held; {
	case room < 0:
		d.GiveUp = v.surplus(self)
		d.Renew = without(d.Renew, d.GiveUp)
	case room > 0 && held == 0:
		d.Claim, d.Steal = f.first(r)
		d.Again = self.share > 1 && len(d.Claim)+len(d.Steal) > 0
	case room > 0:
		d.Claim = f.pick(f.free, room, r)
		d.Steal = f.pick(f.surplusOf(v.KeepSurplus), room-len(d.Claim), r)
	}
	return d
}

// surplus is what the owner gives up: the last of its partitions, so that what
// is left does not depend on when each of them is released.
func (v View) surplus(self *member) []string {
	staying := without(self.partitions, v.Leaving)
	n := len(staying) - self.share
	return staying[len(staying)-max(n, 0):]
}

// member is an active owner.
type member struct {
	id         string
	partitions []string // sorted
	share      int
}

func (m *member) room() int { return max(m.share-len(m.partitions), 0) }

// surplus are the partitions above the share.
func (m *member) surplus() []string {
	return m.partitions[min(m.share, len(m.partitions)):]
}

// fleet is a view, sorted so that owners with the same view make the same plan.
type fleet struct {
	me      string
	members []member // by id; the owner that decides is one of them
	free    []string // nobody's partitions, sorted
	total   int      // partitions of the hub
	due     []string // own partitions to renew
}

// fleet sorts the view's partitions by their owners.
func (v View) fleet() *fleet {
	f := &fleet{me: v.OwnerID, members: []member{{id: v.OwnerID}}}
	index := map[string]int{v.OwnerID: 0} // into members
	records := make(map[string]*Record, len(v.Records))
	for i := range v.Records {
		records[v.Records[i].PartitionID] = &v.Records[i]
	}
	partitions := slices.Clone(v.Partitions)
	slices.Sort(partitions)
	partitions = slices.Compact(partitions)
	f.total = len(partitions)
	for _, p := range partitions {
		r := records[p]
		if r == nil || r.OwnerID == "" || r.Expired && r.OwnerID != v.OwnerID {
			f.free = append(f.free, p)
			continue
		}
		i, found := index[r.OwnerID]
		if !found {
			i = len(f.members)
			index[r.OwnerID] = i
			f.members = append(f.members, member{id: r.OwnerID})
		}
		f.members[i].partitions = append(f.members[i].partitions, p)
		if i == 0 && r.Age > v.Expiration/3 {
			f.due = append(f.due, p)
		}
	}
	slices.SortFunc(f.members, func(a, b member) int {
		switch {
		case a.id < b.id:
			return -1
		case a.id > b.id:
			return 1
		}
		return 0
	})
	return f
}

func (f *fleet) self() *member {
	for i := range f.members {
		if f.members[i].id == f.me {
			return &f.members[i]
		}
	}
	panic("unreachable: the owner that decides is a member")
}

// divide sets the shares: total/owners for each, and one more for as many as the
// remainder says, first for those that have it already. What the owners that
// leave partitions free do not take may be added to the share of the owner that
// decides, as far as nobody else took it.
func (f *fleet) divide(leaveFree []string) {
	share, extra := f.total/len(f.members), f.total%len(f.members)
	for i := range f.members {
		m := &f.members[i]
		m.share = share
		if len(m.partitions) > share && extra > 0 {
			m.share++
			extra--
		}
	}
	for i := range f.members {
		if m := &f.members[i]; len(m.partitions) <= share && extra > 0 {
			m.share++
			extra--
		}
	}
	if len(leaveFree) == 0 {
		return
	}
	left := 0
	for i := range f.members {
		switch m := &f.members[i]; {
		case m.id == f.me:
		case slices.Contains(leaveFree, m.id):
			left += m.room()
		default:
			left -= len(m.surplus())
		}
	}
	f.self().share += max(left, 0)
}

// first is the one partition by which an owner that has none becomes visible: a
// free one, or one that is above its owner's share.
func (f *fleet) first(r *rand.Rand) (claim, steal []string) {
	if len(f.free) > 0 {
		return f.free[r.IntN(len(f.free)):][:1:1], nil
	}
	var above []string
	for i := range f.members {
		above = append(above, f.members[i].surplus()...)
	}
	if len(above) == 0 {
		return nil, nil
	}
	return nil, above[r.IntN(len(above)):][:1:1]
}

// surplusOf are the partitions above the share of the owners named.
func (f *fleet) surplusOf(owners []string) []string {
	var above []string
	if len(owners) == 0 {
		return nil
	}
	for i := range f.members {
		if m := &f.members[i]; m.id != f.me && slices.Contains(owners, m.id) {
			above = append(above, m.surplus()...)
		}
	}
	slices.Sort(above)
	return above
}

// pick takes up to n of the partitions. Every owner that has room divides them
// in the same way: one run for each owner, by id, in proportion to its room. The
// owner takes its own run first, which the others avoid, and then, in random
// order, what others may not come for.
func (f *fleet) pick(partitions []string, n int, r *rand.Rand) []string {
	n = min(n, len(partitions))
	if n <= 0 {
		return nil
	}
	before, all := 0, 0
	for i := range f.members {
		if f.members[i].id < f.me {
			before += f.members[i].room()
		}
		all += f.members[i].room()
	}
	from := len(partitions) * before / all
	to := max(from, len(partitions)*(before+f.self().room())/all)
	run, rest := partitions[from:to], slices.Concat(partitions[:from], partitions[to:])
	r.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	return slices.Concat(run, rest)[:n]
}

// without returns the partitions that are not in others.
func without(partitions, others []string) []string {
	if len(others) == 0 {
		return partitions
	}
	in := make(map[string]bool, len(others))
	for _, p := range others {
		in[p] = true
	}
	kept := make([]string, 0, len(partitions))
	for _, p := range partitions {
		if !in[p] {
			kept = append(kept, p)
		}
	}
	return kept
}
