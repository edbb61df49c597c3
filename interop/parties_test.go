package interop_test

import (
	"log/slog"
	"slices"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
)

// party is a store that takes part: ours, with some options, or that of another package; and what is expected of it.
type party struct {
	name string
	need func(*testing.T) // skips the test, in -short mode, by the name of what it needs
	open func(*testing.T, box) checkpointstore.CheckpointStore

	writes     func(scope) scope   // under which spelling of the names
	reads      []func(scope) scope // checkpoints, under which
	blind      bool                // a claim without an ETag overwrites an owner
	none       *string             // what it lists for an offset that we know none of
	numberOnly bool                // it does not read offsets
}

// finds tells whether the party, told of the scope, lists the checkpoints of another one that was told the same.
func (p party) finds(s scope, writer party) bool {
	return slices.ContainsFunc(p.reads, func(spelling func(scope) scope) bool { return spelling(s) == writer.writes(s) })
}

// shares tells whether two parties that were told of the scope hand out the same partitions.
func (p party) shares(s scope, other party) bool { return p.writes(s) == other.writes(s) }

// keepsTyped tells whether the party spells names as they were typed.
func (p party) keepsTyped() bool { return p.writes(capitals()) == capitals() }

func always(*testing.T) {}

// ours is our store with its defaults.
func ours() party { return oursWith("ours", checkpointstore.BlobCheckpointStoreOptions{}) }

func oursVerbatim() party {
	p := oursWith("ours, Verbatim", checkpointstore.BlobCheckpointStoreOptions{BlobNaming: checkpointstore.BlobNamingVerbatim})
	p.writes, p.reads = typed, only(typed)
	return p
}

func oursIgnoring() party {
	p := oursWith("ours, LowerCaseOnly", checkpointstore.BlobCheckpointStoreOptions{BlobNaming: checkpointstore.BlobNamingLowerCaseOnly})
	p.reads = only(lower)
	return p
}

func oursWith(name string, options checkpointstore.BlobCheckpointStoreOptions) party {
	return party{
		name: name, need: always, writes: lower, reads: []func(scope) scope{lower, typed},
		open: func(t *testing.T, b box) checkpointstore.CheckpointStore {
			t.Helper()
			options := options
			options.Logger = slog.New(slog.NewTextHandler(b.log, nil))
			store, err := checkpointstore.NewBlobCheckpointStore(b.client, &options)
			require.NoError(t, err)
			return store
		},
	}
}

// oursBeside is our store as one would configure it to share partitions with the party.
func oursBeside(p party) party {
	if p.keepsTyped() {
		return oursVerbatim()
	}
	return ours()
}

func officialGo() party {
	return party{
		name: "official Go", need: always, open: openOfficial,
		writes: typed, reads: only(typed), none: to.Ptr(""),
	}
}

func driven(name string, d *driver, p party) party {
	p.name, p.need = name, d.need
	p.open = func(t *testing.T, b box) checkpointstore.CheckpointStore {
		t.Helper()
		return d.open(t, b.name)
	}
	return p
}

// peers are the stores of other packages.
func peers() []party {
	return []party{
		officialGo(),
		driven("Java", &java, party{writes: typed, reads: only(typed)}),
		driven("Rust", &rust, party{writes: typed, reads: only(typed), none: to.Ptr("")}),
		driven("JavaScript", &javaScript, party{writes: lower, reads: only(lower), none: to.Ptr(""), blind: true}),
		driven("Python", &python, party{writes: lower, reads: only(lower), none: to.Ptr("None"), blind: true}),
		driven("Python aio", &pythonAIO, party{writes: lower, reads: only(lower), none: to.Ptr("None"), blind: true}),
	}
}

// kedaReader reads sequence numbers and nothing else.
func kedaReader() party {
	return driven("KEDA", &keda, party{reads: only(lowerGroup), numberOnly: true})
}

// peer is one of the peers.
func peer(name string) party {
	all := peers()
	return all[slices.IndexFunc(all, func(p party) bool { return p.name == name })]
}

func only(spelling func(scope) scope) []func(scope) scope { return []func(scope) scope{spelling} }
