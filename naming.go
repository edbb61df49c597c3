package checkpointstore

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ea947076/checkpointstore/internal/layout"
)

// What has to do with verbatim names, as consumers of other packages write them:
// reading the checkpoints under them, and warning of live owners under them.

// newest reads the checkpoints under the store's spelling of a scope and, if both
// is set, under the verbatim names, and returns the newest of each partition; the
// store's own on a tie. saw is told what was found under the store's spelling,
// which is what writes replace, and the newest of each partition.
func (s *BlobCheckpointStore) newest(verbatim layout.Scope, both bool, read func(layout.Scope) ([]blobState, error), saw func(scope layout.Scope, own, newest []blobState, mark uint64)) ([]blobState, error) {
	own := s.scope(verbatim)
	mark := s.partitions.mark()
	if !both {
		found, err := read(own)
		if err == nil {
			saw(own, found, found, mark)
		}
		return found, err
	}
	scopes := [...]layout.Scope{verbatim, own}
	var found [len(scopes)][]blobState
	var errs [len(scopes)]error
	inParallel(len(scopes), len(scopes), func(i int) { found[i], errs[i] = read(scopes[i]) })
	for _, err := range [...]error{errs[1], errs[0]} {
		if err != nil {
			return nil, err
		}
	}
	newest := newestOfEach(slices.Concat(found[:]...))
	saw(own, found[1], newest, mark)
	return newest, nil
}

// checkpointOf converts a checkpoint blob, in the caller's spelling.
func (s *BlobCheckpointStore) checkpointOf(ctx context.Context, verbatim layout.Scope, r blobState) Checkpoint {
	offset, sequenceNumber := r.values.Position()
	if offset == nil && sequenceNumber == nil {
		s.settings.Logger.LogAttrs(ctx, slog.LevelWarn,
			"a checkpoint has no readable position, so its partition cannot be read; store one, or delete the blob to start at the default position",
			slog.String("blob", oneLine(r.prefix+r.partitionID)))
	}
	return Checkpoint{
		ConsumerGroup:           verbatim.ConsumerGroup,
		EventHubName:            verbatim.EventHub,
		FullyQualifiedNamespace: verbatim.Namespace,
		PartitionID:             r.partitionID,
		Offset:                  offset,
		SequenceNumber:          sequenceNumber,
	}
}

const (
	// lookEvery is how often the store looks for live owners under the verbatim
	// names of a scope, and for checkpoints after it found none there.
	lookEvery = 5 * time.Minute

	// liveFor is how long the Event Hubs processors consider an ownership live by
	// default.
	liveFor = time.Minute
)

// spellingWatch remembers what the store knows of the verbatim names of each
// scope. The zero value is empty.
type spellingWatch struct {
	mu     sync.Mutex
	scopes map[layout.Scope]*verbatimNames
}

// verbatimNames is what is known of one scope.
type verbatimNames struct {
	looking bool      // a look for live owners is on its way
	looked  time.Time // when the last such look that was completed began

	listed time.Time // when the last list of the checkpoints began
	empty  bool      // it found none
}

// of returns the entry of a scope. The caller holds w.mu.
func (w *spellingWatch) of(verbatim layout.Scope) *verbatimNames {
	v := w.scopes[verbatim]
	if v == nil {
		if w.scopes == nil {
			w.scopes = make(map[layout.Scope]*verbatimNames)
		}
		v = &verbatimNames{}
		w.scopes[verbatim] = v
	}
	return v
}

// beginLook reports whether a look for live owners is due. The caller then ends
// it with endLook.
func (w *spellingWatch) beginLook(verbatim layout.Scope, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.of(verbatim)
	if v.looking || now.Sub(v.looked) < lookEvery {
		return false
	}
	v.looking = true
	return true
}

// endLook ends a look. One that was not completed is due again at once.
func (w *spellingWatch) endLook(verbatim layout.Scope, began time.Time, completed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.of(verbatim)
	v.looking = false
	if completed {
		v.looked = began
	}
}

// mayHaveCheckpoints reports whether a list has to read the verbatim names: unless
// one that began less than [lookEvery] ago found none.
func (w *spellingWatch) mayHaveCheckpoints(verbatim layout.Scope, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.of(verbatim)
	return !v.empty || now.Sub(v.listed) >= lookEvery
}

// listedCheckpoints takes note of a list that was completed. Of lists at the same
// time, the one that began last counts.
func (w *spellingWatch) listedCheckpoints(verbatim layout.Scope, began time.Time, empty bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if v := w.of(verbatim); !began.Before(v.listed) {
		v.listed, v.empty = began, empty
	}
}

// besideLook calls list. If a look for live owners under the verbatim names is
// due, it takes place meanwhile: it ends when the list does, so that it delays
// nothing, and is due again if it was not completed by then.
func (s *BlobCheckpointStore) besideLook(ctx context.Context, verbatim layout.Scope, list func()) {
	_, differs := s.otherScope(verbatim)
	began := s.now()
	if !differs || !s.settings.Logger.Enabled(ctx, slog.LevelWarn) || !s.spellings.beginLook(verbatim, began) {
		list()
		return
	}
	looking, stop := context.WithCancel(ctx)
	var listing sync.WaitGroup
	listing.Go(func() {
		defer stop()
		list()
	})
	completed := s.warnOfVerbatimOwners(looking, verbatim)
	s.spellings.endLook(verbatim, began, completed)
	listing.Wait()
}

// warnOfVerbatimOwners logs a warning if somebody owns partitions of the scope
// under the verbatim names, where this store does not see them. It reports whether
// the look came to an end before its context did, be it by a failure.
func (s *BlobCheckpointStore) warnOfVerbatimOwners(ctx context.Context, verbatim layout.Scope) (completed bool) {
	found, err := s.list(ctx, verbatim, layout.Ownership)
	if err != nil && ctx.Err() != nil {
		return false
	}
	prefix := verbatim.Prefix(layout.Ownership)
	if err != nil {
		s.settings.Logger.LogAttrs(ctx, slog.LevelDebug, "could not look for owners under the verbatim names",
			slog.String("prefix", prefix), slog.String("error", describe(s.secrets(), err)))
		return true
	}
	var live int
	var owner, partition string
	for _, r := range found {
		if id := r.values.OwnerID(); id != "" && s.now().Sub(r.lastModified) < liveFor {
			live++
			owner, partition = id, r.partitionID
		}
	}
	if live == 0 {
		return true
	}
	s.settings.Logger.LogAttrs(ctx, slog.LevelWarn,
		"a consumer that writes verbatim names (the official Go, Java or Rust store) owns partitions that this store hands out too: both read them; stop it, or set BlobNamingVerbatim here",
		slog.String("theirs", prefix),
		slog.String("ours", s.scope(verbatim).Prefix(layout.Ownership)),
		slog.Int("partitions", live),
		slog.String("partition", oneLine(partition)),
		slog.String("owner", oneLine(owner)))
	return true
}
