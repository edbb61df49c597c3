package balance

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	views    = flag.Int("balance.views", 2000, "number of random views in each property test; a tenth of it with -short")
	viewSeed = flag.Uint64("balance.view", 0, "seed of the only view to test; 0 for all")
)

// eachView checks what Decide makes of random views.
func eachView(t *testing.T, check func(v View, d Decision) (wrong string)) {
	t.Helper()
	count := *views
	if testing.Short() {
		count = max(count/10, 1)
	}
	for s := uint64(1); s <= uint64(count); s++ {
		if *viewSeed != 0 {
			s, count = *viewSeed, 0
		}
		r := rand.New(rand.NewPCG(s, 3))
		v := randomView(r)
		d := v.Decide(r)
		if wrong := check(v, d); wrong != "" {
			t.Fatalf("view %d: %s\n%+v\n%+v\nplay it again: go test -run '^%s$' -balance.view=%d", s, wrong, v, d, t.Name(), s)
		}
	}
}

func randomView(r *rand.Rand) View {
	v := View{OwnerID: owner0, Expiration: time.Minute, Stopping: r.IntN(20) == 0}
	owners := 1 + r.IntN(1<<r.IntN(7))
	for i := range r.IntN(1 << r.IntN(8)) {
		v.Partitions = append(v.Partitions, strconv.Itoa(i))
	}
	r.Shuffle(len(v.Partitions), func(i, j int) { v.Partitions[i], v.Partitions[j] = v.Partitions[j], v.Partitions[i] })
	free, expired, skewed := max(r.Float64()-0.3, 0), max(r.Float64()-0.5, 0), r.IntN(2) == 0
	add := func(p string) {
		o := r.IntN(owners + 1)
		if skewed {
			o = r.IntN(o + 1)
		}
		rec := Record{PartitionID: p, OwnerID: fmt.Sprint("owner", o), Age: time.Duration(r.Int64N(int64(90 * time.Second)))}
		switch {
		case r.Float64() < free && r.IntN(2) == 0:
			return
		case r.Float64() < free:
			rec.OwnerID = ""
		case r.Float64() < expired:
			rec.Age = 2 * time.Minute
		}
		rec.Expired = rec.Age > v.Expiration
		v.Records = append(v.Records, rec)
		if rec.OwnerID == v.OwnerID && r.IntN(8) == 0 {
			v.Leaving = append(v.Leaving, p)
		}
	}
	for _, p := range v.Partitions {
		add(p)
	}
	for i := range r.IntN(4) {
		add(fmt.Sprint("unknown", i))
	}
	for i := range owners {
		if id := fmt.Sprint("owner", i); id != v.OwnerID && r.IntN(4) == 0 {
			v.KeepSurplus = append(v.KeepSurplus, id)
		} else if id != v.OwnerID && r.IntN(8) == 0 {
			v.LeaveFree = append(v.LeaveFree, id)
		}
	}
	return v
}

const owner0 = "owner0"

// facts are what the tests count in a view, in another way than Decide does.
type facts struct {
	active map[string][]string // partitions by active owner; the one that decides among them
	free   []string
}

func factsOf(v View) facts {
	f := facts{active: map[string][]string{v.OwnerID: nil}}
	for _, p := range v.Partitions {
		i := slices.IndexFunc(v.Records, func(r Record) bool { return r.PartitionID == p })
		switch {
		case i < 0, v.Records[i].OwnerID == "":
			f.free = append(f.free, p)
		case v.Records[i].OwnerID == v.OwnerID, !v.Records[i].Expired:
			f.active[v.Records[i].OwnerID] = append(f.active[v.Records[i].OwnerID], p)
		default:
			f.free = append(f.free, p)
		}
	}
	return f
}

// shares are the least and the most that an owner may have.
func (f facts) shares(v View) (floor, ceil int) {
	n := len(f.active)
	return len(v.Partitions) / n, (len(v.Partitions) + n - 1) / n
}

// TestDecisionContract: the lists have no partition in common, no partition
// twice, and only partitions of the hub that the view says may be in them.
func TestDecisionContract(t *testing.T) { eachView(t, contract) }

func contract(v View, d Decision) string {
	f := factsOf(v)
	own := f.active[v.OwnerID]
	floor, ceil := f.shares(v)
	seen := make(map[string]bool)
	for name, list := range map[string][]string{"Renew": d.Renew, "Claim": d.Claim, "GiveUp": d.GiveUp, "Steal": d.Steal} {
		for _, p := range list {
			if seen[p] {
				return p + " is listed twice"
			}
			seen[p] = true
			switch mine := slices.Contains(own, p); {
			case !slices.Contains(v.Partitions, p):
				return name + " has " + p + ", which is not the hub's"
			case name == "Claim" && !slices.Contains(f.free, p):
				return p + " is claimed and not free"
			case (name == "Renew" || name == "GiveUp") != mine:
				return name + " has " + p
			case name == "Steal" && slices.Contains(f.free, p):
				return p + " is stolen and free"
			case name == "GiveUp" && slices.Contains(v.Leaving, p):
				return p + " is given up again"
			}
		}
	}
	won := len(own) + len(d.Claim) + len(d.Steal)
	limit := max(ceil, len(own))
	if len(v.LeaveFree) > 0 {
		limit = max(limit, len(own)+len(f.free)) // may take what others leave, but steal only up to its share
		if len(d.Steal) > 0 && len(d.Claim) < len(f.free) {
			return "steals although partitions are free"
		}
	}
	switch {
	case won > limit:
		return fmt.Sprintf("has %d in the end, and the share is at most %d", won, ceil)
	case len(d.GiveUp) > 0 && len(own)-len(d.GiveUp) < floor:
		return fmt.Sprintf("gives up below the share, %d", floor)
	case len(d.GiveUp) > 0 && len(d.Claim)+len(d.Steal) > 0:
		return "gives up and takes"
	case len(d.Steal) > 0 && len(d.Claim) < len(f.free):
		return "steals although partitions are free"
	case v.Stopping && len(d.Claim)+len(d.GiveUp)+len(d.Steal) > 0, v.Stopping && d.Again:
		return "does more than renew while it stops"
	case d.Again && len(d.Claim)+len(d.Steal) == 0:
		return "asks for another pass without doing anything"
	}
	return ""
}

// TestDecideRenews: own records are renewed when they are older than a third of
// the expiration, unless they are given up now.
func TestDecideRenews(t *testing.T) {
	eachView(t, func(v View, d Decision) string {
		for _, r := range v.Records {
			due := r.OwnerID == v.OwnerID && r.Age > v.Expiration/3 && slices.Contains(v.Partitions, r.PartitionID) && !slices.Contains(d.GiveUp, r.PartitionID)
			if due != slices.Contains(d.Renew, r.PartitionID) {
				return fmt.Sprintf("%s is due: %v", r.PartitionID, due)
			}
		}
		return ""
	})
}

// TestDecideClaimsTheShare: an owner that has a partition claims what is free up
// to its share, in one round; one that has none claims one and looks again.
func TestDecideClaimsTheShare(t *testing.T) {
	eachView(t, func(v View, d Decision) string {
		f := factsOf(v)
		floor, _ := f.shares(v)
		own := len(f.active[v.OwnerID])
		want := min(max(floor-own, 0), len(f.free))
		if own == 0 {
			want = min(want, 1)
		}
		switch {
		case v.Stopping:
		case len(d.Claim) < want:
			return fmt.Sprintf("claims %d of %d", len(d.Claim), want)
		case own == 0 && len(d.Claim)+len(d.Steal) > 1:
			return "a newcomer takes more than one"
		case own == 0 && floor > 1 && !d.Again:
			return "a newcomer does not look again"
		}
		return ""
	})
}

// TestDecideSteals: partitions are taken from other owners only above their share,
// by a newcomer that finds nothing free, one, or from an owner that keeps its surplus.
func TestDecideSteals(t *testing.T) {
	steals := 0
	eachView(t, func(v View, d Decision) string {
		f := factsOf(v)
		floor, _ := f.shares(v)
		own, newcomer := len(f.active[v.OwnerID]), len(f.active[v.OwnerID]) == 0
		steals += len(d.Steal)
		for id, partitions := range f.active {
			stolen := 0
			for _, p := range d.Steal {
				if slices.Contains(partitions, p) {
					stolen++
				}
			}
			switch {
			case stolen == 0:
			case len(partitions)-stolen < floor:
				return id + " is left with less than the share"
			case !newcomer && !slices.Contains(v.KeepSurplus, id):
				return id + " is stolen from and may give"
			}
		}
		if newcomer && !v.Stopping && floor > 0 && len(f.free) == 0 && len(d.Steal) != 1 {
			return "a newcomer does not make itself seen"
		}
		if kept := 0; !newcomer && !v.Stopping && own < floor && len(v.LeaveFree) == 0 {
			for _, id := range v.KeepSurplus {
				kept += max(len(f.active[id])-floor-1, 0)
			}
			if got, want := len(d.Claim)+len(d.Steal), min(floor-own, len(f.free)+kept); got < want {
				return fmt.Sprintf("takes %d of %d", got, want)
			}
		}
		return ""
	})
	if steals == 0 && *viewSeed == 0 {
		t.Error("no view led to a steal")
	}
}

// TestDecideGivesUpTheSurplus: what an owner has above the share, it gives up at
// once, unless it does so already or others leave partitions free.
func TestDecideGivesUpTheSurplus(t *testing.T) {
	eachView(t, func(v View, d Decision) string {
		f := factsOf(v)
		_, ceil := f.shares(v)
		own := len(f.active[v.OwnerID])
		leaving := 0
		for _, p := range v.Leaving {
			if slices.Contains(f.active[v.OwnerID], p) {
				leaving++
			}
		}
		if v.Stopping || len(v.LeaveFree) > 0 {
			return ""
		}
		if stay := own - leaving - len(d.GiveUp); stay > ceil {
			return fmt.Sprintf("keeps %d", stay)
		}
		return ""
	})
}

// TestWhatOthersLeaveIsTakenOnce: what one owner leaves free and a second one took
// is not the third one's to steal.
func TestWhatOthersLeaveIsTakenOnce(t *testing.T) {
	v := View{OwnerID: "a", Expiration: time.Minute, KeepSurplus: []string{"b"}, LeaveFree: []string{"slow"}}
	for i, id := range strings.Split("a a a a a b b b b b b slow", " ") {
		v.Partitions = append(v.Partitions, strconv.Itoa(i))
		v.Records = append(v.Records, Record{PartitionID: strconv.Itoa(i), OwnerID: id})
	}
	d := v.Decide(rand.New(rand.NewPCG(1, 1)))
	if len(d.Steal)+len(d.Claim)+len(d.GiveUp) > 0 {
		t.Errorf("%+v", d)
	}
	v.Records[5].OwnerID = "" // one that b took
	d = v.Decide(rand.New(rand.NewPCG(1, 1)))
	if len(d.Claim) != 1 || len(d.Steal)+len(d.GiveUp) > 0 {
		t.Errorf("%+v", d)
	}
}

// TestPlansAgree: if every owner acts on the same view, no two claim the same
// partition, the free ones are all claimed where owners have room, and the
// fleet is balanced as soon as what is given up is claimed too.
func TestPlansAgree(t *testing.T) {
	for s := range uint64(2000) {
		r := rand.New(rand.NewPCG(s, 4))
		v := randomView(r)
		v.Stopping, v.Leaving, v.KeepSurplus, v.LeaveFree = false, nil, nil, nil
		for i := range v.Records {
			v.Records[i].Age, v.Records[i].Expired = 0, false
		}
		f := factsOf(v)
		if len(f.active[owner0]) == 0 {
			continue // the others would not count it
		}
		surplus := false
		counts := make(map[string]int)
		claimed := make(map[string]string)
		for id, partitions := range f.active {
			v.OwnerID = id
			d := v.Decide(r)
			counts[id] = len(partitions) + len(d.Claim) - len(d.GiveUp)
			surplus = surplus || len(d.GiveUp) > 0
			for _, p := range d.Claim {
				if other, ok := claimed[p]; ok && !surplus && totalRoom(v, f) == len(f.free) {
					t.Fatalf("seed %d: %s and %s claim %s", s, id, other, p)
				}
				claimed[p] = id
			}
		}
		if surplus {
			continue // owners with room wait for what is given up
		}
		v.OwnerID = owner0
		floor, ceil := f.shares(v)
		for id, n := range counts {
			if n < floor || n > ceil {
				t.Fatalf("seed %d: %s has %d of %d to %d", s, id, n, floor, ceil)
			}
		}
	}
}

func totalRoom(v View, f facts) int {
	fl := v.fleet()
	fl.divide(nil)
	room := 0
	for i := range fl.members {
		room += fl.members[i].room()
	}
	return room
}

func FuzzDecide(f *testing.F) {
	for s := range uint64(20) {
		f.Add(s, []byte{1, 2, 3, 4, 5, 6, 7, 8}, uint8(8), false)
	}
	f.Fuzz(func(t *testing.T, seed uint64, data []byte, partitions uint8, stopping bool) {
		v := View{OwnerID: owner0, Expiration: time.Minute, Stopping: stopping}
		for i := range partitions {
			v.Partitions = append(v.Partitions, strconv.Itoa(int(i)))
		}
		for i, b := range data {
			rec := Record{PartitionID: strconv.Itoa(i), OwnerID: fmt.Sprint("owner", b&7), Age: time.Duration(b>>4) * 8 * time.Second, Expired: b&8 != 0}
			if b&7 == 7 {
				rec.OwnerID = ""
			}
			v.Records = append(v.Records, rec)
			switch {
			case seed>>(i%64)&1 == 0:
			case rec.OwnerID == owner0:
				v.Leaving = append(v.Leaving, rec.PartitionID)
			case b&16 != 0:
				v.KeepSurplus = append(v.KeepSurplus, rec.OwnerID)
			default:
				v.LeaveFree = append(v.LeaveFree, rec.OwnerID)
			}
		}
		d := v.Decide(rand.New(rand.NewPCG(seed, 5)))
		if len(v.Partitions) == 0 {
			if len(d.Claim)+len(d.Renew)+len(d.GiveUp)+len(d.Steal) > 0 {
				t.Fatalf("%+v", d)
			}
			return
		}
		if wrong := contract(v, d); wrong != "" {
			t.Fatalf("%s\n%+v\n%+v", wrong, v, d)
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	v := View{OwnerID: owner0, Expiration: time.Minute}
	for i := range 1024 {
		p := strconv.Itoa(i)
		v.Partitions = append(v.Partitions, p)
		v.Records = append(v.Records, Record{PartitionID: p, OwnerID: fmt.Sprint("owner", i%64), Age: time.Duration(i%30) * time.Second})
	}
	r := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		v.Decide(r)
	}
}
