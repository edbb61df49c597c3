package proof

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// action is what an operation does to the record of one partition.
type action int

const (
	claims action = iota
	reads
	deletes
)

// result is what the caller learned of a claim.
type result int

const (
	won result = iota
	lost
	unknown // an error: the claim may take effect at any time, or never
)

// operation is the part of a call that concerns one partition, as its caller sees it.
type operation struct {
	id        int
	who       string
	action    action
	partition string

	on     string // the ETag that a claim names; "" for none
	owner  string // that a claim writes or a read returns; "" is relinquished
	result result
	etag   string // that a claim got or a read returned; "" for no record
	why    string // the error of an unknown claim

	call, end int64 // of a clock that ticks with each; no two are equal
}

func (o operation) String() string {
	span := fmt.Sprintf("[%4d %4d]  %-9s ", o.call, o.end, o.who)
	switch o.action {
	case reads:
		return span + "reads  " + state{etag: o.etag, owner: o.owner}.String()
	case deletes:
		return span + "deletes"
	}
	text := fmt.Sprintf("%sclaims on %-8s for %-9s ", span, cmp.Or(o.on, "none"), cmp.Or(o.owner, "nobody"))
	switch o.result {
	case won:
		return text + "-> won, " + o.etag
	case lost:
		return text + "-> lost"
	}
	return text + "-> unknown: " + o.why
}

// history holds the operations in the order in which they were noted.
type history struct {
	clock atomic.Int64
	mu    sync.Mutex // guards all
	all   []operation
}

func (h *history) tick() int64 { return h.clock.Add(1) }

// note adds an operation that began at call and ends now.
func (h *history) note(call int64, ops ...operation) {
	end := h.tick()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range ops {
		o.id, o.call, o.end = len(h.all)+1, call, end
		h.all = append(h.all, o)
	}
}

// byPartition returns the operations of each partition, in the order of their calls.
func (h *history) byPartition() map[string][]operation {
	h.mu.Lock()
	defer h.mu.Unlock()
	by := make(map[string][]operation)
	for _, o := range h.all {
		by[o.partition] = append(by[o.partition], o)
	}
	for _, ops := range by {
		slices.SortFunc(ops, func(a, b operation) int { return cmp.Compare(a.call, b.call) })
	}
	return by
}

func format(ops []operation) string {
	var b strings.Builder
	for _, o := range ops {
		fmt.Fprintln(&b, "  "+o.String())
	}
	return b.String()
}
