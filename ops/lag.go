package ops

import "time"

// LagState says what is known about the lag of a consumer group in a partition.
type LagState string

const (
	LagKnown        LagState = "ok"            // Events is the number of events that are not handled
	LagEmpty        LagState = "empty"         // no event is kept, and none after the checkpoint was lost
	LagNoCheckpoint LagState = "no checkpoint" // the group starts at its default position
	LagExpired      LagState = "expired"       // Lost events were not handled and are no longer kept
	LagAhead        LagState = "ahead"         // the checkpoint is past the last event: the hub was probably created anew
	LagUnknown      LagState = "unknown"       // the hub did not respond, or the position cannot be read
	LagNoPartition  LagState = "no partition"  // the hub has no such partition
)

// LagMethod says how a lag in time was computed.
type LagMethod string

const (
	// LagFromMetadata is the enqueued time of the last event minus that of the
	// checkpoint's event, which the writer stored with the position.
	LagFromMetadata LagMethod = "metadata"

	// LagNothingLeft is a lag of 0: all kept events are handled.
	LagNothingLeft LagMethod = "nothing left"

	// LagInterpolated is the enqueued time of the last event minus that of the
	// checkpoint's event, estimated from a [History].
	LagInterpolated LagMethod = "interpolated"
)

// Lag is how far a consumer group is behind in one partition. A value that is not
// known is nil, never 0.
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
	// Ahead is the number of events by which the checkpoint is past the last event.
	Ahead int64

	// Time is how much later the last event was enqueued than the checkpoint's, and
	// Method is how that was computed. Time is 0 if all kept events are handled, and
	// nil if it is not known or the two times contradict the positions.
	Time   *time.Duration
	Method LagMethod
}

// Lag compares a partition of a snapshot with its event hub. Read the hub after the
// snapshot: otherwise a consumer that made progress in between would seem to be ahead.
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

// timeLag computes the lag in time, in the cheapest way that is possible.
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
	Events  int64          // of the partitions where it is known
	Lost    int64          // events that were not handled and are no longer kept
	Time    *time.Duration // the greatest of all partitions where it is known, or nil
	Unknown int            // the number of partitions where Events is not known
}

// Total returns the sum of lags.
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
