package interop_test

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/azurite"
)

// off stands in a table for what was not measured as it was left out.
const off = "off"

// table is what was measured: rows of cells, the first ones of which say what was done.
type table struct {
	keys  int // how many cells of a row those are
	rows  [][]string
	lines []string
}

func newTable(keys int, header ...string) *table {
	tb := &table{keys: keys}
	tb.line(header)
	tb.line(slices.Repeat([]string{"---"}, len(header)))
	return tb
}

func (tb *table) add(row ...string) {
	tb.rows = append(tb.rows, row)
	tb.line(row)
}

func (tb *table) line(cells []string) {
	tb.lines = append(tb.lines, "| "+strings.Join(cells, " | ")+" |")
}

// check prints the table, and compares it with the one in README.md, which is what is expected.
func (tb *table) check(t *testing.T) {
	t.Helper()
	t.Log("\n" + strings.Join(tb.lines, "\n"))
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	documented := make(map[string][]string)
	for line := range strings.Lines(string(readme)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) > tb.keys {
			documented[tb.key(cells)] = cells
		}
	}
	for _, row := range tb.rows {
		want, found := documented[tb.key(row)]
		if !found || len(want) != len(row) {
			t.Errorf("README.md has no row | %s |", strings.Join(row, " | "))
			continue
		}
		for i := range row {
			if row[i] != off && row[i] != want[i] {
				t.Errorf("measured %q, README.md has %q in column %d of | %s |", row[i], want[i], i+1, strings.Join(row, " | "))
			}
		}
	}
}

func (tb *table) key(row []string) string { return strings.Join(row[:tb.keys], "|") }

func names(parties []party) []string {
	var all []string
	for _, p := range parties {
		all = append(all, p.name)
	}
	return all
}

// measure fills the cells of a row, one subtest for each party.
func measure(t *testing.T, parties []party, cell func(*testing.T, party) string) []string {
	t.Helper()
	row := slices.Repeat([]string{off}, len(parties))
	for i, p := range parties {
		t.Run(p.name, func(t *testing.T) {
			p.need(t)
			row[i] = cell(t, p)
		})
	}
	return row
}

// TestMatrixCheckpoints has every store read what every store wrote.
func TestMatrixCheckpoints(t *testing.T) {
	azurite.Shared(t)
	parties := append([]party{ours(), oursVerbatim(), oursIgnoring()}, peers()...)
	tb := newTable(2, append([]string{"hub/group", "written by"}, names(parties)...)...)
	for _, s := range scopes() {
		for _, writer := range parties {
			row := slices.Repeat([]string{off}, len(parties))
			t.Run(s.String()+" by "+writer.name, func(t *testing.T) {
				writer.need(t)
				b := newBox(t)
				writer.sit(t, b, s).update("3", 1234)
				row = measure(t, parties, func(t *testing.T, reader party) string {
					seat := reader.sit(t, b, s)
					found := seat.checkpoints()
					if !reader.reads(s, writer) {
						require.Empty(t, found)
						return "no"
					}
					require.Equal(t, []checkpointstore.Checkpoint{seat.at("3", 1234)}, found)
					return "yes"
				})
			})
			tb.add(append([]string{s.String(), writer.name}, row...)...)
		}
	}
	tb.check(t)
}

// TestMatrixClaims has each peer and our store, which is configured to share partitions with it, claim what the other
// one owns: on the state that a list shows, on the state before that, and as if nobody owned it.
func TestMatrixClaims(t *testing.T) {
	azurite.Shared(t)
	tb := newTable(1, append([]string{"claim"}, names(peers())...)...)
	s := scope{"MyHub", "$Default"}
	count := func(won []checkpointstore.Ownership) string { return strconv.Itoa(len(won)) + " of 1" }
	for _, c := range []struct {
		name  string
		peers bool // the peer claims, else we do
		on    func(owner, claimant seat) checkpointstore.Ownership
	}{
		{"the peer claims ours on the listed ETag", true, onListed},
		{"the peer claims ours on an old ETag", true, onOld},
		{"the peer claims ours without an ETag", true, onNothing},
		{"we claim the peer's on the listed ETag", false, onListed},
		{"we claim the peer's on an old ETag", false, onOld},
		{"we claim the peer's without an ETag", false, onNothing},
	} {
		t.Run(c.name, func(t *testing.T) {
			row := measure(t, peers(), func(t *testing.T, peer party) string {
				b := newBox(t)
				theirs, us := peer.sit(t, b, s), oursBeside(peer).sit(t, b, s)
				owner, claimant := theirs, us
				if c.peers {
					owner, claimant = us, theirs
				}
				return count(claimant.claim(c.on(owner, claimant)))
			})
			tb.add(append([]string{c.name}, row...)...)
		})
	}
	tb.check(t)
}

func onListed(owner, claimant seat) checkpointstore.Ownership {
	owner.win(owner.first("0")[0])
	return claimant.owned()["0"]
}

func onOld(owner, claimant seat) checkpointstore.Ownership {
	held := owner.win(owner.first("0")[0])
	old := claimant.owned()["0"]
	owner.win(held)
	return old
}

func onNothing(owner, claimant seat) checkpointstore.Ownership {
	owner.win(owner.first("0")[0])
	return claimant.first("0")[0]
}

// TestMatrixOddBlobs puts beside a good record of ours one blob as other packages and people leave them, and has every
// store list: ours gives the good record whatever lies there.
func TestMatrixOddBlobs(t *testing.T) {
	azurite.Shared(t)
	parties := append([]party{ours()}, peers()...)
	s := scope{"myhub", "mygroup"}

	checkpointTable := newTable(1, append([]string{"checkpoint beside a good one"}, names(parties)...)...)
	for _, c := range []struct {
		name, partition string
		metadata        map[string]*string
	}{
		{"sequencenumber, offset, clientidentifier (.NET)", "1", metadata("sequencenumber", "7", "offset", "700", "clientidentifier", "c")},
		{"offset empty (.NET, C++, ours without an offset)", "1", metadata("sequencenumber", "7", "offset", "")},
		{"offset `no offset` (.NET 5.11)", "1", metadata("sequencenumber", "7", "offset", "no offset")},
		{"offset `None` (Python)", "1", metadata("sequencenumber", "7", "offset", "None")},
		{"offset missing (Java)", "1", metadata("sequencenumber", "7")},
		{"offset `1:2:345` (geo-replication)", "1", metadata("sequencenumber", "7", "offset", "1:2:345")},
		{"sequencenumber empty (.NET)", "1", metadata("sequencenumber", "", "offset", "700")},
		{"sequencenumber of the smallest int64 (early .NET)", "1", metadata("sequencenumber", "-9223372036854775808", "offset", "700")},
		{"sequencenumber missing", "1", metadata("offset", "700")},
		{"sequencenumber not a number", "1", metadata("sequencenumber", "seven", "offset", "700")},
		{"keys `SequenceNumber`, `Offset` (early Java)", "1", metadata("SequenceNumber", "7", "Offset", "700")},
		{"no metadata", "1", nil},
		{"one level deeper", "0/extra", metadata("sequencenumber", "7", "offset", "700")},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBox(t)
			us := ours().sit(t, b, s)
			us.update("0", 1234)
			b.put(t, s.blob("checkpoint", c.partition), c.metadata)
			row := measure(t, parties, func(t *testing.T, p party) string {
				found, err := p.sit(t, b, s).list()
				return oddCell(t, p, err, us.at("0", 1234), found, checkpointID, checkpointText)
			})
			checkpointTable.add(append([]string{c.name}, row...)...)
		})
	}
	checkpointTable.check(t)

	ownershipTable := newTable(1, append([]string{"ownership beside a good one"}, names(parties)...)...)
	for _, c := range []struct {
		name, partition string
		metadata        map[string]*string
	}{
		{"ownerid empty (relinquished)", "1", metadata("ownerid", "")},
		{"key `ownerId` (C++)", "1", metadata("ownerId", "cpp")},
		{"ownerid missing", "1", metadata("other", "x")},
		{"ownership without metadata", "1", nil},
		{"ownership one level deeper", "0/extra", metadata("ownerid", "deep")},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBox(t)
			us := ours().sit(t, b, s)
			good := us.win(us.first("0")[0])
			b.put(t, s.blob("ownership", c.partition), c.metadata)
			row := measure(t, parties, func(t *testing.T, p party) string {
				found, err := p.sit(t, b, s).store.ListOwnership(t.Context(), namespace, s.hub, s.group, nil)
				return oddCell(t, p, err, good, found, ownershipID, ownershipText)
			})
			ownershipTable.add(append([]string{c.name}, row...)...)
		})
	}
	ownershipTable.check(t)
}

// oddCell says what a store listed beside the good record: nothing, one more record, or that its list failed.
func oddCell[R any](t *testing.T, p party, err error, good R, found []R, id, text func(R) string) string {
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

func checkpointText(c checkpointstore.Checkpoint) string {
	sequenceNumber, offset := "nil", "nil"
	if c.SequenceNumber != nil {
		sequenceNumber = itoa(*c.SequenceNumber)
	}
	if c.Offset != nil {
		offset = strconv.Quote(*c.Offset)
	}
	return sequenceNumber + ", " + offset
}

func ownershipText(o checkpointstore.Ownership) string { return "owner " + strconv.Quote(o.OwnerID) }

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// metadata makes blob metadata of keys and values.
func metadata(pairs ...string) map[string]*string {
	m := make(map[string]*string)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = to.Ptr(pairs[i+1])
	}
	return m
}

// put writes a blob as somebody else would.
func (b box) put(t *testing.T, name string, metadata map[string]*string) {
	t.Helper()
	_, err := b.client.NewBlockBlobClient(name).UploadBuffer(t.Context(), nil, &blockblob.UploadBufferOptions{Metadata: metadata})
	require.NoError(t, err)
}
