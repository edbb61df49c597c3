package checkpointstore

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ea947076/checkpointstore/internal/layout"
)

// What has to do with names that were written as typed: reading the checkpoints
// under them, and telling of owners under them.

// newest reads the checkpoints under the store's spelling of a scope and, where
// it differs, under the names as typed, and returns for each partition the one
// that was modified last. Only what stands under the store's spelling is a
// baseline for its writes.
func (s *BlobCheckpointStore) newest(verbatim layout.Scope, read func(prefix string) ([]blobState, error), saw func(scope layout.Scope, own, newest []blobState, mark uint64)) ([]blobState, error) {
	own := s.scope(verbatim)
	other, differs := s.otherScope(verbatim)
	if !differs {
		mark := s.partitions.mark()
		found, err := read(own.Prefix(layout.Checkpoint))
		if err == nil {
			saw(own, found, found, mark)
		}
		return found, err
	}
	prefixes := []string{own.Prefix(layout.Checkpoint), other.Prefix(layout.Checkpoint)}
	results := make([][]blobState, len(prefixes))
	errs := make([]error, len(prefixes))
	mark := s.partitions.mark()
	inParallel(len(prefixes), len(prefixes), func(i int) { results[i], errs[i] = read(prefixes[i]) })
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	var all []blobState
	at := make(map[string]int)
	for _, r := range slices.Concat(results...) {
		j, known := at[r.partitionID]
		switch {
		case !known:
			at[r.partitionID] = len(all)
			all = append(all, r)
		case r.lastModified.After(all[j].lastModified):
			all[j] = r
		}
	}
	saw(own, results[0], all, mark)
	return all, nil
}

// checkpointOf is the checkpoint in a blob, in the caller's spelling.
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
	// lookEvery is how often a scope's other spelling is looked under for owners.
	lookEvery = 5 * time.Minute

	// lookTimeout bounds that look, which must not hold up a balancing round.
	lookTimeout = 5 * time.Second

	// liveFor is after what time the Event Hubs processors take an ownership for
	// expired by default.
	liveFor = time.Minute
)

// spellingWatch remembers when each scope was looked at last. The zero value is
// empty.
type spellingWatch struct {
	mu     sync.Mutex
	looked map[layout.Scope]time.Time
}

// due reports whether a scope is to be looked at, and takes note that it is.
func (w *spellingWatch) due(scope layout.Scope, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last, known := w.looked[scope]; known && now.Sub(last) < lookEvery {
		return false
	}
	if w.looked == nil {
		w.looked = make(map[layout.Scope]time.Time)
	}
	w.looked[scope] = now
	return true
}

// warnOfOtherSpelling logs a warning if somebody owns partitions of the scope
// under the names as typed, where this store does not see them.
func (s *BlobCheckpointStore) warnOfOtherSpelling(ctx context.Context, verbatim layout.Scope) {
	other, differs := s.otherScope(verbatim)
	if !differs || !s.settings.Logger.Enabled(ctx, slog.LevelWarn) || !s.spellings.due(verbatim, s.now()) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	prefix := other.Prefix(layout.Ownership)
	found, err := s.list(ctx, prefix)
	if err != nil {
		s.settings.Logger.LogAttrs(ctx, slog.LevelDebug, "could not look for owners under the names as typed",
			slog.String("prefix", prefix), slog.String("error", describe(s.secrets(), err)))
		return
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
		return
	}
	s.settings.Logger.LogAttrs(ctx, slog.LevelWarn,
		"a consumer that writes names as typed (the official Go, Java or Rust store) owns partitions that this store hands out too: both read them; stop it, or set BlobNamingVerbatim here",
		slog.String("theirs", prefix),
		slog.String("ours", s.scope(verbatim).Prefix(layout.Ownership)),
		slog.Int("partitions", live),
		slog.String("partition", oneLine(partition)),
		slog.String("owner", oneLine(owner)))
}
