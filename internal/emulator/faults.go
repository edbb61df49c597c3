package emulator

import (
	"fmt"
	"regexp"
	"strings"
)

// Target is what a fault concerns: one [Partition], [AllPartitions], [Management] or [Everything].
type Target string

const (
	// AllPartitions are those that there are and those that [Emulator.Expand] adds.
	AllPartitions Target = "partitions"
	// Management is where clients ask for the properties of the hub and of its partitions.
	Management Target = "management"
	// Everything is all partitions and management, and for [Emulator.Hang] the connections themselves.
	Everything Target = "everything"
)

// Partition is the partition with an id.
func Partition(id string) Target { return Target(partitionPrefix + id) }

const partitionPrefix = "partition " // as in server/faults.js

func (t Target) check() error {
	switch {
	case t == AllPartitions, t == Management, t == Everything:
	case strings.HasPrefix(string(t), partitionPrefix) && t != partitionPrefix:
	default:
		return fmt.Errorf("%q is not a target", string(t))
	}
	return nil
}

// Condition is an AMQP error condition, as Event Hubs names it. Those below are the usual ones for [Emulator.Deny].
type Condition string

// Conditions with which Event Hubs refuses a link, and what azeventhubs v2 makes of those to a partition. Those to
// management are never an azeventhubs.Error.
const (
	// UnauthorizedAccess is final: an azeventhubs.Error with ErrorCodeUnauthorizedAccess.
	UnauthorizedAccess Condition = "amqp:unauthorized-access"
	// NotFound is final, and not an azeventhubs.Error.
	NotFound Condition = "amqp:not-found"
	// ResourceLimitExceeded, as for a sixth reader without owner level, is final, and not an azeventhubs.Error.
	ResourceLimitExceeded Condition = "amqp:resource-limit-exceeded"
	// ServerBusy is tried again, and then not an azeventhubs.Error.
	ServerBusy Condition = "com.microsoft:server-busy"
	// LinkStolen, as for a reader with a lower owner level, is tried again, and then an azeventhubs.Error with
	// ErrorCodeConnectionLost. A link that was open when it was stolen has ErrorCodeOwnershipLost instead.
	LinkStolen Condition = "amqp:link:stolen"
)

var conditionPattern = regexp.MustCompile(`^[a-z]+(\.[a-z]+)*(:[a-z]+(-[a-z]+)*)+$`)

// Deny refuses every new link to a target with an error condition until [Emulator.Allow] is called with the same
// target. Links that are open stay open, but requests on a link to management are answered with the status code that
// goes with the condition (401, 404, 503 or 500). Several denials at once are allowed: the narrowest counts, and a
// second one of the same target replaces the first.
//
// The error says that there is no such partition, or that the condition is not one.
func (e *Emulator) Deny(target Target, condition Condition) error {
	if !conditionPattern.MatchString(string(condition)) {
		return fmt.Errorf("deny: %q is not an AMQP error condition", condition)
	}
	return e.callTarget("deny", target, condition)
}

// Allow ends the denial of a target. It is no error if there is none.
func (e *Emulator) Allow(target Target) error { return e.callTarget("allow", target, "") }

// Hang stops all answers of a target until [Emulator.Resume] is called with the same target. Connections stay up. A
// partition sends no more events and does not answer new links; management leaves requests unanswered. If everything
// hangs, connections are accepted, and nothing is read from them or sent on them, not even heartbeats.
//
// The error says that there is no such partition.
func (e *Emulator) Hang(target Target) error { return e.callTarget("hang", target, "") }

// Resume answers what a target left unanswered, if the client still waits, and all that comes after. It is no error if
// the target does not hang.
func (e *Emulator) Resume(target Target) error { return e.callTarget("resume", target, "") }

// callTarget sends a command about a target.
func (e *Emulator) callTarget(op string, target Target, condition Condition) error {
	if err := target.check(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return e.call(command{Op: op, Target: target, Condition: condition}, nil)
}

// Steal detaches the readers of a partition in all consumer groups, as a new reader with the same owner level would, and
// returns how many there were. The new reader is gone at once: whoever was detached can open the partition again.
func (e *Emulator) Steal(partition string) (readers int, err error) {
	err = e.call(command{Op: "steal", Partition: partition}, &readers)
	return readers, err
}

// DropConnections ends all connections, without a word, and returns how many there were. Clients can connect again.
func (e *Emulator) DropConnections() (connections int, err error) {
	err = e.call(command{Op: "drop"}, &connections)
	return connections, err
}
