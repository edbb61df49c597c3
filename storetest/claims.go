package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/ea947076/checkpointstore"
)

// on is a claim on a record as it was handed out.
func on(record checkpointstore.Ownership, owner string) checkpointstore.Ownership {
	record.OwnerID = owner
	return record
}

// claimCases are about one claim at a time.
func claimCases() []testCase {
	return []testCase{
		{"a claim without an ETag wins a partition that has no record", func(e *env) {
			e.win(claimOf("0", "alice", ""))
			e.isRecord(e.listed("0"), "0", "alice")
		}},
		{"a claim without an ETag loses to a record", func(e *env) {
			first := e.win(claimOf("0", "alice", ""))
			e.lose(claimOf("0", "bob", ""))
			e.lose(claimOf("0", "alice", ""))
			e.sameRecord(e.listed("0"), first)
		}},
		{"a claim with the record's ETag wins, whoever owns it", func(e *env) {
			first := e.win(claimOf("0", "alice", ""))
			e.win(on(first, "bob"))
			e.isRecord(e.listed("0"), "0", "bob")
		}},
		{"a claim with a stale ETag loses", func(e *env) {
			first := e.win(claimOf("0", "alice", ""))
			second := e.win(on(first, "bob"))
			e.lose(on(first, "carol"))
			e.lose(on(first, "alice"))
			e.lose(on(first, "bob"))
			e.lose(on(first, ""))
			e.sameRecord(e.listed("0"), second)
		}},
		{"a claim with an ETag that the record never had loses", func(e *env) {
			first := e.win(claimOf("0", "alice", ""))
			other := e.win(claimOf("1", "bob", ""))
			e.lose(claimOf("0", "bob", etagText(other)))
			e.lose(claimOf("0", "bob", `"0x0123456789ABCDEF"`))
			e.sameRecord(e.listed("0"), first)
		}},
		{"a claim with an ETag loses where there is no record, or makes it anew", func(e *env) {
			other := e.win(claimOf("1", "alice", ""))
			for i, etag := range []string{etagText(other), `"0x0123456789ABCDEF"`} {
				partition := fmt.Sprint("absent", i)
				won := e.claim(claimOf(partition, "alice", etag))
				record, listed := e.ownerships()[partition]
				switch {
				case len(won) == 0 && listed:
					e.Fatal("the lost claim left a record")
				case len(won) == 0:
					e.win(claimOf(partition, "bob", ""))
				case !listed:
					e.Fatal("the claim that won left no record")
				default:
					e.sameRecord(record, won[0])
					e.lose(claimOf(partition, "bob", etag))
					e.lose(claimOf(partition, "bob", ""))
				}
			}
		}},
		{"a renewal is a claim by the owner on its last ETag", func(e *env) {
			record := e.win(claimOf("0", "alice", ""))
			for range 5 {
				record = e.win(record)
			}
			e.sameRecord(e.listed("0"), record)
		}},
		{"every win gives the record a new ETag", func(e *env) {
			record := e.win(claimOf("0", "alice", ""))
			seen := []string{plain(record)}
			for _, owner := range []string{"alice", "alice", "bob", "", "", "alice"} {
				record = e.win(on(record, owner))
				if slices.Contains(seen, plain(record)) {
					e.Fatalf("the ETag %s comes a second time", etagText(record))
				}
				seen = append(seen, plain(record))
			}
		}},
		{"an ETag claims as lists hand it out", func(e *env) {
			e.win(claimOf("0", "alice", ""))
			e.win(on(e.listed("0"), "bob"))
			e.win(on(e.listed("0"), ""))
			e.win(on(e.listed("0"), "carol"))
		}},
		{"an ETag claims as claims hand it out", func(e *env) {
			record := e.win(claimOf("0", "alice", ""))
			record = e.win(on(record, ""))
			e.win(on(record, "bob"))
		}},
		{"an ETag claims with quotes and without", func(e *env) {
			record := e.win(claimOf("0", "alice", ""))
			record = e.win(claimOf("0", "bob", plain(record)))
			e.win(claimOf("0", "carol", `"`+plain(record)+`"`))
		}},
		{"relinquishing keeps the record, with no owner and a new ETag", func(e *env) {
			first := e.win(claimOf("0", "alice", ""))
			gone := e.win(on(first, ""))
			if plain(gone) == plain(first) {
				e.Fatal("the relinquished record has the ETag that it had before")
			}
			e.isRecord(e.listed("0"), "0", "")
			e.sameRecord(e.listed("0"), gone)
		}},
		{"what was relinquished can be claimed at once, with its ETag", func(e *env) {
			gone := e.win(on(e.win(claimOf("0", "alice", "")), ""))
			e.win(on(gone, "bob"))
			e.lose(on(gone, "alice"))
		}},
		{"what was relinquished is not claimed without its ETag", func(e *env) {
			first := e.win(claimOf("0", "alice", ""))
			gone := e.win(on(first, ""))
			e.lose(claimOf("0", "bob", ""))
			e.lose(on(first, "alice"))
			e.sameRecord(e.listed("0"), gone)
		}},
		{"a partition can be relinquished that was never owned", func(e *env) {
			e.win(on(e.win(claimOf("0", "", "")), "alice"))
		}},
		{"a claim does not look at LastModifiedTime", func(e *env) {
			for i, modified := range []time.Time{{}, time.Unix(0, 0), time.Now().Add(1000 * time.Hour)} {
				claim := claimOf(fmt.Sprint(i), "alice", "")
				claim.LastModifiedTime = modified
				record := e.win(claim)
				if record.LastModifiedTime.Equal(modified) {
					e.Fatalf("the record has the LastModifiedTime that was claimed with, %v", modified)
				}
				record.LastModifiedTime = modified
				e.win(record)
			}
		}},
	}
}

// batchCases are about several claims in one call.
func batchCases() []testCase {
	return []testCase{
		{"no claims give no records and no error", func(e *env) {
			for _, claims := range [][]checkpointstore.Ownership{nil, {}} {
				if won := e.claim(claims...); len(won) != 0 {
					e.Fatalf("no claims gave %d records", len(won))
				}
			}
			e.empty()
		}},
		{"winners come in the order asked", func(e *env) {
			asked := []string{"7", "3", "11", "0", "b", "a", "2"}
			e.hasPartitions(e.claim(claims(asked...)...), asked...)
		}},
		{"a lost partition is left out, is not an error and stops nobody", func(e *env) {
			kept := e.win(claimOf("3", "bob", ""))
			stale := e.win(claimOf("1", "bob", ""))
			taken := e.win(on(stale, "carol"))
			asked := claims("4", "3", "2", "1", "0")
			asked[3].ETag = stale.ETag
			e.hasPartitions(e.claim(asked...), "4", "2", "0")
			e.sameRecord(e.listed("3"), kept)
			e.sameRecord(e.listed("1"), taken)
		}},
		{"if all are lost there are no records and no error", func(e *env) {
			e.claim(claims("0", "1", "2")...)
			if won := e.claim(claims("0", "1", "2")...); len(won) != 0 {
				e.Fatalf("%d claims won a second time", len(won))
			}
		}},
		{"one call claims, renews, takes over and relinquishes", func(e *env) {
			mine := e.win(claimOf("renewed", "alice", ""))
			theirs := e.win(claimOf("taken", "bob", ""))
			given := e.win(claimOf("given", "alice", ""))
			won := e.claim(claimOf("new", "alice", ""), mine, on(theirs, "alice"), on(given, ""))
			e.hasPartitions(won, "new", "renewed", "taken", "given")
			for partition, owner := range map[string]string{"new": "alice", "renewed": "alice", "taken": "alice", "given": ""} {
				e.isRecord(e.listed(partition), partition, owner)
			}
		}},
		{"one call claims for several owners", func(e *env) {
			won := e.claim(claimOf("0", "alice", ""), claimOf("1", "bob", ""))
			e.hasPartitions(won, "0", "1")
			e.isRecord(won[0], "0", "alice")
			e.isRecord(won[1], "1", "bob")
		}},
		{"300 partitions are claimed and listed completely", func(e *env) {
			var asked []string
			for i := range 300 {
				asked = append(asked, fmt.Sprint(i))
			}
			won := e.claim(claims(asked...)...)
			e.hasPartitions(won, asked...)
			listed := e.ownerships()
			if len(listed) != len(asked) {
				e.Fatalf("%d partitions are listed, want %d", len(listed), len(asked))
			}
			for _, o := range won {
				e.sameRecord(listed[o.PartitionID], o)
			}
		}},
	}
}

// claims are first claims by one owner.
func claims(partitions ...string) []checkpointstore.Ownership {
	var all []checkpointstore.Ownership
	for _, p := range partitions {
		all = append(all, claimOf(p, "alice", ""))
	}
	return all
}

// hasPartitions checks which partitions were won, in order.
func (e *env) hasPartitions(won []checkpointstore.Ownership, want ...string) {
	e.Helper()
	var got []string
	for _, o := range won {
		got = append(got, o.PartitionID)
	}
	if !slices.Equal(got, want) {
		e.Fatalf("the partitions %q were won, want %q", got, want)
	}
}

// sameRecord checks that two calls gave the same state of a record.
func (e *env) sameRecord(got, want checkpointstore.Ownership) {
	e.Helper()
	e.isRecord(got, want.PartitionID, want.OwnerID)
	if plain(got) != plain(want) {
		e.Fatalf("the ETag of partition %q is %s, want %s", want.PartitionID, etagText(got), etagText(want))
	}
	if !got.LastModifiedTime.Equal(want.LastModifiedTime) {
		e.Fatalf("the LastModifiedTime of partition %q is %v, want %v", want.PartitionID, got.LastModifiedTime, want.LastModifiedTime)
	}
}
