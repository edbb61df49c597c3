package proof

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// fleetPlan says all that a history of a fleet follows from, except for the order of what happens in the same instant.
type fleetPlan struct {
	seed               uint64
	owners, partitions int
	incidents          int    // how many are drawn
	drop               uint64 // bit i leaves out incident i, and changes nothing of the others
	faults             mix    // of the storage, in each process
	latest             bool   // partitions without a checkpoint begin at their end
	defect             defect
}

func (p fleetPlan) String() string {
	s := fmt.Sprintf("seed=%d,owners=%d,partitions=%d,incidents=%d,drop=%x,faults=%v", p.seed, p.owners, p.partitions, p.incidents, p.drop, p.faults)
	if p.latest {
		s += ",latest"
	}
	if p.defect != "" {
		s += ",defect=" + string(p.defect)
	}
	return s
}

// parseFleetPlan reads what String writes.
func parseFleetPlan(text string) (fleetPlan, error) {
	var p fleetPlan
	for _, field := range strings.Split(text, ",") {
		name, value, _ := strings.Cut(field, "=")
		var err error
		switch name {
		case "seed":
			p.seed, err = strconv.ParseUint(value, 10, 64)
		case "owners":
			p.owners, err = strconv.Atoi(value)
		case "partitions":
			p.partitions, err = strconv.Atoi(value)
		case "incidents":
			p.incidents, err = strconv.Atoi(value)
		case "drop":
			p.drop, err = strconv.ParseUint(value, 16, 64)
		case "faults":
			p.faults, err = parseMix(value)
		case "latest":
			p.latest = true
		case "defect":
			p.defect = defect(value)
		default:
			err = fmt.Errorf("no such field")
		}
		if err != nil {
			return fleetPlan{}, fmt.Errorf("%q: %w", field, err)
		}
	}
	return p, nil
}

// incidentKind is what happens to a fleet.
type incidentKind string

const (
	stops             incidentKind = "stops"              // a process is told to stop, and another one starts in its place
	crashes           incidentKind = "crashes"            // a process is gone, its links with it
	vanishesSilently  incidentKind = "vanishes"           // a process is gone, and Event Hubs does not notice
	pauses            incidentKind = "pauses"             // a process does not run for a while
	losesStorage      incidentKind = "loses storage"      // a process cannot reach the storage: connections are refused
	waitsForStorage   incidentKind = "waits for storage"  // or there is no answer
	storageIsAway     incidentKind = "storage is away"    // for everybody
	losesEventHubs    incidentKind = "loses event hubs"   // calls of one process fail
	waitsForEventHubs incidentKind = "waits for hubs"     // calls of one process have no answer
	eventHubsHangs    incidentKind = "event hubs hangs"   // for everybody
	linkDenied        incidentKind = "links denied"       // to one partition
	linkStolen        incidentKind = "link stolen"        // of one partition, by another program
	linkHangs         incidentKind = "link hangs"         // no events of one partition come
	handlersFail      incidentKind = "handlers fail"      // those of one process
	handlersPanic     incidentKind = "handlers panic"     //
	handlersExit      incidentKind = "handlers exit"      // with runtime.Goexit
	handlersReturn    incidentKind = "handlers return"    // nil
	handlersSlow      incidentKind = "handlers slow"      // they take seconds for an event
	handlersDeaf      incidentKind = "handlers deaf"      // they take long, and do not look at their context
	ownershipDeleted  incidentKind = "ownership deleted"  // of one partition
	checkpointDeleted incidentKind = "checkpoint deleted" //
	rewound           incidentKind = "rewound"            // by somebody who owns nothing
	usurped           incidentKind = "usurped"            // somebody takes an ownership, and does not renew it
	hubGrows          incidentKind = "hub grows"
)

// incidentKinds are all kinds. The one that is drawn must not depend on the order of a map.
func incidentKinds() []incidentKind {
	return []incidentKind{
		stops, crashes, vanishesSilently, pauses, losesStorage, waitsForStorage, storageIsAway, losesEventHubs, waitsForEventHubs,
		eventHubsHangs, linkDenied, linkStolen, linkHangs, handlersFail, handlersPanic, handlersExit, handlersReturn,
		handlersSlow, handlersDeaf, ownershipDeleted, checkpointDeleted, rewound, usurped, hubGrows,
	}
}

// incident is one thing that happens. Who and what it happens to are taken modulo the owners and partitions that there
// are, so that a smaller fleet meets the same incidents.
type incident struct {
	kind           incidentKind
	at             time.Duration // since the beginning
	lasts          time.Duration
	who, partition int
	draw           uint64 // for what else is to be decided
}

// script draws the incidents. Dropped ones are left out after the draw.
func (p fleetPlan) script() []incident {
	random := rand.New(rand.NewPCG(p.seed, 11))
	kinds := incidentKinds()
	var all []incident
	at := 5 * time.Second
	apart := time.Second << random.IntN(6) // at most
	for i := range p.incidents {
		at += time.Duration(random.Int64N(int64(apart)))
		in := incident{
			kind: kinds[random.IntN(len(kinds))], at: at, who: random.IntN(1 << 16), partition: random.IntN(1 << 16), draw: random.Uint64(),
		}
		in.lasts = time.Duration(random.Int64N(int64(30*time.Second))) + time.Second
		if random.IntN(4) == 0 { // longer than a record lasts, or an outage may
			in.lasts *= 6
		}
		if p.drop>>i&1 == 0 {
			all = append(all, in)
		}
	}
	return all
}

// smaller are plans with a little less of something.
func (p fleetPlan) smaller() []fleetPlan {
	var all []fleetPlan
	try := func(change func(*fleetPlan)) {
		s := p
		change(&s)
		if s != p {
			all = append(all, s)
		}
	}
	left := p.incidents
	for left > 0 && p.drop>>(left-1)&1 == 1 {
		left--
	}
	try(func(s *fleetPlan) { s.faults = 0 })
	try(func(s *fleetPlan) { s.incidents = left / 2 })
	try(func(s *fleetPlan) { // the first half of the incidents
		for i := range left / 2 {
			s.drop |= 1 << i
		}
	})
	try(func(s *fleetPlan) { s.owners = max(1, s.owners-1) })
	try(func(s *fleetPlan) { s.partitions = max(1, s.partitions/2) })
	try(func(s *fleetPlan) { s.partitions = max(1, s.partitions-1) })
	try(func(s *fleetPlan) { s.latest = false })
	for i := range left {
		try(func(s *fleetPlan) { s.drop |= 1 << i })
	}
	for bit := mix(1); bit < mix(mixes()); bit <<= 1 {
		try(func(s *fleetPlan) { s.faults &^= bit })
	}
	return all
}

// shrinkFleet looks for the smallest plan that fails too.
func shrinkFleet(p fleetPlan, fails func(fleetPlan) bool) fleetPlan {
	tries := 300
	if raceEnabled {
		tries = 30
	}
	for again := true; again; {
		again = false
		for _, small := range p.smaller() {
			if tries--; tries < 0 {
				return p
			}
			if fails(small) {
				p, again = small, true
				break
			}
		}
	}
	return p
}
