package proof

import (
	"cmp"
	"fmt"
	"math"

	"github.com/anishathalye/porcupine"
)

// The model is a register with compare-and-swap for each partition. Its value is an owner, and its version the ETag,
// which belongs to the state: an owner that claims its own partition writes the same value with another ETag, and the
// next claim names the ETag alone.
//
// It takes from a history only what callers see, nothing from the service:
//
//   - a claim that was won found the ETag that it names and set the one that it returned;
//   - a claim that was lost had, at some moment of the call, neither the ETag that it names nor its own effect in the
//     register. (Its effect may have come and been overwritten within the call: then it does not own the partition
//     either. As ETags do not come back, it cannot take effect after that moment.)
//   - a claim that ended with an error takes effect once, at any time from the call on, or never. Its ETag is unknown
//     until somebody reads it: the register is then unbound, and the first read of it binds it;
//   - a read found what was there.
//
// An open claim would make the model nondeterministic, and its search long. So "never" is said in another way: the
// history has an end, an operation of its own after all others that returned. An open claim that comes before the end
// must take effect, and one that comes after it must not.
//
// Somebody may delete a record. A claim on its last ETag may then make it anew, and so may any request that is still on
// its way and has the condition that there is no record, whatever was said of its claim: see [steps].

// state is the register.
type state struct {
	etag    string // "" for no record
	owner   string
	writer  int  // id of the claim that wrote it
	unbound bool // whether the ETag is not known yet; etag is a stand-in then
	deleted bool // whether there is no record because somebody deleted it
	over    bool // after the end of the history
}

func (s state) String() string {
	switch {
	case s.etag == "":
		return "no record"
	case s.unbound:
		return fmt.Sprintf("%s, ETag not seen yet", cmp.Or(s.owner, "nobody"))
	}
	return fmt.Sprintf("%s %s", s.etag, cmp.Or(s.owner, "nobody"))
}

// stepKind is what an operation of the model does.
type stepKind int

const (
	wins     stepKind = iota
	may               // may take effect, if it comes before the end
	isNot             // is neither what the claim names nor the claim's effect
	finds             // read
	vanishes          // delete
	ends
)

// step is an operation of the model.
type step struct {
	kind stepKind
	operation
	fresh bool // of finds: no claim is known to have got the ETag, so an open one may have
	anew  bool // of wins and may: also where there is no record
	same  bool // of wins: also if the record is the owner's with that ETag already
}

// unboundETag stands for an ETag that nobody has seen.
const unboundETag = "?"

func (s state) next(o step) (bool, state) {
	switch o.kind {
	case ends:
		s.over = true
		return true, s
	case may:
		if s.over {
			return true, s
		}
		return s.fits(o), state{etag: unboundETag, owner: o.owner, writer: o.id, unbound: true}
	case wins:
		if o.same && s.etag != "" && s.etag != o.on && s.owner == o.owner && (s.etag == o.etag || s.unbound) {
			s.etag, s.unbound = o.etag, false
			return true, s
		}
		return s.fits(o), state{etag: o.etag, owner: o.owner, writer: o.id}
	case isNot:
		return (s.etag != o.on || s.deleted) && s.writer != o.id, s
	case vanishes:
		return true, state{deleted: true, over: s.over}
	}
	if s.unbound && o.fresh && s.owner == o.owner {
		s.etag, s.unbound = o.etag, false
	}
	return s.etag == o.etag && s.owner == o.owner, s
}

// fits tells whether a claim's condition is met.
func (s state) fits(o step) bool {
	return s.etag == o.on || s.etag == "" && o.anew
}

// register is the model for porcupine.
func register() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return state{} },
		Step: func(s, in, _ any) (bool, any) {
			ok, next := s.(state).next(in.(step))
			return ok, next
		},
	}
}

// allowances are the documented exceptions that a check makes.
type allowances struct {
	// deleted: somebody deleted records, once each. A claim may then have one effect before and one after: a claim that was
	// won may have had another one, a claim that was lost or unknown two, and a late request may create the record again.
	deleted bool
	// sharedID reports whether several claims may have this owner ID. Such a claim is also won if the record already has
	// the ID, by another claim.
	sharedID func(owner string) bool
}

func (a allowances) shared(owner string) bool { return a.sharedID != nil && a.sharedID(owner) }

// steps are the operations of the model for those of one partition.
func steps(ops []operation, a allowances) []porcupine.Operation {
	last, got := int64(0), make(map[string]bool)
	for _, o := range ops {
		last = max(last, o.end)
		if o.action == claims && o.result == won && !a.shared(o.owner) {
			got[o.etag] = true
		}
	}
	var all []porcupine.Operation
	add := func(o operation, s step, call, end int64) {
		s.operation, s.anew = o, a.deleted && o.on != ""
		all = append(all, porcupine.Operation{ClientId: len(all), Input: s, Call: call, Return: end})
	}
	open := func(o operation, times int) {
		for range times {
			add(o, step{kind: may}, o.call, math.MaxInt64)
		}
	}
	late := 0
	if a.deleted {
		late = 1
	}
	for _, o := range ops {
		switch {
		case o.action == reads:
			add(o, step{kind: finds, fresh: !got[o.etag]}, o.call, o.end)
		case o.action == deletes:
			add(o, step{kind: vanishes}, o.call, o.end)
		case o.result == won:
			add(o, step{kind: wins, same: a.shared(o.owner)}, o.call, o.end)
			if a.shared(o.owner) {
				open(o, 1)
			}
			open(o, late)
		case o.result == lost:
			add(o, step{kind: isNot}, o.call, o.end)
			open(o, 1+late)
		default:
			open(o, 1+late)
		}
	}
	add(operation{}, step{kind: ends}, last+1, last+2)
	return all
}

// linearizable checks the history of one partition.
func linearizable(ops []operation, a allowances) bool {
	return porcupine.CheckOperations(register(), steps(ops, a))
}
