package processor

import (
	"context"
	"errors"
	"time"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/progress"
)

// Hooks are functions that a [Processor] calls when something has happened, for
// metrics and tests. Each may be nil. Several may be called at once, from the
// goroutines that do the work: they must return soon, and must not wait for the
// Processor. Later versions may add fields to their arguments.
type Hooks struct {
	// Claim is called for each attempt to write an ownership record.
	Claim func(ClaimInfo)

	// TenureEnd is called when a partition is no longer handled: it was lost, or is
	// about to be released.
	TenureEnd func(TenureEndInfo)

	// Checkpoint is called for each attempt to store a checkpoint.
	Checkpoint func(CheckpointInfo)

	// HandlerStart and HandlerEnd are called before and after each call of the
	// [Handler].
	HandlerStart func(HandlerStartInfo)
	HandlerEnd   func(HandlerEndInfo)

	// BatchEnd is called after each call of the handler of [Batches].
	BatchEnd func(BatchEndInfo)

	// Restart is called when a handler will be called again in the same tenure.
	Restart func(RestartInfo)

	// Outage is called when a kind of request fails for the first time in a row, and
	// when it works again.
	Outage func(OutageInfo)
}

// ClaimOutcome is the result of writing an ownership record.
type ClaimOutcome string

// The results of writing an ownership record.
const (
	ClaimWon      ClaimOutcome = "won"      // a tenure begins
	ClaimRenewed  ClaimOutcome = "renewed"  // the tenure goes on
	ClaimReleased ClaimOutcome = "released" // the partition has no owner
	ClaimLost     ClaimOutcome = "lost"     // another owner was faster
	ClaimFailed   ClaimOutcome = "failed"   // the outcome is unknown until the next list
)

// ClaimInfo describes an attempt to write an ownership record.
type ClaimInfo struct {
	PartitionID string
	Outcome     ClaimOutcome
	Err         error // if it failed
}

// TenureEndInfo describes the end of a tenure.
type TenureEndInfo struct {
	PartitionID string
	Cause       error         // what [context.Cause] told the handler; [ErrPartitionLost] wins for a loss
	Owned       time.Duration // since the partition was won
}

// CheckpointInfo describes an attempt to store a checkpoint.
type CheckpointInfo struct {
	PartitionID    string
	SequenceNumber int64
	Coalesced      int // positions that this one stands for, itself left out
	Duration       time.Duration

	// Err is nil if the checkpoint is stored. It is stale or rewound if [errors.Is]
	// finds [checkpointstore.ErrStaleCheckpoint] or [checkpointstore.ErrRewound] in
	// it; otherwise it failed.
	Err error
}

// HandlerStartInfo describes a call of the handler.
type HandlerStartInfo struct {
	PartitionID string
}

// HandlerEndInfo describes the end of a call of the handler.
type HandlerEndInfo struct {
	PartitionID string
	Cause       error // with which its context had ended; nil if it had not
	Err         error // what it returned
	Duration    time.Duration
}

// BatchEndInfo describes the end of a call of the handler of [Batches].
type BatchEndInfo struct {
	PartitionID string
	Events      int
	Attempt     int
	Duration    time.Duration
	Err         error // what it returned
}

// RestartInfo describes a handler that will be called again.
type RestartInfo struct {
	PartitionID string
	Err         error // why the last one or its link ended; nil if the handler returned nil
	Failures    int   // in a row
	Delay       time.Duration
}

// OutageInfo describes the beginning or the end of a time in which one kind of
// request fails.
type OutageInfo struct {
	Operation string    // "listing ownerships", "claiming", …
	Began     time.Time // when the first of the failures was noticed
	Err       error     // of the first failure; nil when the outage is over
}

func (p *Processor) hookClaims(claims, won []checkpointstore.Ownership, err error) {
	hooks := p.options.Hooks
	if hooks == nil || hooks.Claim == nil {
		return
	}
	wins := make(map[string]bool, len(won))
	for _, w := range won {
		wins[w.PartitionID] = true
	}
	failures := make(map[string]error)
	var each *checkpointstore.PartitionErrors
	if errors.As(err, &each) {
		for _, e := range each.Errors {
			failures[e.PartitionID] = e
		}
	}
	for _, c := range claims {
		info := ClaimInfo{PartitionID: c.PartitionID, Outcome: ClaimLost}
		failed := failures[c.PartitionID]
		if each == nil {
			failed = err
		}
		switch {
		case !wins[c.PartitionID] && failed != nil:
			info.Outcome, info.Err = ClaimFailed, failed
		case !wins[c.PartitionID]: // lost
		case c.OwnerID == "":
			info.Outcome = ClaimReleased
		case p.tenures[c.PartitionID] != nil:
			info.Outcome = ClaimRenewed
		default:
			info.Outcome = ClaimWon
		}
		hooks.Claim(info)
	}
}

func (p *Processor) hookTenureEnd(t *tenure) {
	if h := p.options.Hooks; h != nil && h.TenureEnd != nil {
		h.TenureEnd(TenureEndInfo{PartitionID: t.id, Cause: context.Cause(t.ctx), Owned: time.Since(t.status.OwnedSince)})
	}
}

func (p *Processor) hookCheckpoint(t *tenure, sequenceNumber int64, coalesced int, d time.Duration, err error) {
	if h := p.options.Hooks; h != nil && h.Checkpoint != nil {
		h.Checkpoint(CheckpointInfo{PartitionID: t.id, SequenceNumber: sequenceNumber, Coalesced: coalesced, Duration: d, Err: err})
	}
}

func (p *Processor) hookHandlerStart(t *tenure) {
	if h := p.options.Hooks; h != nil && h.HandlerStart != nil {
		h.HandlerStart(HandlerStartInfo{PartitionID: t.id})
	}
}

func (p *Processor) hookHandlerEnd(t *tenure, d time.Duration, cause, err error) {
	if h := p.options.Hooks; h != nil && h.HandlerEnd != nil {
		h.HandlerEnd(HandlerEndInfo{PartitionID: t.id, Cause: cause, Err: err, Duration: d})
	}
}

func (p *Processor) hookBatch(t *tenure, events, attempt int, d time.Duration, err error) {
	if h := p.options.Hooks; h != nil && h.BatchEnd != nil {
		h.BatchEnd(BatchEndInfo{PartitionID: t.id, Events: events, Attempt: attempt, Duration: d, Err: err})
	}
}

func (p *Processor) hookRestart(t *tenure, err error, failures int, delay time.Duration) {
	if h := p.options.Hooks; h != nil && h.Restart != nil {
		h.Restart(RestartInfo{PartitionID: t.id, Err: err, Failures: failures, Delay: delay})
	}
}

func (p *Processor) hookOutage(op operation, began time.Time, err error) {
	if h := p.options.Hooks; h != nil && h.Outage != nil {
		h.Outage(OutageInfo{Operation: string(op), Began: began, Err: err})
	}
}

// noteWrite takes in an attempt of [Batches] to store a position.
func (p *Processor) noteWrite(t *tenure, w progress.Write) {
	failed := w.Err
	if errors.Is(failed, checkpointstore.ErrStaleCheckpoint) { // or rewound: it is not tried again
		failed = nil
	}
	p.mu.Lock()
	before := t.status.CheckpointError
	t.status.CheckpointError = failed
	p.mu.Unlock()
	if failed != nil && before == nil {
		t.log.Warn("a checkpoint could not be stored; it is tried again", "sequenceNumber", w.Position.SequenceNumber, "error", failed)
	}
	p.hookCheckpoint(t, w.Position.SequenceNumber, w.Coalesced, w.Duration, w.Err)
}
