package checkpointstore

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/ea947076/checkpointstore/internal/layout"
)

// ClaimOwnership claims partitions, as [CheckpointStore] has it, all at once up
// to MaxConcurrency.
//
// A claim whose blob somebody deleted is made anew, on condition that nobody
// else did. (Azurite answers such a claim with "condition not met", so there it
// is lost, and won after the next list.) A claim whose answer was lost on the
// way, or whose "condition not met" answered a request that was sent more than
// once, is decided by reading the blob: it was won if the owner is the one that
// claimed and the ETag is not the one it was claimed with.
//
// Not errors: claims that were lost, which are left out and logged at debug
// level. Errors: [ErrInvalidArgument] before the first request; otherwise a
// [PartitionErrors], together with the winners: [ErrContainerNotFound],
// [ErrNotAuthorized], a blob that somebody leased, or the context's error for
// partitions that it cut off, which may or may not be claimed.
//
// Requests, for each partition: without an ETag, Put Blob with If-None-Match: *;
// with one, Set Blob Metadata with If-Match; a Put Blob more if the blob was
// deleted, a Get Blob Properties more if the answer is ambiguous. None for no
// claims.
func (s *BlobCheckpointStore) ClaimOwnership(ctx context.Context, ownerships []Ownership, options *ClaimOwnershipOptions) ([]Ownership, error) {
	const op = "ClaimOwnership"
	if err := ValidateClaims(ownerships); err != nil {
		return nil, named(op, err)
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()

	type result struct {
		won Ownership
		ok  bool
		err error
	}
	results := make([]result, len(ownerships))
	inParallel(len(ownerships), s.settings.MaxConcurrency, func(i int) {
		r := &results[i]
		r.won, r.ok, r.err = s.claim(ctx, ownerships[i])
	})

	won := make([]Ownership, 0, len(ownerships))
	var failed PartitionErrors
	for i, r := range results {
		switch {
		case r.err != nil:
			at := place{ownerships[i].PartitionID, s.ownershipBlob(ownerships[i]), writeBlob}
			failed = append(failed, s.failure(op, at, r.err).(*Error))
		case r.ok:
			won = append(won, r.won)
		}
	}
	if failed != nil {
		return won, failed
	}
	return won, nil
}

func (s *BlobCheckpointStore) ownershipBlob(o Ownership) string {
	return s.scope(o.scope()).Prefix(layout.Ownership) + o.PartitionID
}

// claim claims one partition. It returns the record if it was won, and an error
// if that could not be decided.
func (s *BlobCheckpointStore) claim(ctx context.Context, o Ownership) (won Ownership, ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return Ownership{}, false, err
	}
	name := s.ownershipBlob(o)
	b, m := s.blob(name), layout.OwnershipMetadata(o.OwnerID)
	var on string
	var a answer
	if o.ETag == nil {
		a = create(ctx, b, m)
	} else {
		on = layout.ETag(string(*o.ETag))
		a = replace(ctx, b, m, on)
		if a.outcome == absent {
			s.settings.logger.LogAttrs(ctx, slog.LevelInfo, "the ownership blob was deleted, claiming anew", slog.String("blob", name))
			a = create(ctx, b, m)
		}
	}
	now := record{etag: a.etag, lastModified: a.lastModified}
	switch a.outcome {
	case stored:
	case refused:
		s.lost(ctx, name, o)
		return Ownership{}, false, nil
	case unanswered:
		if ctx.Err() != nil {
			return Ownership{}, false, ctx.Err()
		}
		r, rerr := read(ctx, b)
		switch {
		case rerr != nil:
			return Ownership{}, false, a.err
		case r.etag != "" && r.etag != on && layout.OwnerID(r.metadata) == o.OwnerID:
			now = r
		case a.lost:
			s.lost(ctx, name, o)
			return Ownership{}, false, nil
		default:
			return Ownership{}, false, a.err
		}
	default: // failed, or absent after a create
		return Ownership{}, false, a.err
	}
	p := s.records.of(s.scope(o.scope()).Prefix(layout.Checkpoint), o.PartitionID)
	s.records.won(p, on, now.etag, o.OwnerID == "")
	return claimed(o, now), true, nil
}

// claimed is a copy of the claim with the record's new state.
func claimed(o Ownership, now record) Ownership {
	etag := azcore.ETag(now.etag)
	o.ETag, o.LastModifiedTime = &etag, now.lastModified
	return o
}

func (s *BlobCheckpointStore) lost(ctx context.Context, name string, o Ownership) {
	s.settings.logger.LogAttrs(ctx, slog.LevelDebug, "claim lost", slog.String("blob", name), slog.String("owner", o.OwnerID))
}

// inParallel calls do for 0 to n-1, at most limit at once, and returns when all
// have returned.
func inParallel(n, limit int, do func(int)) {
	if n == 1 {
		do(0)
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, limit) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				do(i)
			}
		})
	}
	wg.Wait()
}
