package storetest

import (
	"strings"
	"time"

	"github.com/ea947076/checkpointstore"
)

// ownershipCases are about what lists of ownerships give.
func ownershipCases() []testCase {
	return []testCase{
		{"ListOwnership of a scope that nobody claimed in is empty and no error", func(e *env) {
			if listed := e.ownerships(); len(listed) != 0 {
				e.Fatalf("%d records in a new store", len(listed))
			}
		}},
		{"what was won is listed, the same in all fields", func(e *env) {
			record := e.win(claimOf("0", "alice", ""))
			e.sameRecord(e.listed("0"), record)
			record = e.win(record)
			e.sameRecord(e.listed("0"), record)
		}},
		{"an owner id comes back as it was written", func(e *env) {
			for _, owner := range []string{"a b c", `!"#$%&'()*+,-./:;<=>?@[\]^_{|}~` + "`", "None", "0", "owner/1", strings.Repeat("o", 256)} {
				e.win(claimOf("0", owner, plain(e.ownerships()["0"])))
				e.isRecord(e.listed("0"), "0", owner)
			}
		}},
		{"LastModifiedTime is set, in UTC, and does not go back", func(e *env) {
			record := e.win(claimOf("0", "alice", ""))
			for range 5 {
				e.hasTime(record)
				e.hasTime(e.listed("0"))
				next := e.win(record)
				if next.LastModifiedTime.Before(record.LastModifiedTime) {
					e.Fatalf("LastModifiedTime went back from %v to %v", record.LastModifiedTime, next.LastModifiedTime)
				}
				record = next
			}
		}},
		{"partition ids need not be numbers", func(e *env) {
			for _, partition := range oddPartitions() {
				e.win(claimOf(partition, "alice", ""))
			}
			for _, partition := range oddPartitions() {
				e.isRecord(e.listed(partition), partition, "alice")
			}
		}},
		{"partition ids that differ only in case are two partitions", func(e *env) {
			e.win(claimOf("A", "alice", ""))
			e.win(claimOf("a", "bob", ""))
			e.isRecord(e.listed("A"), "A", "alice")
			e.isRecord(e.listed("a"), "a", "bob")
		}},
		{"checkpoints do not touch ownerships", func(e *env) {
			e.update(at("1", 5, "50"))
			if listed := e.ownerships(); len(listed) != 0 {
				e.Fatalf("a checkpoint made %d ownerships", len(listed))
			}
			record := e.win(claimOf("0", "alice", ""))
			e.update(at("0", 5, "50"))
			e.rewind(at("0", 4, "40"))
			e.sameRecord(e.listed("0"), record)
			e.win(record)
		}},
	}
}

// oddPartitions are ids that Event Hubs does not give, but a name can hold.
func oddPartitions() []string {
	return []string{"partition-1", "a b", "%2F", "100%", "q?x=1#y", "{0}", "a..b", ".x", "é", "ownership", "None", "007", "7"}
}

// hasTime checks that a record says when it was written.
func (e *env) hasTime(o checkpointstore.Ownership) {
	e.Helper()
	if o.LastModifiedTime.IsZero() || o.LastModifiedTime.Before(time.Unix(1, 0)) {
		e.Fatalf("LastModifiedTime is %v, want the time of the write", o.LastModifiedTime)
	}
	if _, offset := o.LastModifiedTime.Zone(); offset != 0 {
		e.Fatalf("LastModifiedTime is %v, want it in UTC", o.LastModifiedTime)
	}
}

// A scope is the three names.
type scope struct{ namespace, eventHub, group string }

func (s scope) claim(partition, owner string) checkpointstore.Ownership {
	o := claimOf(partition, owner, "")
	o.FullyQualifiedNamespace, o.EventHubName, o.ConsumerGroup = s.namespace, s.eventHub, s.group
	return o
}

func (s scope) checkpoint(partition string, sequenceNumber int64) checkpointstore.Checkpoint {
	c := withoutOffset(partition, sequenceNumber)
	c.FullyQualifiedNamespace, c.EventHubName, c.ConsumerGroup = s.namespace, s.eventHub, s.group
	return c
}

func usual() scope { return scope{namespace, eventHub, group} }

// loud is the usual scope as somebody else may spell it.
func loud() scope {
	return scope{strings.ToUpper(namespace), strings.ToUpper(eventHub), strings.ToUpper(group)}
}

// others differ from the usual scope in one name each, and in ways that names
// put together carelessly do not show.
func others() []other {
	return []other{
		{"the namespace", scope{"other.servicebus.windows.net", eventHub, group}},
		{"the event hub", scope{namespace, "other", group}},
		{"the consumer group", scope{namespace, eventHub, "$Default"}},
		{"how the group goes on", scope{namespace, eventHub, group + "2"}},
		{"where the hub ends and the group begins", scope{namespace, eventHub + "g", "roup"}},
		{"which name is the hub and which the group", scope{namespace, group, eventHub}},
	}
}

type other struct {
	what string
	scope
}

// in lists one partition's records in a scope.
func (e *env) in(s scope) (owned []checkpointstore.Ownership, read []checkpointstore.Checkpoint) {
	e.Helper()
	owned, err := e.store.ListOwnership(e.ctx(), s.namespace, s.eventHub, s.group, nil)
	if err != nil {
		e.Fatalf("ListOwnership in %+v: %v", s, err)
	}
	read, err = e.store.ListCheckpoints(e.ctx(), s.namespace, s.eventHub, s.group, nil)
	if err != nil {
		e.Fatalf("ListCheckpoints in %+v: %v", s, err)
	}
	return owned, read
}

// scopeCases are about namespace, event hub and consumer group.
func scopeCases() []testCase {
	cases := []testCase{
		{"the scope is compared ignoring case", func(e *env) {
			e.win(usual().claim("0", "alice"))
			e.lose(loud().claim("0", "bob"))
			e.update(usual().checkpoint("0", 5))
			e.update(loud().checkpoint("0", 6))
			owned, read := e.in(loud())
			if len(owned) != 1 || len(read) != 1 || *read[0].SequenceNumber != 6 {
				e.Fatalf("the other spelling lists %d ownerships and the checkpoints %+v, want one of each, at 6", len(owned), read)
			}
			e.win(on(owned[0], "bob"))
			e.isRecord(e.listed("0"), "0", "bob")
		}},
		{"only the case of the letters A to Z is ignored in a scope", func(e *env) {
			plain, kelvin := scope{namespace, "k", group}, scope{namespace, "\u212A", group} // the sign for a kelvin, which Unicode folds to "k"
			e.win(plain.claim("0", "alice"))
			e.update(plain.checkpoint("0", 5))
			if owned, read := e.in(kelvin); len(owned)+len(read) != 0 {
				e.Fatalf("the other scope lists %d ownerships and %d checkpoints, want none", len(owned), len(read))
			}
			e.win(kelvin.claim("0", "bob"))
		}},
		{"records come back with the caller's spelling of the scope", func(e *env) {
			won := e.win(usual().claim("0", "alice"))
			e.spelled(usual(), won.FullyQualifiedNamespace, won.EventHubName, won.ConsumerGroup)
			e.update(usual().checkpoint("0", 5))
			owned, read := e.in(loud())
			if len(owned) != 1 || len(read) != 1 {
				e.Fatalf("%d ownerships and %d checkpoints are listed, want one of each", len(owned), len(read))
			}
			e.spelled(loud(), owned[0].FullyQualifiedNamespace, owned[0].EventHubName, owned[0].ConsumerGroup)
			e.spelled(loud(), read[0].FullyQualifiedNamespace, read[0].EventHubName, read[0].ConsumerGroup)
			won = e.win(owned[0])
			e.spelled(loud(), won.FullyQualifiedNamespace, won.EventHubName, won.ConsumerGroup)
		}},
		{"one call claims in several scopes, the same partition in each", func(e *env) {
			asked := []checkpointstore.Ownership{usual().claim("0", "alice")}
			for _, other := range others() {
				asked = append(asked, other.claim("0", "alice"))
			}
			won := e.claim(asked...)
			if len(won) != len(asked) {
				e.Fatalf("%d of %d claims won", len(won), len(asked))
			}
			for i, o := range won {
				want := asked[i]
				e.spelled(scope{want.FullyQualifiedNamespace, want.EventHubName, want.ConsumerGroup}, o.FullyQualifiedNamespace, o.EventHubName, o.ConsumerGroup)
			}
		}},
	}
	for _, other := range others() {
		cases = append(cases, testCase{"scopes do not see each other that differ in " + other.what, func(e *env) {
			e.win(usual().claim("0", "alice"))
			e.update(usual().checkpoint("0", 5))
			if owned, read := e.in(other.scope); len(owned)+len(read) != 0 {
				e.Fatalf("the other scope lists %d ownerships and %d checkpoints, want none", len(owned), len(read))
			}
			e.win(other.claim("0", "bob"))
			e.update(other.checkpoint("0", 3))
			e.isRecord(e.listed("0"), "0", "alice")
			e.stored(withoutOffset("0", 5))
		}})
	}
	return cases
}

func (e *env) spelled(want scope, namespace, eventHub, group string) {
	e.Helper()
	if got := (scope{namespace, eventHub, group}); got != want {
		e.Fatalf("the record's scope is spelled %+v, want %+v", got, want)
	}
}
