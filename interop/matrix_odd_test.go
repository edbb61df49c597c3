package interop_test

import (
	"slices"
	"strconv"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
)

// oddRecord is an unusual record that an SDK or a person may leave at a partition.
type oddRecord struct {
	name string
	ours string // what ours lists

	// An SDK writes it: a checkpoint, or a partition that it claims and relinquishes.
	by         string // ours if empty
	checkpoint func(consumer) checkpointstore.Checkpoint

	// Or it is a blob with this metadata, if no SDK that runs here writes it.
	blob      map[string]*string
	partition string // "1" if empty
}

func without(offset *string, sequenceNumber *int64) func(consumer) checkpointstore.Checkpoint {
	return func(s consumer) checkpointstore.Checkpoint { return s.checkpoint("1", sequenceNumber, offset) }
}

func oddCheckpoints() []oddRecord {
	seven, offset := to.Ptr[int64](7), to.Ptr("700")
	noOffset, noNumber, nothing := without(nil, seven), without(offset, nil), without(nil, nil)
	return []oddRecord{
		{name: "ours, no offset", checkpoint: noOffset, ours: "7, nil"},
		{name: "official Go, no offset", by: "official Go", checkpoint: noOffset, ours: "7, nil"},
		{name: "official Go, no sequence number", by: "official Go", checkpoint: noNumber, ours: `nil, "700"`},
		{name: "official Go, neither", by: "official Go", checkpoint: nothing, ours: "nil, nil"},
		{name: "Java, no offset", by: "Java", checkpoint: noOffset, ours: "7, nil"},
		{name: "Java, no sequence number", by: "Java", checkpoint: noNumber, ours: `nil, "700"`},
		{name: "Rust, no offset", by: "Rust", checkpoint: noOffset, ours: "7, nil"},
		{name: "Rust, no sequence number", by: "Rust", checkpoint: noNumber, ours: `nil, "700"`},
		{name: "Rust, neither", by: "Rust", checkpoint: nothing, ours: "nil, nil"},
		{name: "JavaScript, offset empty", by: "JavaScript", checkpoint: without(to.Ptr(""), seven), ours: "7, nil"},
		{name: "JavaScript, sequence number 9007199254740993", by: "JavaScript", checkpoint: without(offset, to.Ptr[int64](9007199254740993)), ours: `9007199254740992, "700"`},
		{name: "Python, no offset", by: "Python", checkpoint: noOffset, ours: "7, nil"},
		{name: "Python, no sequence number", by: "Python", checkpoint: noNumber, ours: `nil, "700"`},
		{name: "Python aio, no offset", by: "Python aio", checkpoint: noOffset, ours: "7, nil"},
		{name: "Python aio, no sequence number", by: "Python aio", checkpoint: noNumber, ours: `nil, "700"`},
		{name: "Java, offset of geo-replication", by: "Java", checkpoint: without(to.Ptr("1:2:345"), seven), ours: `7, "1:2:345"`},

		{name: "as .NET", blob: metadata("sequencenumber", "7", "offset", "700", "clientidentifier", "c"), ours: `7, "700"`},
		{name: "as .NET 5.11, no offset", blob: metadata("sequencenumber", "7", "offset", "no offset"), ours: "7, nil"},
		{name: "as .NET, no sequence number", blob: metadata("sequencenumber", "", "offset", "700"), ours: `nil, "700"`},
		{name: "as early .NET, no sequence number", blob: metadata("sequencenumber", "-9223372036854775808", "offset", "700"), ours: `nil, "700"`},
		{name: "as early Java", blob: metadata("SequenceNumber", "7", "Offset", "700"), ours: `7, "700"`},
		{name: "by hand", blob: metadata("sequencenumber", "seven", "offset", "700"), ours: `nil, "700"`},
		{name: "one level deeper", partition: "0/extra", blob: metadata("sequencenumber", "7", "offset", "700"), ours: "nothing more"},
	}
}

func oddOwnerships() []oddRecord {
	return []oddRecord{
		{name: "relinquished by ours", ours: `owner ""`},
		{name: "relinquished by official Go", by: "official Go", ours: `owner ""`},
		{name: "relinquished by Java", by: "Java", ours: `owner ""`},
		{name: "relinquished by Rust", by: "Rust", ours: `owner ""`},
		{name: "relinquished by JavaScript", by: "JavaScript", ours: `owner ""`},
		{name: "relinquished by Python", by: "Python", ours: `owner ""`},
		{name: "relinquished by Python aio", by: "Python aio", ours: `owner ""`},
		{name: "as C++", blob: metadata("ownerId", "cpp"), ours: `owner "cpp"`},
		{name: "no owner", blob: metadata("other", "x"), ours: `owner ""`},
		{name: "one level deeper", partition: "0/extra", blob: metadata("ownerid", "deep"), ours: "nothing more"},
	}
}

// leave writes the record and returns its metadata as text.
func (o oddRecord) leave(t *testing.T, tc testContainer, kind string) string {
	t.Helper()
	if o.blob != nil {
		partition := "1"
		if o.partition != "" {
			partition = o.partition
		}
		tc.put(t, lowerCase().blob(kind, partition), o.blob)
		return metadataText(o.blob, func(key string) string { return key })
	}
	writer := ours()
	if o.by != "" {
		writer = peer(o.by)
		writer.need(t)
	}
	s := writer.consumer(t, tc, lowerCase())
	if o.checkpoint != nil {
		s.put(o.checkpoint(s))
	} else {
		s.relinquish(s.win(s.first("1")))
	}
	return tc.metadata(t, lowerCase().blob(kind, "1"))
}

// TestMatrixOddCheckpoints writes each odd checkpoint beside a good one of ours, and has every store list both. Ours always
// lists the good one.
func TestMatrixOddCheckpoints(t *testing.T) {
	readers := append(append([]sdk{ours()}, peers()...), kedaReader())
	testOdd(t, "odd checkpoints", "checkpoint", oddCheckpoints(), readers, func(t *testing.T, tc testContainer, p sdk) string {
		us := ours().consumer(t, tc, lowerCase())
		s := p.consumer(t, tc, lowerCase())
		found, err := s.list()
		text := func(c checkpointstore.Checkpoint) string { return checkpointText(c, p) }
		return oddCell(t, p, err, s.read(us.at("0", 1234)), found, checkpointID, text)
	})
}

// TestMatrixOddOwnerships does the same with ownerships.
func TestMatrixOddOwnerships(t *testing.T) {
	readers := append([]sdk{ours()}, peers()...)
	testOdd(t, "odd ownerships", "ownership", oddOwnerships(), readers, func(t *testing.T, tc testContainer, p sdk) string {
		good := ours().consumer(t, tc, lowerCase()).owned()["0"]
		require.Equal(t, "owner-ours", good.OwnerID)
		found, err := p.consumer(t, tc, lowerCase()).listOwnership()
		return oddCell(t, p, err, good, found, ownershipID, ownershipText)
	})
}

func testOdd(t *testing.T, name, kind string, records []oddRecord, readers []sdk, cell func(*testing.T, testContainer, sdk) string) {
	tbl := newTable(name, append([]string{kind + " beside a good one", "metadata"}, names(readers)...)...)
	for _, o := range records {
		row := append([]string{o.name, off}, slices.Repeat([]string{off}, len(readers))...)
		t.Run(o.name, func(t *testing.T) {
			if o.by != "" {
				peer(o.by).need(t)
			}
			tc := newContainer(t)
			us := ours().consumer(t, tc, lowerCase())
			us.update("0", 1234)
			us.win(us.first("0"))
			row[1] = o.leave(t, tc, kind)
			copy(row[2:], measure(t, readers, func(t *testing.T, p sdk) string {
				text := cell(t, tc, p)
				if p.name == us.sdk.name {
					require.Equal(t, o.ours, text)
				}
				return text
			}))
		})
		tbl.add(row...)
	}
	tbl.check(t)
}

// oddCell says what a store listed beside the good record: nothing, one more record, or that its list failed.
func oddCell[R any](t *testing.T, p sdk, err error, good R, found []R, id, text func(R) string) string {
	t.Helper()
	if err != nil {
		require.NotEqual(t, ours().name, p.name, "our list failed: %v", err)
		if p.name != officialGo().name {
			require.ErrorAs(t, err, new(refusal), "the store itself, and not its driver")
		}
		return "list fails"
	}
	odd := "nothing more"
	seen := false
	for _, r := range found {
		switch {
		case id(r) == id(good):
			require.False(t, seen, "listed twice")
			require.Equal(t, text(good), text(r), "the good one")
			seen = true
		default:
			require.Equal(t, "nothing more", odd)
			odd = text(r)
			if id(r) != "1" {
				odd = "a partition `" + id(r) + "`"
			}
		}
	}
	require.True(t, seen, "the good one is missing")
	return odd
}

func checkpointID(c checkpointstore.Checkpoint) string { return c.PartitionID }
func ownershipID(o checkpointstore.Ownership) string   { return o.PartitionID }

func checkpointText(c checkpointstore.Checkpoint, p sdk) string {
	sequenceNumber, offset := "nil", "nil"
	if c.SequenceNumber != nil {
		sequenceNumber = itoa(*c.SequenceNumber)
	}
	if p.numberOnly {
		return sequenceNumber
	}
	if c.Offset != nil {
		offset = strconv.Quote(*c.Offset)
	}
	return sequenceNumber + ", " + offset
}

func ownershipText(o checkpointstore.Ownership) string { return "owner " + strconv.Quote(o.OwnerID) }
