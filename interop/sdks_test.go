package interop_test

import (
	"log/slog"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
)

// sdk is the store of one SDK, or ours with some options, and what is expected of it.
type sdk struct {
	name string
	need func(*testing.T) // skips the test with -short, and names what it needs
	open func(*testing.T, testContainer) checkpointstore.CheckpointStore

	writes          func(scope) scope   // the spelling of the names that it writes
	reads           []func(scope) scope // the spellings of which it reads checkpoints
	overwritesOwner bool                // a claim without an ETag overwrites an owner
	numberOnly      bool                // it does not read offsets
}

// finds reports whether the SDK lists the checkpoints that another one writes under the same names.
func (p sdk) finds(s scope, writer sdk) bool {
	return slices.ContainsFunc(p.reads, func(spelling func(scope) scope) bool { return spelling(s) == writer.writes(s) })
}

// shares reports whether two SDKs see the same ownerships under the same names.
func (p sdk) shares(s scope, other sdk) bool { return p.writes(s) == other.writes(s) }

// keepsTyped reports whether the SDK writes names as typed.
func (p sdk) keepsTyped() bool { return p.writes(capitals()) == capitals() }

func always(*testing.T) {}

// ours is our store with its defaults.
func ours() sdk { return oursWith("ours", checkpointstore.BlobCheckpointStoreOptions{}) }

func oursVerbatim() sdk {
	p := oursWith("ours, Verbatim", checkpointstore.BlobCheckpointStoreOptions{BlobNaming: checkpointstore.BlobNamingVerbatim})
	p.writes, p.reads = typed, only(typed)
	return p
}

func oursLowerCaseOnly() sdk {
	p := oursWith("ours, LowerCaseOnly", checkpointstore.BlobCheckpointStoreOptions{BlobNaming: checkpointstore.BlobNamingLowerCaseOnly})
	p.reads = only(lower)
	return p
}

func oursWith(name string, options checkpointstore.BlobCheckpointStoreOptions) sdk {
	return sdk{
		name: name, need: always, writes: lower, reads: []func(scope) scope{lower, typed},
		open: func(t *testing.T, tc testContainer) checkpointstore.CheckpointStore {
			t.Helper()
			options := options
			options.Logger = slog.New(slog.NewTextHandler(tc.log, nil))
			store, err := checkpointstore.NewBlobCheckpointStore(tc.client, &options)
			require.NoError(t, err)
			return store
		},
	}
}

// oursBeside is our store, configured to share partitions with the SDK.
func oursBeside(p sdk) sdk {
	if p.keepsTyped() {
		return oursVerbatim()
	}
	return ours()
}

func officialGo() sdk {
	return sdk{
		name: "official Go", need: always, open: openOfficial,
		writes: typed, reads: only(typed),
	}
}

func driven(name string, d *driver, p sdk) sdk {
	p.name, p.need = name, d.need
	p.open = func(t *testing.T, tc testContainer) checkpointstore.CheckpointStore {
		t.Helper()
		return d.open(t, tc.name)
	}
	return p
}

// peers returns the SDKs with whole stores.
func peers() []sdk {
	return []sdk{
		officialGo(),
		driven("Java", &java, sdk{writes: typed, reads: only(typed)}),
		driven("Rust", &rust, sdk{writes: typed, reads: only(typed)}),
		driven("JavaScript", &javaScript, sdk{writes: lower, reads: only(lower), overwritesOwner: true}),
		driven("Python", &python, sdk{writes: lower, reads: only(lower), overwritesOwner: true}),
		driven("Python aio", &pythonAIO, sdk{writes: lower, reads: only(lower), overwritesOwner: true}),
	}
}

// kedaReader reads sequence numbers and nothing else.
func kedaReader() sdk {
	return driven("KEDA", &keda, sdk{reads: only(lowerGroup), numberOnly: true})
}

// peer returns one of the peers.
func peer(name string) sdk {
	all := peers()
	return all[slices.IndexFunc(all, func(p sdk) bool { return p.name == name })]
}

func only(spelling func(scope) scope) []func(scope) scope { return []func(scope) scope{spelling} }
