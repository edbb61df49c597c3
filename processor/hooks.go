package processor

import (
	"context"
	"errors"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/progress"
)

// Hooks are functions that a [Processor] calls when something has happened, for
// metrics and tests. Each may be nil. Several may be called at once, from the
// goroutines that do the work: they must return soon, and must not wait for the
// Processor. Several Processors may have the same hooks. Later versions may add
// fields to their arguments.
type Hooks struct {
	// RunStart is called when Run begins, and RunEnd when it is about to return.
	RunStart func(RunStartInfo)
	RunEnd   func(RunEndInfo)

	// Claim is called for each attempt to write an ownership record.
	Claim func(ClaimInfo)

	// TenureEnd is called when a partition is no longer handled: it was lost, or is
	// about to be released.
	TenureEnd func(TenureEndInfo)

	// Receive is called when events have arrived, before the handler gets them.
	Receive func(ReceiveInfo)

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

// JoinHooks returns hooks that call those of each argument, in their order. Nil
// arguments are left out.
func JoinHooks(hooks ...*Hooks) *Hooks {
	var all Hooks
	for _, h := range hooks {
		if h == nil {
			continue
		}
		all = Hooks{
			RunStart:     both(all.RunStart, h.RunStart),
			RunEnd:       both(all.RunEnd, h.RunEnd),
			Claim:        both(all.Claim, h.Claim),
			TenureEnd:    both(all.TenureEnd, h.TenureEnd),
			Receive:      both(all.Receive, h.Receive),
			Checkpoint:   both(all.Checkpoint, h.Checkpoint),
			HandlerStart: both(all.HandlerStart, h.HandlerStart),
			HandlerEnd:   both(all.HandlerEnd, h.HandlerEnd),
			BatchEnd:     both(all.BatchEnd, h.BatchEnd),
			Restart:      both(all.Restart, h.Restart),
			Outage:       both(all.Outage, h.Outage),
		}
	}
	return &all
}

// both returns a function that calls two, of which either may be nil.
func both[Info any](first, second func(Info)) func(Info) {
	switch {
	case first == nil:
		return second
	case second == nil:
		return first
	}
	return func(info Info) {
		first(info)
		second(info)
	}
}

// RunStartInfo describes a Processor whose Run begins.
type RunStartInfo struct {
	Processor *Processor
	EventHub  EventHub // what it reads
}

// RunEndInfo describes a Processor whose Run is about to return.
type RunEndInfo struct {
	Processor *Processor
	Err       error // what Run returns
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
	Scope       checkpointstore.Scope
	PartitionID string
	Outcome     ClaimOutcome
	Err         error // if it failed
}

// TenureEndInfo describes the end of a tenure.
type TenureEndInfo struct {
	Scope       checkpointstore.Scope
	PartitionID string
	Cause       error         // what [context.Cause] told the handler; [ErrPartitionLost] wins for a loss
	Owned       time.Duration // since the partition was won
}

// ReceiveInfo describes events that have arrived.
type ReceiveInfo struct {
	Scope       checkpointstore.Scope
	PartitionID string
	Events      []*azeventhubs.ReceivedEventData // the handler's: not to be kept or changed
	Duration    time.Duration                    // of the receive, the wait for events included
}

// CheckpointInfo describes an attempt to store a checkpoint.
type CheckpointInfo struct {
	Scope          checkpointstore.Scope
	PartitionID    string
	SequenceNumber int64
	Coalesced      int // positions that this one stands for, itself left out; the next attempt after an error counts them again
	Duration       time.Duration

	// Err is nil if the checkpoint is stored. It is stale or rewound if [errors.Is]
	// finds [checkpointstore.ErrStaleCheckpoint] or [checkpointstore.ErrRewound] in
	// it; otherwise it failed.
	Err error
}

// HandlerStartInfo describes a call of the handler.
type HandlerStartInfo struct {
	Scope       checkpointstore.Scope
	PartitionID string
}

// HandlerEndInfo describes the end of a call of the handler.
type HandlerEndInfo struct {
	Scope       checkpointstore.Scope
	PartitionID string
	Cause       error // with which its context had ended; nil if it had not
	Err         error // what it returned
	Duration    time.Duration
}

// BatchEndInfo describes the end of a call of the handler of [Batches].
type BatchEndInfo struct {
	Scope       checkpointstore.Scope
	PartitionID string
	Events      int
	Attempt     int
	Duration    time.Duration
	Err         error // what it returned
}

// RestartInfo describes a handler that will be called again.
type RestartInfo struct {
	Scope       checkpointstore.Scope
	PartitionID string
	Err         error // why the last one or its link ended; nil if the handler returned nil
	Failures    int   // in a row
	Delay       time.Duration
}

// OutageInfo describes the beginning or the end of a time in which one kind of
// request fails.
type OutageInfo struct {
	Scope     checkpointstore.Scope // without names until the hub was read
	Operation string                // "listing ownerships", "claiming", …
	Began     time.Time             // when the first of the failures was noticed
	Err       error                 // of the first failure; nil when the outage is over
}

func (p *Processor) hookRunStart() {
	if h := p.options.Hooks; h != nil && h.RunStart != nil {
		h.RunStart(RunStartInfo{Processor: p, EventHub: p.hub})
	}
}

func (p *Processor) hookRunEnd(err error) {
	if h := p.options.Hooks; h != nil && h.RunEnd != nil {
		h.RunEnd(RunEndInfo{Processor: p, Err: err})
	}
}

func (p *Processor) hookReceive(t *tenure, events []*azeventhubs.ReceivedEventData, d time.Duration) {
	if h := p.options.Hooks; h != nil && h.Receive != nil {
		h.Receive(ReceiveInfo{Scope: p.scope(), PartitionID: t.id, Events: events, Duration: d})
	}
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
		info := ClaimInfo{Scope: p.scope(), PartitionID: c.PartitionID, Outcome: ClaimLost}
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
		h.TenureEnd(TenureEndInfo{Scope: p.scope(), PartitionID: t.id, Cause: context.Cause(t.ctx), Owned: time.Since(t.status.OwnedSince)})
	}
}

func (p *Processor) hookCheckpoint(t *tenure, sequenceNumber int64, coalesced int, d time.Duration, err error) {
	if h := p.options.Hooks; h != nil && h.Checkpoint != nil {
		h.Checkpoint(CheckpointInfo{Scope: p.scope(), PartitionID: t.id, SequenceNumber: sequenceNumber, Coalesced: coalesced, Duration: d, Err: err})
	}
}

func (p *Processor) hookHandlerStart(t *tenure) {
	if h := p.options.Hooks; h != nil && h.HandlerStart != nil {
		h.HandlerStart(HandlerStartInfo{Scope: p.scope(), PartitionID: t.id})
	}
}

func (p *Processor) hookHandlerEnd(t *tenure, d time.Duration, cause, err error) {
	if h := p.options.Hooks; h != nil && h.HandlerEnd != nil {
		h.HandlerEnd(HandlerEndInfo{Scope: p.scope(), PartitionID: t.id, Cause: cause, Err: err, Duration: d})
	}
}

func (p *Processor) hookBatch(t *tenure, events, attempt int, d time.Duration, err error) {
	if h := p.options.Hooks; h != nil && h.BatchEnd != nil {
		h.BatchEnd(BatchEndInfo{Scope: p.scope(), PartitionID: t.id, Events: events, Attempt: attempt, Duration: d, Err: err})
	}
}

func (p *Processor) hookRestart(t *tenure, err error, failures int, delay time.Duration) {
	if h := p.options.Hooks; h != nil && h.Restart != nil {
		h.Restart(RestartInfo{Scope: p.scope(), PartitionID: t.id, Err: err, Failures: failures, Delay: delay})
	}
}

func (p *Processor) hookOutage(op operation, began time.Time, err error) {
	if h := p.options.Hooks; h != nil && h.Outage != nil {
		h.Outage(OutageInfo{Scope: p.scope(), Operation: string(op), Began: began, Err: err})
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
