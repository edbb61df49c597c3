package emulator

import (
	"context"
	"fmt"
)

// PartitionStats counts what happened at one partition, over all consumer groups, since the start.
type PartitionStats struct {
	LinksOpened  int64 // readers that were admitted
	LinksClosed  int64 // readers that are gone, for whatever reason: LinksOpened less this is how many there are
	LinksStolen  int64 // readers that were detached as another took over
	LinksRefused int64 // readers that were turned away
	LinksHeld    int64 // readers whose attach was not answered, as the partition hangs
	EventsSent   int64 // events handed to readers, whether or not these looked at them
}

// Counter names what [Emulator.Await] can wait for.
type Counter string

// Counters of a [Partition]; they are the fields of [PartitionStats].
const (
	LinksOpened  Counter = "opened"
	LinksClosed  Counter = "closed"
	LinksStolen  Counter = "stolen"
	LinksRefused Counter = "refused"
	LinksHeld    Counter = "held"
	EventsSent   Counter = "sent"
)

// Counters of [Management].
const (
	RequestsAnswered Counter = "answered"
	RequestsRefused  Counter = "refused" // requests and links
	RequestsHeld     Counter = "held"    // not answered, as management hangs
)

// Counters of [Everything].
const (
	ConnectionsAccepted Counter = "accepted"
	ConnectionsHeld     Counter = "held" // accepted while everything hangs
)

// Await waits until a counter of a target, a partition, Management or Everything, has reached n since the start. The
// error says that ctx ended, that the emulator ended, or that there is no such partition or counter.
func (e *Emulator) Await(ctx context.Context, target Target, counter Counter, n int64) error {
	err := target.check()
	if err == nil {
		err = e.callContext(ctx, command{Op: "await", Target: target, Counter: counter, N: n}, nil)
	}
	if err != nil {
		return fmt.Errorf("%s, %d %s: %w", target, n, counter, err)
	}
	return nil
}

// Stats returns the counts by partition id, or nil if the emulator ended.
func (e *Emulator) Stats() map[string]PartitionStats {
	var state map[string]partitionState
	if err := e.call(command{Op: "state"}, &state); err != nil {
		return nil
	}
	stats := make(map[string]PartitionStats, len(state))
	for id, of := range state {
		stats[id] = PartitionStats{
			LinksOpened: of.Opened, LinksClosed: of.Closed, LinksStolen: of.Stolen,
			LinksRefused: of.Refused, LinksHeld: of.Held, EventsSent: of.Sent,
		}
	}
	return stats
}
