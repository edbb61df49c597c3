// Package workload says what is measured: which calls, on how many records, at
// which latency, against which back end.
package workload

import (
	"strconv"
	"time"

	"github.com/ea947076/checkpointstore/bench/internal/backend"
	"github.com/ea947076/checkpointstore/bench/internal/subject"
)

// Kind is a call in a state of things.
type Kind string

const (
	Claim           Kind = "claim"                      // of partitions that nobody has
	Renew           Kind = "renew"                      // of partitions that were won before
	FirstCheckpoint Kind = "first checkpoint"           // of a partition that was claimed, after a list
	UnlistedFirst   Kind = "first checkpoint, unlisted" // without claim or list before
	Steady          Kind = "checkpoint"                 // after one by the same store
	Get             Kind = "get checkpoint"
	ListOwnership   Kind = "list ownership"
	ListCheckpoints Kind = "list checkpoints"
)

// The consumer groups. The second is not spelled as this module's store writes
// it, which looks under both spellings then.
const (
	plainGroup   = "readers"
	defaultGroup = "$Default"
)

// Work is one line of a table.
type Work struct {
	Backend string
	Kind    Kind
	Records int // partitions claimed or blobs listed; 1 for checkpoints
	Latency time.Duration
	Default bool // the consumer group is $Default
	Handed  bool // the stores are handed a client with the Azure SDK's transport
}

// Label is the kind, with what is special about it.
func (w Work) Label() string {
	label := string(w.Kind)
	if w.Default {
		label += ", " + defaultGroup
	}
	if w.Handed {
		label += ", client handed in"
	}
	return label
}

// Name tells it from all others.
func (w Work) Name() string {
	return w.Backend + "/" + w.Label() + "/" + strconv.Itoa(w.Records) + "/" + w.Latency.String()
}

// Subjects are who does it.
func (w Work) Subjects() []string {
	names := subject.Names()
	if w.Kind == Get { // the official store has no such call
		names = []string{subject.Ours, subject.Bare}
	}
	if w.Backend == backend.InProcess {
		names = append(names, subject.Bounded)
	}
	return names
}

// lists tells whether it reads records that have to be there.
func (w Work) lists() bool { return w.Kind == ListOwnership || w.Kind == ListCheckpoints }

// oneByOne is how long its requests take if they are sent one after another, at
// the least.
func (w Work) oneByOne() time.Duration {
	latency := w.Latency
	if w.Backend == backend.Azurite {
		latency = time.Millisecond
	}
	if w.lists() {
		return latency
	}
	return time.Duration(w.Records) * latency
}

// Rounds is how often it is measured: what takes the official store long, less often.
func (w Work) Rounds() int {
	switch {
	case w.oneByOne() > 4*time.Second, w.Backend == backend.Azurite && w.Records > 32:
		return 3
	case w.oneByOne() > time.Second, w.Backend == backend.Azurite:
		return 5
	}
	return 7
}

// TwoSpellings tells whether the store reads under the group's name as typed too,
// which the official store has no reason to.
func (w Work) TwoSpellings() bool {
	return w.Default && (w.Kind == ListCheckpoints || w.Kind == Get)
}

// OneRequestEach tells whether the store sends what the bare calls send.
func (w Work) OneRequestEach() bool { return w.Kind != UnlistedFirst && !w.TwoSpellings() }
