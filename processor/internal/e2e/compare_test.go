package e2e

import (
	"os"
	"testing"
)

// loop is what claims the partitions of an owner.
type loop string

const (
	run      loop = ""         // processor.Run
	adapted  loop = "adapted"  // an azeventhubs Processor with processor.Adapt
	official loop = "official" // an azeventhubs Processor with the store of azeventhubs/v2
)

// variant is an owner's loop and, for a Processor, its strategy.
type variant struct {
	name   string
	loop   loop
	greedy bool
}

// variants are those that hold what this module promises.
var variants = []variant{
	{"Run", run, false},
	{"Adapt, balanced", adapted, false},
	{"Adapt, greedy", adapted, true},
}

// as is the config of an owner of a variant.
func (c config) as(v variant) config {
	c.Loop, c.Greedy = v.loop, v.greedy
	return c
}

// compare runs the official store beside ours where the outcome differs.
func compare() bool { return os.Getenv("E2E_COMPARE") != "" }

// both runs a test for Run and for Adapt, beside each other.
func both(t *testing.T, test func(t *testing.T, v variant)) {
	for _, v := range []variant{{"Run", run, false}, {"Adapt", adapted, true}} {
		t.Run(v.name, func(t *testing.T) {
			parallel(t)
			test(t, v)
		})
	}
}

// eachLoop runs a test for Run, for Adapt and, to compare, for the official store.
func eachLoop(t *testing.T, test func(t *testing.T, v variant)) {
	for _, v := range []variant{{"Run", run, false}, {"Adapt", adapted, true}, {"official store", official, true}} {
		if v.loop != official || compare() {
			t.Run(v.name, func(t *testing.T) { test(t, v) })
		}
	}
}
