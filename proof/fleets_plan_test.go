package proof

import (
	"iter"
	"math/rand/v2"
	"slices"
	"time"
)

// fleetPlan determines a history of a fleet, except for the order of what happens at the same instant.
type fleetPlan struct {
	Seed       uint64   `json:"seed"`
	Owners     int      `json:"owners"`
	Partitions int      `json:"partitions"`
	Incidents  int      `json:"incidents"`        // how many are drawn
	Drop       uint64   `json:"drop,omitempty"`   // bit i leaves out incident i without changing the others
	Faults     faultSet `json:"faults"`           // of the storage, in each process
	Latest     bool     `json:"latest,omitempty"` // partitions without a checkpoint begin at their end
	Defect     defect   `json:"defect,omitempty"`
}

// incidentKind is a kind of incident that happens to a fleet.
type incidentKind string

const (
	stops             incidentKind = "stops"              // a process is told to stop, and another one replaces it
	crashes           incidentKind = "crashes"            // a process ends at once, and its links with it
	vanishesSilently  incidentKind = "vanishes"           // a process ends at once, and Event Hubs does not notice
	pauses            incidentKind = "pauses"             // a process does not run for a while
	losesStorage      incidentKind = "loses storage"      // the storage refuses one process's connections
	waitsForStorage   incidentKind = "waits for storage"  // the storage does not answer one process
	storageIsAway     incidentKind = "storage is away"    // for every process
	losesEventHubs    incidentKind = "loses event hubs"   // calls of one process fail
	waitsForEventHubs incidentKind = "waits for hubs"     // calls of one process get no answer
	eventHubsHangs    incidentKind = "event hubs hangs"   // for every process
	linkDenied        incidentKind = "links denied"       // to one partition
	linkStolen        incidentKind = "link stolen"        // of one partition, by another program
	linkHangs         incidentKind = "link hangs"         // no events of one partition arrive
	handlersFail      incidentKind = "handlers fail"      // those of one process
	handlersPanic     incidentKind = "handlers panic"     //
	handlersExit      incidentKind = "handlers exit"      // with runtime.Goexit
	handlersReturn    incidentKind = "handlers return"    // nil
	handlersSlow      incidentKind = "handlers slow"      // they take seconds for an event
	handlersDeaf      incidentKind = "handlers deaf"      // they take long and ignore their context
	ownershipDeleted  incidentKind = "ownership deleted"  // of one partition
	checkpointDeleted incidentKind = "checkpoint deleted" //
	rewound           incidentKind = "rewound"            // by an operator, who owns nothing
	usurped           incidentKind = "usurped"            // another program claims an ownership and does not renew it
	hubGrows          incidentKind = "hub grows"
)

// incidentKinds returns all kinds, in a fixed order.
func incidentKinds() []incidentKind {
	return []incidentKind{
		stops, crashes, vanishesSilently, pauses, losesStorage, waitsForStorage, storageIsAway, losesEventHubs, waitsForEventHubs,
		eventHubsHangs, linkDenied, linkStolen, linkHangs, handlersFail, handlersPanic, handlersExit, handlersReturn,
		handlersSlow, handlersDeaf, ownershipDeleted, checkpointDeleted, rewound, usurped, hubGrows,
	}
}

// incident is one thing that happens. The process and the partition are taken modulo their number, so that a smaller fleet
// meets the same incidents.
type incident struct {
	kind           incidentKind
	at             time.Duration // since the start
	lasts          time.Duration
	who, partition int
	draw           uint64 // for further decisions
}

// script draws the incidents, and then leaves out those that are dropped.
func (p fleetPlan) script() []incident {
	random := rand.New(rand.NewPCG(p.Seed, 11))
	kinds := incidentKinds()
	var all []incident
	at := 5 * time.Second
	apart := time.Second << random.IntN(6) // at most
	for i := range p.Incidents {
		at += time.Duration(random.Int64N(int64(apart)))
		in := incident{
			kind: kinds[random.IntN(len(kinds))], at: at, who: random.IntN(1 << 16), partition: random.IntN(1 << 16), draw: random.Uint64(),
		}
		in.lasts = time.Duration(random.Int64N(int64(30*time.Second))) + time.Second
		if random.IntN(4) == 0 { // longer than the expiration and than MaxOutage
			in.lasts *= 6
		}
		if p.Drop>>i&1 == 0 {
			all = append(all, in)
		}
	}
	return all
}

// smaller yields plans that are a step smaller.
func (p fleetPlan) smaller() iter.Seq[fleetPlan] {
	var all []fleetPlan
	try := func(change func(*fleetPlan)) {
		s := p
		change(&s)
		if s != p {
			all = append(all, s)
		}
	}
	left := p.Incidents
	for left > 0 && p.Drop>>(left-1)&1 == 1 {
		left--
	}
	try(func(s *fleetPlan) { s.Faults = 0 })
	try(func(s *fleetPlan) { s.Incidents = left / 2 })
	try(func(s *fleetPlan) { s.Drop |= 1<<(left/2) - 1 })
	try(func(s *fleetPlan) { s.Owners = max(1, s.Owners-1) })
	try(func(s *fleetPlan) { s.Partitions = max(1, s.Partitions/2) })
	try(func(s *fleetPlan) { s.Partitions = max(1, s.Partitions-1) })
	try(func(s *fleetPlan) { s.Latest = false })
	for i := range left {
		try(func(s *fleetPlan) { s.Drop |= 1 << i })
	}
	for i := range faultKinds() {
		try(func(s *fleetPlan) { s.Faults &^= 1 << i })
	}
	return slices.Values(all)
}
