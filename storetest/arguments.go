package storetest

import (
	"errors"
	"math"
	"strings"

	"github.com/ea947076/checkpointstore"
)

// argumentCases are about what cannot be stored: refused, with nothing written.
func argumentCases() []testCase {
	cases := []testCase{
		{"a claim for a partition that is asked for twice is refused, before anything is claimed", func(e *env) {
			e.refusesClaims(claimOf("0", "alice", ""), claimOf("1", "alice", ""), claimOf("0", "alice", ""))
			e.refusesClaims(claimOf("0", "alice", ""), claimOf("0", "bob", ""))
			e.refusesClaims(usual().claim("0", "alice"), loud().claim("0", "alice"))
			record := e.win(claimOf("2", "alice", ""))
			e.refuses(e.tryClaims(record, record))
			e.sameRecord(e.listed("2"), record)
		}},
		{"one claim that cannot be stored refuses them all, before anything is claimed", func(e *env) {
			e.refusesClaims(claimOf("0", "alice", ""), claimOf("1", "alice ", ""), claimOf("2", "alice", ""))
			e.refusesClaims(claimOf("0", "alice", ""), claimOf("1", "alice", ""), claimOf("", "alice", ""))
		}},
		{"a checkpoint without a sequence number is refused", func(e *env) {
			e.refusesUpdate(checkpointstore.Checkpoint{FullyQualifiedNamespace: namespace, EventHubName: eventHub, ConsumerGroup: group, PartitionID: "0"})
			c := at("0", 0, "50")
			c.SequenceNumber = nil
			e.refusesUpdate(c)
		}},
		{"a checkpoint at the smallest int64 is refused", func(e *env) {
			e.refusesUpdate(at("0", math.MinInt64, "50"))
		}},
		{"a refused checkpoint leaves the stored one, even with Rewind", func(e *env) {
			e.update(at("0", 5, "50"))
			e.refuses(e.store.UpdateCheckpoint(e.ctx(), at("0", 6, " "), nil))
			e.refuses(e.store.UpdateCheckpoint(e.ctx(), at("0", 6, " "), &checkpointstore.UpdateCheckpointOptions{Rewind: true}))
			e.stored(at("0", 5, "50"))
		}},
		{"First together with Rewind is refused", func(e *env) {
			e.refuses(e.store.UpdateCheckpoint(e.ctx(), at("0", 5, "50"), &checkpointstore.UpdateCheckpointOptions{First: true, Rewind: true}))
			if listed := e.checkpoints(); len(listed) != 0 {
				e.Fatalf("%d checkpoints are stored", len(listed))
			}
		}},
		{"a claim with an empty ETag is refused", func(e *env) { e.refusesETag("") }},
		{"a claim with the ETag \"*\" is refused", func(e *env) { e.refusesETag("*") }},
		{"a claim with the ETag \"*\" is refused in any quotes, marked as weak, and in a list", func(e *env) {
			for _, etag := range []string{`"*"`, `""*""`, `W/"*"`, "W/*", `"*`, `*"`, "*,*", `"0x1","*"`, `"0x1",*`} {
				e.refusesETagOfARecord(etag)
			}
		}},
	}
	for _, bad := range badNames() {
		cases = append(cases,
			testCase{"a namespace " + bad.what + " is refused", func(e *env) { e.refusesScope(scope{bad.text, eventHub, group}) }},
			testCase{"an event hub " + bad.what + " is refused", func(e *env) { e.refusesScope(scope{namespace, bad.text, group}) }},
			testCase{"a consumer group " + bad.what + " is refused", func(e *env) { e.refusesScope(scope{namespace, eventHub, bad.text}) }},
			testCase{"a partition id " + bad.what + " is refused", func(e *env) {
				e.refusesClaims(usual().claim(bad.text, "alice"))
				e.refusesUpdate(usual().checkpoint(bad.text, 5))
			}},
		)
	}
	for _, bad := range badValues() {
		cases = append(cases,
			testCase{"an owner id " + bad.what + " is refused", func(e *env) { e.refusesClaims(claimOf("0", bad.text, "")) }},
			testCase{"an offset " + bad.what + " is refused", func(e *env) { e.refusesUpdate(at("0", 5, bad.text)) }},
		)
	}
	return cases
}

type bad struct{ what, text string }

// badNames cannot be a namespace, hub, group or partition id.
func badNames() []bad {
	return []bad{
		{"that is empty", ""},
		{"with a slash", "a/b"},
		{"with a slash at its end", "a/"},
		{"with a backslash", `a\b`},
		{"with a line break", "a\nb"},
		{"with a zero byte", "a\x00b"},
		{"with a DEL", "a\x7fb"},
		{"that is \".\"", "."},
		{"that is \"..\"", ".."},
		{"with a dot at its end", "a."},
		{"with a space before it", " a"},
		{"with a space after it", "a "},
		{"that is not UTF-8", "a\xffb"},
		{"of 1100 characters", strings.Repeat("a", 1100)},
	}
}

// badValues cannot be an owner id or an offset.
func badValues() []bad {
	return []bad{
		{"with a space before it", " a"},
		{"with a space after it", "a "},
		{"that is a space", " "},
		{"with a tab", "a\tb"},
		{"with a line break", "a\nb"},
		{"with a zero byte", "a\x00b"},
		{"with a DEL", "a\x7fb"},
		{"that is not ASCII", "é"},
		{"that is not UTF-8", "a\xffb"},
		{"of 9000 characters", strings.Repeat("a", 9000)},
	}
}

// refuses checks that a call was refused.
func (e *env) refuses(err error) {
	e.Helper()
	if !errors.Is(err, checkpointstore.ErrInvalidArgument) {
		e.Fatalf("the call gives %v, want ErrInvalidArgument", err)
	}
}

func (e *env) tryClaims(asked ...checkpointstore.Ownership) error {
	e.Helper()
	won, err := e.store.ClaimOwnership(e.ctx(), asked, nil)
	if len(won) != 0 {
		e.Fatalf("%d claims were won, want none", len(won))
	}
	return err
}

// refusesClaims checks that claims are refused and that none was made. The usual
// scope must be empty.
func (e *env) refusesClaims(asked ...checkpointstore.Ownership) {
	e.Helper()
	e.refuses(e.tryClaims(asked...))
	e.empty()
}

// refusesUpdate checks that a checkpoint is refused, by Rewind as well, and that
// none was written.
func (e *env) refusesUpdate(c checkpointstore.Checkpoint) {
	e.Helper()
	e.refuses(e.store.UpdateCheckpoint(e.ctx(), c, nil))
	e.refuses(e.store.UpdateCheckpoint(e.ctx(), c, &checkpointstore.UpdateCheckpointOptions{Rewind: true}))
	e.empty()
}

// refusesETag checks that a claim on an ETag is refused, with a record and
// without one.
func (e *env) refusesETag(text string) {
	e.Helper()
	claim := claimOf("0", "bob", "")
	setETag(&claim.ETag, text)
	e.refusesClaims(claim)
	e.refusesETagOfARecord(text)
}

// refusesETagOfARecord checks that a claim on an ETag is refused if there is a
// record, which stays.
func (e *env) refusesETagOfARecord(text string) {
	e.Helper()
	record, found := e.ownerships()["0"]
	if !found {
		record = e.win(claimOf("0", "alice", ""))
	}
	claim := claimOf("0", "bob", "")
	setETag(&claim.ETag, text)
	e.refuses(e.tryClaims(claim))
	e.sameRecord(e.listed("0"), record)
}

// refusesScope checks that all four methods refuse a scope.
func (e *env) refusesScope(s scope) {
	e.Helper()
	owned, err := e.store.ListOwnership(e.ctx(), s.namespace, s.eventHub, s.group, nil)
	e.refuses(err)
	read, err := e.store.ListCheckpoints(e.ctx(), s.namespace, s.eventHub, s.group, nil)
	e.refuses(err)
	if len(owned)+len(read) != 0 {
		e.Fatalf("the refused lists give %d ownerships and %d checkpoints", len(owned), len(read))
	}
	e.refusesClaims(s.claim("0", "alice"))
	e.refusesUpdate(s.checkpoint("0", 5))
}
