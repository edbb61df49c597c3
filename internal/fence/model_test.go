package fence

import (
	"fmt"
	"hash/maphash"
	"math"
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
	win                      // claim on the ownership record as it is
	renew                    // claim on the store's own last win
	relinquish               // the same, giving the partition up
	update                   // fenced
	rewind                   // fenced, with Rewind
	put                      // by somebody else, unconditional
	remove                   // by somebody else, unconditional
)

func (k opKind) String() string {
	return [...]string{"list", "win", "renew", "relinquish", "update", "rewind", "put", "delete"}[k]
}

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
	record   Record // what is stored at first; its ETag is "e0"
	faults   int8   // how many answers to checkpoint writes may get lost
	programs []program
}

type phase int8

const (
	idle     phase = iota
	sent           // a request is on its way
	answered       // it was applied, its answer is on its way
)

type request struct {
	read, write, claim bool
	on                 string // the ETag that a write or claim is conditional on, "" = none must be there
	op                 op
	sight              string // what the update may go back behind
}

type outcome int8

const (
	written outcome = iota
	refused
	gone
)

type answer struct {
	outcome outcome
	etag    string
	record  Record
}

// unseen stands for the first sight of a tenure that has seen nothing.
const unseen = "unseen"

// none is a position behind all others.
const none = math.MinInt64

// store is a Partition, and beside it what a tenure is by the rules, kept
// without asking the Partition.
type store struct {
	p       Partition
	win     string // ETag of the last win that it was told of
	gaveUp  bool
	tenure  int8
	sight   string // ETag of the record that the tenure saw first, "" = absent
	lastOwn int64  // the position that it was told last in this tenure to have stored
	maxOwn  int64  // the furthest of them
}

type actor struct {
	next  int8
	phase phase
	req   request
	ans   answer

	updating bool
	u        Update
	tenure   int8   // in which the update began
	sight    string // that tenure's first sight
	present  bool   // whether the record had the update's position since it began
	ahead    bool   // whether it was further on
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
	back   bool       // whether anything has gone back that may
	high   int64      // the furthest position that anybody was told to be stored
}

// explorer walks all schedules of a config.
type explorer struct {
	config
	seed    [2]maphash.Seed
	visited map[[2]uint64]bool
	path    []string
	ends    int
}

// explore fails the test at the first schedule that breaks an invariant.
func explore(t *testing.T, c config) {
	t.Helper()
	x := &explorer{config: c, visited: make(map[[2]uint64]bool), seed: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
	w := world{record: c.record, faults: c.faults, high: none}
	if w.record.Readable || w.record.SequenceNumber != 0 {
		w.record.ETag = "e0"
	}
	for i := range w.stores {
		w.stores[i] = store{sight: unseen, lastOwn: none, maxOwn: none}
	}
	if err := x.walk(w); err != nil {
		t.Fatalf("%v\nschedule:\n  %s", err, strings.Join(x.path, "\n  "))
	}
	if x.ends == 0 {
		t.Fatal("no schedule came to its end")
	}
	t.Logf("%d states, %d ends", len(x.visited), x.ends)
}

func (x *explorer) walk(w world) error {
	id := [2]uint64{maphash.Comparable(x.seed[0], w), maphash.Comparable(x.seed[1], w)}
	if x.visited[id] {
		return nil
	}
	x.visited[id] = true
	moved := false
	try := func(label string, move func(*world) error) error {
		moved = true
		next := w
		x.path = append(x.path, label)
		if err := move(&next); err != nil {
			return err
		}
		if err := x.walk(next); err != nil {
			return err
		}
		x.path = x.path[:len(x.path)-1]
		return nil
	}
	for i := range x.programs {
		if err := x.moves(&w, i, try); err != nil {
			return err
		}
	}
	if !moved {
		x.ends++
		if err := w.checkEnd(); err != nil {
			return err
		}
	}
	for i := range w.late {
		if w.late[i].write {
			err := try(fmt.Sprintf("the late %v arrives", w.late[i].op), func(w *world) error {
				req := w.late[i]
				w.late[i] = request{}
				_, err := w.applyWrite(req)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// moves tries everything that can happen to an actor next.
func (x *explorer) moves(w *world, i int, try func(string, func(*world) error) error) error {
	prog, a := x.programs[i], &w.actors[i]
	if int(a.next) >= len(prog.ops) {
		return nil
	}
	o := prog.ops[a.next]
	who := fmt.Sprintf("actor %d (store %d) %v: ", i, prog.store, o)
	switch a.phase {
	case idle:
		return try(who+"issued", func(w *world) error { return w.issue(prog.store, i, o) })
	case sent:
		if err := try(who+"applied", func(w *world) error { return w.apply(i, gone) }); err != nil {
			return err
		}
		if a.req.write && a.req.on != "" && w.record.absent() { // Azurite's answer
			if err := try(who+"applied, 412", func(w *world) error { return w.apply(i, refused) }); err != nil {
				return err
			}
		}
		if slot := w.freeSlot(); a.req.write && w.faults > 0 && slot >= 0 {
			return try(who+"given up on its way", func(w *world) error {
				w.late[slot] = w.actors[i].req
				return w.loseAnswer(prog.store, i)
			})
		}
	case answered:
		if err := try(who+"answered", func(w *world) error { return w.deliver(prog.store, i) }); err != nil {
			return err
		}
		if a.req.write && w.faults > 0 {
			return try(who+"answer lost", func(w *world) error { return w.loseAnswer(prog.store, i) })
		}
	}
	return nil
}

func (w *world) freeSlot() int {
	for i := range w.late {
		if !w.late[i].write {
			return i
		}
	}
	return -1
}
