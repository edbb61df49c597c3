package fence

import (
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strings"
	"testing"
)

// The model: one checkpoint record and one ownership record on a server that
// takes one request at a time, up to two stores with a Partition each, and
// actors, each of which runs a program of its own on a store or as somebody who
// uses none. A request is issued, applied and answered in three separate steps,
// and all orders of all steps are explored.

type opKind int8

const (
	list       opKind = iota // list, and tell the partition
	reread                   // read this one partition, and tell it
	win                      // claim on the ownership record as it is, for the store's first owner id
	winOther                 // the same for its second owner id
	renew                    // claim on the store's own last win
	relinquish               // the same, giving the partition up
	update                   // fenced
	first                    // fenced, only if nothing is stored
	rewind                   // fenced, with Rewind
	put                      // by a package without generations, unconditional
	remove                   // by somebody else, unconditional
)

var opNames = []string{"list", "read", "win", "win for another owner", "renew", "relinquish", "update", "first", "rewind", "put", "delete"}

func (k opKind) String() string { return opNames[k] }

type op struct {
	kind opKind
	seq  int64
}

func (o op) String() string {
	if o.kind >= update && o.kind <= put {
		return fmt.Sprintf("%v %d", o.kind, o.seq)
	}
	return o.kind.String()
}

// A program is what one actor does, one operation after the other.
type program struct {
	store int // nobody: -1
	ops   []op
}

const nobody = -1

// A config is a situation to explore.
type config struct {
	record   Record // what is stored at first
	faults   int8   // how many answers to checkpoint writes may get lost
	programs []program
}

type phase int8

const (
	idle     phase = iota
	asked          // an update waits for its partition
	sent           // a request is on its way
	answered       // it was applied, its answer is on its way
)

type request struct {
	read, write, claim bool
	on                 string // the ETag that a write or claim is conditional on, "" = none must be there
	op                 op
	generation         int64 // that a write stores
	basis              int64 // that its update belongs to, by the rules
	owner              string
}

type outcome int8

const (
	wasWritten outcome = iota
	refused
	gone
)

type answer struct {
	outcome outcome
	etag    string
	record  Record
}

// nowhere is a position behind all others.
const nowhere = math.MinInt64

// store is a Partition, and beside it what it has to know by the rules, kept
// without asking the Partition.
type store struct {
	p      Partition
	win    string // ETag of the last win that it was told of
	owner  string // of that win, "" = relinquished
	tenure int8

	looked  bool  // whether the tenure has had its first look
	basis   int64 // the generation of that look, or of a rewind of this store since; until then, that of the tenure before
	later   int64 // the latest generation that a look of the tenure has shown
	first   int64 // the generation of the very first look
	any     bool  // whether there was one
	refused bool  // whether an update was refused for its generation
	lastOwn int64 // the position that it was told last in this tenure to have stored
	maxOwn  int64 // the furthest of them, in its generation
}

// generation is what an update belongs to that is asked for now. free tells that
// it may be any.
func (s *store) generation() (generation int64, free bool) {
	return s.basis, s.tenure == 0 && !s.looked
}

func (s *store) look(generation int64) {
	s.later = max(s.later, generation)
	if !s.any {
		s.any, s.first = true, generation
	}
	if !s.looked {
		s.looked, s.basis, s.refused, s.lastOwn = true, generation, false, nowhere
	}
}

type actor struct {
	next  int8
	phase phase
	req   request
	ans   answer

	updating bool
	u        Update
	tenure   int8  // in which the update was asked for
	basis    int64 // what it belongs to, by the rules
	free     bool  // it may belong to any generation
	present  bool  // whether the record had the update's position since, in a generation that counts
	ahead    bool  // whether it was further on, in any
	existed  bool  // whether there was a record
	latest   int64 // the latest generation that it was of
	faulted  bool
	requests int8
	changes  int8 // of the record since the update began
}

// world is all of it: a comparable value, copied at every step.
type world struct {
	record Record
	owner  string
	writes int8
	claims int8
	faults int8
	stores [2]store
	actors [4]actor
	late   [3]request // writes that were given up and may arrive yet
	loose  bool       // whether somebody without a fence wrote or deleted the record
	high   int64      // the furthest position that anybody was told to be stored, in the generation of the last rewind
	gen    int64      // the latest generation that anybody was told to have begun
}

// explorer walks all schedules of a config.
type explorer struct {
	config
	seed    maphash.Seed
	visited map[uint64]bool
	moves   int
	ends    int
	path    []string // to the failure, backwards
	spare   []*world // so that not every move makes one
}

// explore fails the test at the first schedule that breaks an invariant.
func explore(t *testing.T, c config) {
	t.Helper()
	x := &explorer{config: c, visited: make(map[uint64]bool), seed: maphash.MakeSeed()}
	w := world{record: c.record, faults: c.faults, high: nowhere}
	for i := range w.stores {
		w.stores[i] = store{lastOwn: nowhere, maxOwn: nowhere}
	}
	if err := x.walk(&w); err != nil {
		slices.Reverse(x.path)
		t.Fatalf("%v\nschedule:\n  %s", err, strings.Join(x.path, "\n  "))
	}
	if x.ends == 0 {
		t.Fatal("no schedule came to its end")
	}
	t.Logf("%d states, %d ends", len(x.visited), x.ends)
}

// walk explores what can follow on a state.
func (x *explorer) walk(w *world) error {
	id := maphash.Comparable(x.seed, *w) // of 100,000 states no two have the same, but for one run in a billion
	if x.visited[id] {
		return nil
	}
	x.visited[id] = true
	before := x.moves
	for i := range x.programs {
		if err := x.next(w, i); err != nil {
			return err
		}
	}
	if x.moves == before {
		x.ends++
		if err := w.checkEnd(); err != nil {
			return err
		}
	}
	for i := range w.late {
		if w.late[i].write {
			err := x.try(w, func(w *world) error {
				req := w.late[i]
				w.late[i] = request{}
				_, err := w.applyWrite(req)
				return err
			})
			if err != nil {
				x.path = append(x.path, fmt.Sprintf("the late %v arrives", w.late[i].op))
				return err
			}
		}
	}
	return nil
}

// try makes a move and explores what can follow on it.
func (x *explorer) try(w *world, move func(*world) error) error {
	x.moves++
	if len(x.spare) == 0 {
		x.spare = append(x.spare, new(world))
	}
	next := x.spare[len(x.spare)-1]
	x.spare = x.spare[:len(x.spare)-1]
	*next = *w
	err := move(next)
	if err == nil {
		err = x.walk(next)
	}
	x.spare = append(x.spare, next)
	return err
}

// next tries everything that can happen to an actor next.
func (x *explorer) next(w *world, i int) error {
	prog, a := x.programs[i], &w.actors[i]
	if int(a.next) >= len(prog.ops) {
		return nil
	}
	o := prog.ops[a.next]
	try := func(what string, move func(*world) error) error {
		err := x.try(w, move)
		if err != nil {
			x.path = append(x.path, fmt.Sprintf("actor %d (store %d) %v: %s", i, prog.store, o, what))
		}
		return err
	}
	switch a.phase {
	case idle:
		return try("issued", func(w *world) error { return w.issue(prog.store, i, o) })
	case asked:
		if w.busy(x.programs, i) {
			return nil
		}
		return try("begins", func(w *world) error { return w.begin(prog.store, i) })
	case sent:
		if err := try("applied", func(w *world) error { return w.apply(i, gone) }); err != nil {
			return err
		}
		if a.req.write && a.req.on != "" && w.record.ETag == "" { // Azurite's answer
			if err := try("applied, 412", func(w *world) error { return w.apply(i, refused) }); err != nil {
				return err
			}
		}
		if slot := w.freeSlot(); a.req.write && w.faults > 0 && slot >= 0 {
			return try("given up on its way", func(w *world) error {
				w.late[slot] = w.actors[i].req
				return w.loseAnswer(prog.store, i)
			})
		}
	case answered:
		if err := try("answered", func(w *world) error { return w.deliver(prog.store, i) }); err != nil {
			return err
		}
		if a.req.write && w.faults > 0 {
			return try("answer lost", func(w *world) error { return w.loseAnswer(prog.store, i) })
		}
	}
	return nil
}

// busy reports whether another update of the same store is on its way: they are
// sent one after another.
func (w *world) busy(programs []program, ai int) bool {
	for i := range programs {
		if a := &w.actors[i]; i != ai && programs[i].store == programs[ai].store && a.updating && a.phase != asked {
			return true
		}
	}
	return false
}

func (w *world) freeSlot() int {
	for i := range w.late {
		if !w.late[i].write {
			return i
		}
	}
	return -1
}
