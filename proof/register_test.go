package proof

import (
	"cmp"
	"fmt"
	"math"

	"github.com/anishathalye/porcupine"
)

// The model is a register with compare-and-swap for each partition. Its value is an owner, and its version is the ETag. The
// ETag belongs to the state: an owner that renews writes the same value with another ETag.
//
// The model uses only what callers see, and nothing of the service:
//
//   - A claim that was won found the ETag that it names, and set the one that it returned.
//   - A claim that was lost was, at some moment of the call, neither on the stored ETag nor the writer of the stored state.
//     (It may have taken effect and been overwritten within the call: then it does not own the partition either. As ETags
//     never return, it cannot take effect after that moment.)
//   - A claim that ended with an error takes effect once, at any time from the call on, or never. Its ETag is unknown until
//     the first read: the register is unbound until then, and that read binds it.
//   - A read returned the state.
//
// A claim that may or may not take effect would make the model nondeterministic and its search long. Instead, the history has
// an end, which is an operation after all others that returned. Such an open claim takes effect if it comes before the end,
// and has none if it comes after the end.
//
// Somebody may delete a record. Then a claim on its last ETag may create it again, and so may any request that is still on its
// way with the condition that there is no record, whatever the claim's result was: see [steps].

// state is the register.
type state struct {
	etag    string // "" for no record
	owner   string
	writer  int  // id of the claim that wrote it
	unbound bool // the ETag is not known yet, and etag is [unboundETag]
	deleted bool // there is no record because somebody deleted it
	over    bool // after the end of the history
}

func (s state) String() string {
	switch {
	case s.etag == "":
		return "no record"
	case s.unbound:
		return fmt.Sprintf("%s, ETag not read yet", cmp.Or(s.owner, "nobody"))
	}
	return fmt.Sprintf("%s %s", s.etag, cmp.Or(s.owner, "nobody"))
}

// stepKind is what an operation of the model does.
type stepKind int

const (
	wins     stepKind = iota
	may               // takes effect if it comes before the end
	isNot             // the state is neither what the claim names nor its effect
	finds             // read
	vanishes          // delete
	ends
)

// step is an operation of the model.
type step struct {
	kind stepKind
	operation
	fresh bool // of finds: no claim is known to have got the ETag, so an open claim may have
	anew  bool // of wins and may: also if there is no record
	same  bool // of wins: also if the record already has that owner and ETag
}

// unboundETag stands for an ETag that nobody has read yet.
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

// fits reports whether a claim's condition is met.
func (s state) fits(o step) bool {
	return s.etag == o.on || s.etag == "" && o.anew
}

// register returns the model for porcupine.
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

// steps returns the operations of the model for the operations of one partition.
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

// linearizable checks the operations of one partition.
func linearizable(ops []operation, a allowances) bool {
	return porcupine.CheckOperations(register(), steps(ops, a))
}
