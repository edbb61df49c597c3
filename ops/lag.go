package ops

import "time"

// LagState says what is known of how far a consumer group is behind in a partition.
type LagState string

const (
	LagKnown        LagState = "ok"            // Events is how many events are not handled
	LagEmpty        LagState = "empty"         // no event is kept, and none is missing
	LagNoCheckpoint LagState = "no checkpoint" // the group starts at its default position
	LagExpired      LagState = "expired"       // Lost events were not handled and are no longer kept
	LagAhead        LagState = "ahead"         // the checkpoint is past the end: was the hub created anew?
	LagUnknown      LagState = "unknown"       // the hub did not answer, or the position cannot be read
	LagNoPartition  LagState = "no partition"  // the hub has no such partition
)

// LagMethod says how a lag in time was told.
type LagMethod string

const (
	// LagFromMetadata is the enqueued time of the last event, less that of the
	// checkpoint's event, which the writer stored beside the position.
	LagFromMetadata LagMethod = "metadata"

	// LagNothingLeft is a lag of 0, as no event is left to be handled.
	LagNothingLeft LagMethod = "nothing left"

	// LagInterpolated is the enqueued time of the last event, less the time at which
	// the checkpoint's event was the last one, from a [History].
	LagInterpolated LagMethod = "interpolated"
)

// Lag is how far a consumer group is behind in one partition. What is not known is
// nil, never 0.
type Lag struct {
	State LagState

	// Events is the number of events that are kept and not handled, for [LagKnown],
	// [LagEmpty] and [LagExpired].
	Events *int64
	// Kept is the number of events that are kept, for [LagNoCheckpoint]: the lag of a
	// consumer that starts at the beginning.
	Kept *int64
	// Lost is the number of events that were not handled and are no longer kept.
	Lost int64
	// Ahead is how far past the last event the checkpoint is.
	Ahead int64

	// Time is how much later the last event was enqueued than the checkpoint's, and
	// Method how it was told. It is 0 if no event is left to be handled, and nil if
	// the two times contradict the positions.
	Time   *time.Duration
	Method LagMethod
}

// Lag compares a partition of a snapshot with its event hub, which has to be read
// after the snapshot: a consumer that went on in between would seem to be ahead.
// history may be nil.
func (h *Hub) Lag(p Partition, history *History) Lag {
	in, found := h.Partition(p.ID)
	switch {
	case !found:
		return Lag{State: LagNoPartition}
	case in.Err != nil:
		return Lag{State: LagUnknown}
	}
	at := in.Properties
	var kept int64
	if !at.IsEmpty {
		kept = at.LastEnqueuedSequenceNumber - at.BeginningSequenceNumber + 1
	}
	switch {
	case p.Checkpoint == nil && at.IsEmpty:
		return Lag{State: LagEmpty, Events: new(int64), Time: new(time.Duration), Method: LagNothingLeft}
	case p.Checkpoint == nil:
		return Lag{State: LagNoCheckpoint, Kept: &kept}
	case p.Checkpoint.SequenceNumber == nil:
		return Lag{State: LagUnknown}
	}
	n := *p.Checkpoint.SequenceNumber
	last := at.LastEnqueuedSequenceNumber
	// The first event that a consumer can still get. Of an empty partition it is the
	// next one that arrives.
	first := last + 1 - kept
	switch {
	case n > last:
		return Lag{State: LagAhead, Ahead: n - last}
	case n < first-1:
		lag := Lag{State: LagExpired, Events: &kept, Lost: first - 1 - n}
		lag.Time, lag.Method = timeLag(p, at, kept, history)
		return lag
	}
	events := last - n
	lag := Lag{State: LagKnown, Events: &events}
	if at.IsEmpty {
		lag.State = LagEmpty
	}
	lag.Time, lag.Method = timeLag(p, at, events, history)
	return lag
}

// timeLag tells the lag in time of so many events, in the cheapest way that there is.
func timeLag(p Partition, at PartitionProperties, events int64, history *History) (*time.Duration, LagMethod) {
	if events == 0 {
		return new(time.Duration), LagNothingLeft
	}
	since, method := p.Checkpoint.EnqueuedTime, LagFromMetadata
	if since == nil && history != nil {
		since, method = history.EnqueuedTime(p.ID, *p.Checkpoint.SequenceNumber), LagInterpolated
	}
	if since == nil || since.After(at.LastEnqueuedTime) {
		return nil, ""
	}
	d := at.LastEnqueuedTime.Sub(*since)
	return &d, method
}

// TotalLag is the sum of the lags of a consumer group.
type TotalLag struct {
	Events  int64          // of the partitions that are known
	Lost    int64          // events
	Time    *time.Duration // the greatest one known
	Unknown int            // partitions whose Events are not known
}

// Total sums up lags.
func Total(lags []Lag) TotalLag {
	var t TotalLag
	for _, l := range lags {
		t.Lost += l.Lost
		if l.Events == nil {
			t.Unknown++
		} else {
			t.Events += *l.Events
		}
		if l.Time != nil && (t.Time == nil || *l.Time > *t.Time) {
			t.Time = l.Time
		}
	}
	return t
}
