package ops

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Target is where a reset moves to. Create it with one of the functions that return
// it. All but [ToPosition] and [ToExport] name the event to be handled next.
type Target struct {
	resolve func(*resetting, Partition, PartitionProperties) (destination, error)
	noHub   bool // it can be resolved without an event hub
}

// destination is a target's position in one partition.
type destination struct {
	Position
	why      string
	warnings []string
}

// skipped is the error of a partition that a target does not change.
type skipped string

func (s skipped) Error() string { return string(s) }

// ToEarliest moves to the oldest event that is kept, or if there is none to the next
// one that arrives. The position has the offset "-1".
func ToEarliest() Target {
	return Target{resolve: func(_ *resetting, _ Partition, at PartitionProperties) (destination, error) {
		return earliest(at), nil
	}}
}

// ToLatest moves to the next event that arrives.
func ToLatest() Target {
	return Target{resolve: func(_ *resetting, _ Partition, at PartitionProperties) (destination, error) {
		return latest(at), nil
	}}
}

// ToSequenceNumber moves to the event with a sequence number, or the first one after it.
func ToSequenceNumber(n int64) Target {
	return Target{resolve: func(r *resetting, p Partition, at PartitionProperties) (destination, error) {
		return r.before(p.ID, at, n)
	}}
}

// ToOffset moves to the event with an offset, or the first one after it. "-1" means
// [ToEarliest] and "@latest" means [ToLatest], as in Event Hubs.
func ToOffset(offset string) Target {
	return Target{resolve: func(r *resetting, p Partition, at PartitionProperties) (destination, error) {
		switch {
		case offset == "-1":
			return earliest(at), nil
		case offset == "@latest":
			return latest(at), nil
		case at.IsEmpty || isPast(offset, at.LastEnqueuedOffset):
			to := latest(at)
			to.warnings = append(to.warnings, fmt.Sprintf("no event has offset %s or comes after it", offset))
			return to, nil
		}
		event, err := r.readEvent(p.ID, ReadFrom{Offset: offset})
		switch {
		case err != nil:
			return destination{}, err
		case event == nil:
			return destination{}, fmt.Errorf("no event was read at offset %q or after it", offset)
		}
		to, err := r.before(p.ID, at, event.SequenceNumber)
		to.why = fmt.Sprintf("starts with event %d, at offset %s", event.SequenceNumber, event.Offset)
		if event.Offset != offset {
			to.warnings = append(to.warnings, fmt.Sprintf("no event has offset %s: the first one after it is taken", offset))
		}
		return to, err
	}}
}

// isPast reports whether an offset is after the last one. It is false if one of them
// is not a number, as in some namespaces.
func isPast(offset, last string) bool {
	m, errM := strconv.ParseInt(offset, 10, 64)
	n, errN := strconv.ParseInt(last, 10, 64)
	return errM == nil && errN == nil && m > n
}

// ToTime moves to the first event that was enqueued at a time or later.
func ToTime(t time.Time) Target {
	return Target{resolve: func(r *resetting, p Partition, at PartitionProperties) (destination, error) {
		return r.atTime(p.ID, at, t)
	}}
}

// Ago moves to the first event that was enqueued no longer than d ago, by the store's
// clock.
func Ago(d time.Duration) Target {
	return Target{resolve: func(r *resetting, p Partition, at PartitionProperties) (destination, error) {
		if r.snapshot.Time.IsZero() {
			return destination{}, errors.New("the store did not say its time: give the time itself")
		}
		return r.atTime(p.ID, at, r.snapshot.Time.Add(-d))
	}}
}

// ShiftBy moves n sequence numbers forward from the stored position, or back if n is
// negative. A partition without a position is skipped.
func ShiftBy(n int64) Target {
	return Target{resolve: func(r *resetting, p Partition, at PartitionProperties) (destination, error) {
		from := p.Position()
		if from == nil {
			return destination{}, skipped("there is no position to shift")
		}
		to, err := r.before(p.ID, at, add(add(from.SequenceNumber, 1), n))
		to.why = fmt.Sprintf("shifted by %+d: %s", n, to.why)
		return to, err
	}}
}

// ToPosition moves to exactly this position, of the last handled event. It needs no
// event hub. With one, a position out of range gets a warning.
func ToPosition(to Position) Target {
	return Target{noHub: true, resolve: func(r *resetting, p Partition, at PartitionProperties) (destination, error) {
		return r.exactly(to, at, "as given"), nil
	}}
}

// ToExport moves to exactly the positions of an export. It needs no event hub. With
// one, a position out of range gets a warning.
func ToExport(e *Export) Target {
	return Target{noHub: true, resolve: func(r *resetting, p Partition, at PartitionProperties) (destination, error) {
		i := slices.IndexFunc(e.Checkpoints, func(c ExportCheckpoint) bool { return c.PartitionID == p.ID })
		if i < 0 {
			return destination{}, skipped("it is not in the export")
		}
		to, bad := e.Checkpoints[i].position()
		if bad != "" {
			return destination{}, skipped("in the export " + bad)
		}
		return r.exactly(to, at, fmt.Sprintf("as exported at %s", e.Time.UTC().Format(time.RFC3339))), nil
	}}
}

// ResetOptions are the options of PlanReset. Nil is the same as the zero value.
type ResetOptions struct {
	// Partitions are the partitions to reset. Nil means all of the event hub, or
	// without an event hub all that have records.
	Partitions []string

	// Expiration is the consumers' PartitionExpirationDuration. Zero is
	// [DefaultExpiration].
	Expiration time.Duration

	// Hub limits the requests to the event hub.
	Hub HubOptions
}

// PlanReset plans to move a consumer group to a target. Every planned position has a
// sequence number and an offset: those of the event before the one to be handled next,
// which PlanReset reads if the hub's properties do not show them. A target before the
// oldest event that is kept becomes the earliest position, and one after the last event
// becomes the latest, with a warning.
//
// hub may be nil for [ToPosition] and [ToExport]. Events are read without an owner
// level, which Event Hubs refuses in a consumer group with live owners: if the group
// has any, pass a hub whose client reads another group.
//
// Errors are those of [Read] and of the event hub; one partition that cannot be read
// fails the plan. Requests: those of [Read] and [ReadHub], and for targets between the
// ends one or two short reads of each partition, or more if sequence numbers are
// missing.
func PlanReset(ctx context.Context, store Store, hub EventHub, scope Scope, target Target, options *ResetOptions) (*Plan, error) {
	if options == nil {
		options = &ResetOptions{}
	}
	if hub == nil && !target.noHub {
		return nil, errors.New("this target needs the event hub")
	}
	s, err := Read(ctx, store, scope, &ReadOptions{Expiration: options.Expiration})
	if err != nil {
		return nil, err
	}
	r := &resetting{ctx: ctx, snapshot: s, eventHub: hub, limiter: newLimiter(&options.Hub)}
	plan := newPlan(PlanToReset, s)
	plan.Rewind = true
	ids := options.Partitions
	if hub != nil {
		if r.hub, err = ReadHub(ctx, hub, &options.Hub); err != nil {
			return nil, err
		}
	}
	if ids == nil {
		ids = r.allPartitions()
	}
	ids = slices.Clone(ids)
	slices.SortFunc(ids, CompareIDs)
	ids = slices.Compact(ids)
	found := make([]destination, len(ids))
	errs := make([]error, len(ids))
	var all sync.WaitGroup
	for i, id := range ids {
		all.Go(func() { found[i], errs[i] = r.find(target, id) })
	}
	all.Wait()
	for i, id := range ids {
		var skip skipped
		switch {
		case errors.As(errs[i], &skip):
			plan.skip(id, "%s", skip)
		case errs[i] != nil:
			return nil, fmt.Errorf("partition %s: %w", id, errs[i])
		default:
			plan.move(s.Partition(id), found[i].Position, found[i].why, found[i].warnings)
		}
	}
	return plan, nil
}

// resetting is the state of one PlanReset call.
type resetting struct {
	ctx      context.Context
	snapshot *Snapshot
	eventHub EventHub
	hub      *Hub // nil without an event hub
	limiter  *limiter
}

func (r *resetting) allPartitions() []string {
	var ids []string
	if r.hub != nil {
		for _, p := range r.hub.Partitions {
			ids = append(ids, p.ID)
		}
		return ids
	}
	for _, p := range r.snapshot.Partitions {
		ids = append(ids, p.ID)
	}
	return ids
}

// find resolves the target in one partition.
func (r *resetting) find(target Target, id string) (destination, error) {
	var at PartitionProperties
	if r.hub != nil {
		p, found := r.hub.Partition(id)
		switch {
		case !found:
			return destination{}, errors.New("the event hub has no such partition")
		case p.Err != nil:
			return destination{}, p.Err
		}
		at = p.Properties
	}
	to, err := target.resolve(r, r.snapshot.Partition(id), at)
	if err == nil {
		err = to.check(r.snapshot.Scope, id)
	}
	return to, err
}

// firstKept returns the sequence number of the oldest event that is kept, or of the
// next one to arrive if there is none.
func (at PartitionProperties) firstKept() int64 {
	if at.IsEmpty {
		return at.LastEnqueuedSequenceNumber + 1
	}
	return at.BeginningSequenceNumber
}

func earliest(at PartitionProperties) destination {
	return destination{Position: Position{SequenceNumber: at.firstKept() - 1, Offset: "-1"}, why: "starts with the oldest event that is kept"}
}

func latest(at PartitionProperties) destination {
	to := destination{Position: Position{SequenceNumber: at.LastEnqueuedSequenceNumber, Offset: at.LastEnqueuedOffset}, why: "starts with the next event that arrives"}
	if at.LastEnqueuedSequenceNumber >= 0 {
		to.EnqueuedTime = &at.LastEnqueuedTime
	}
	return to
}

// exactly returns a given position, with a warning if it is out of range.
func (r *resetting) exactly(to Position, at PartitionProperties, why string) destination {
	d := destination{Position: to, why: why}
	switch {
	case r.hub == nil:
	case to.SequenceNumber < at.firstKept()-1:
		d.warnings = append(d.warnings, fmt.Sprintf("%d events after it are no longer kept", at.firstKept()-1-to.SequenceNumber))
	case to.SequenceNumber > at.LastEnqueuedSequenceNumber:
		d.warnings = append(d.warnings, fmt.Sprintf("it is past the last event, %d", at.LastEnqueuedSequenceNumber))
	}
	return d
}

// atTime returns the position before the first event enqueued at t or later.
func (r *resetting) atTime(id string, at PartitionProperties, t time.Time) (destination, error) {
	text := t.UTC().Format(time.RFC3339Nano)
	if at.IsEmpty || t.After(at.LastEnqueuedTime) {
		to := latest(at)
		to.warnings = append(to.warnings, fmt.Sprintf("no event was enqueued at %s or later", text))
		return to, nil
	}
	event, err := r.readEvent(id, ReadFrom{EnqueuedTime: &t})
	switch {
	case err != nil:
		return destination{}, err
	case event == nil:
		return destination{}, fmt.Errorf("no event enqueued at %s or later was read, but there is one", text)
	}
	to, err := r.before(id, at, event.SequenceNumber)
	to.why = fmt.Sprintf("starts with event %d, the first one enqueued at %s or later", event.SequenceNumber, text)
	if to.Offset == "-1" && at.firstKept() > 0 && t.Before(event.EnqueuedTime) {
		to.warnings = append(to.warnings, fmt.Sprintf("events before %s are not kept", event.EnqueuedTime.UTC().Format(time.RFC3339Nano)))
	}
	return to, err
}

// before returns the position of the last event before event n, so that event n is
// handled next.
func (r *resetting) before(id string, at PartitionProperties, n int64) (destination, error) {
	first, end := at.firstKept(), add(at.LastEnqueuedSequenceNumber, 1)
	why := fmt.Sprintf("starts with event %d, or the first one after it", n)
	switch {
	case n < first:
		to := earliest(at)
		to.warnings = append(to.warnings, fmt.Sprintf("event %d is no longer kept: the oldest one is %d", n, first))
		return to, nil
	case n == first:
		to := earliest(at)
		to.why = why
		return to, nil
	case n >= end:
		to := latest(at)
		if n > end {
			to.warnings = append(to.warnings, fmt.Sprintf("event %d does not exist yet: the next one is %d", n, end))
		}
		return to, nil
	}
	found, err := r.lastBefore(id, first, n)
	switch {
	case err != nil:
		return destination{}, err
	case found == nil:
		to := earliest(at)
		to.why = why
		return to, nil
	}
	return destination{
		Position: Position{SequenceNumber: found.SequenceNumber, Offset: found.Offset, EnqueuedTime: &found.EnqueuedTime},
		why:      why,
	}, nil
}

// lastBefore reads the last event before n that is kept, or nil if there is none. In a
// compacted event hub sequence numbers are missing: it steps back, twice as far each
// time, until it finds an event before n, and then searches by bisection.
func (r *resetting) lastBefore(id string, first, n int64) (*Event, error) {
	at := func(from int64) (*Event, error) { // nil if there is no event in [from, n)
		event, err := r.readEvent(id, ReadFrom{SequenceNumber: &from})
		switch {
		case err != nil:
			return nil, err
		case event == nil:
			return nil, fmt.Errorf("no event was read from %d on, but there is one", from)
		case event.SequenceNumber < from:
			return nil, fmt.Errorf("event %d was read from %d on", event.SequenceNumber, from)
		case event.SequenceNumber >= n:
			return nil, nil
		}
		return event, nil
	}
	end := n // there is no event in [end, n)
	var found *Event
	for back := int64(1); found == nil; back *= 2 {
		from := max(first, n-back)
		var err error
		if found, err = at(from); err != nil {
			return nil, err
		}
		if found == nil {
			if from == first {
				return nil, nil
			}
			end = from
		}
	}
	for found.SequenceNumber+1 < end {
		middle := found.SequenceNumber + 1 + (end-found.SequenceNumber-1)/2
		event, err := at(middle)
		switch {
		case err != nil:
			return nil, err
		case event == nil:
			end = middle
		default:
			found = event
		}
	}
	return found, nil
}

func (r *resetting) readEvent(id string, from ReadFrom) (*Event, error) {
	return limited(r.ctx, r.limiter, func(ctx context.Context) (*Event, error) { return r.eventHub.ReadEvent(ctx, id, from) })
}

// add adds without overflow.
func add(a, b int64) int64 {
	switch {
	case b > 0 && a > math.MaxInt64-b:
		return math.MaxInt64
	case b < 0 && a < math.MinInt64-b:
		return math.MinInt64
	}
	return a + b
}
