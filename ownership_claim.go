package checkpointstore

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

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
// claimed and the ETag is not the one it was claimed with. So claims with one
// owner id are one owner's: two of them on the same state may both be won, with
// the same ETag. And to relinquish is won then if nobody owns the partition.
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
		return nil, withOp(op, err)
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()

	type result struct {
		won Ownership
		ok  bool
		err error
	}
	results := make([]result, len(ownerships))
	etags := make([]azcore.ETag, len(ownerships)) // of the winners, in one piece of memory
	scopes := s.scopes(ownerships)
	inParallel(len(ownerships), s.settings.MaxConcurrency, func(i int) {
		r := &results[i]
		r.won, r.ok, r.err = s.claim(ctx, ownerships[i], scopes(i), &etags[i])
	})

	won := make([]Ownership, 0, len(ownerships))
	var failed PartitionErrors
	for i, r := range results {
		switch {
		case r.err != nil:
			at := target{ownerships[i].PartitionID, s.ownershipBlob(ownerships[i]), writeBlob}
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

// scopes spells the scope of each claim as the store writes it. Those of one call
// are nearly always the same.
func (s *BlobCheckpointStore) scopes(ownerships []Ownership) func(i int) layout.Scope {
	if len(ownerships) == 0 {
		return nil
	}
	first := ownerships[0].scope()
	spelled := s.scope(first)
	return func(i int) layout.Scope {
		if verbatim := ownerships[i].scope(); verbatim != first {
			return s.scope(verbatim)
		}
		return spelled
	}
}

func (s *BlobCheckpointStore) ownershipBlob(o Ownership) string {
	return s.scope(o.scope()).Prefix(layout.Ownership) + o.PartitionID
}

// claim claims one partition. It returns the record if it was won, with its ETag
// in etag, and an error if that could not be decided.
func (s *BlobCheckpointStore) claim(ctx context.Context, o Ownership, scope layout.Scope, etag *azcore.ETag) (won Ownership, ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return Ownership{}, false, err
	}
	var on string
	if o.ETag != nil {
		on = layout.ETag(string(*o.ETag))
	}
	p := s.partitions.of(scope, o.PartitionID)
	b := p.client(s, scope, layout.Ownership, o.PartitionID)
	now, ok, err := resolveClaim(ctx, b, o.OwnerID, on, s.tryClaim(ctx, b, o, on))
	switch {
	case err != nil:
		return Ownership{}, false, err
	case !ok:
		s.settings.Logger.LogAttrs(ctx, slog.LevelDebug, "claim lost", slog.String("blob", s.ownershipBlob(o)), slog.String("owner", o.OwnerID))
		return Ownership{}, false, nil
	}
	s.partitions.won(p, on, now.etag, o.OwnerID)
	*etag = azcore.ETag(now.etag)
	o.ETag, o.LastModifiedTime = etag, now.lastModified
	return o, true, nil
}

// tryClaim writes the owner, on condition that the blob has that ETag or, without
// one or if somebody deleted it, that there is no blob.
func (s *BlobCheckpointStore) tryClaim(ctx context.Context, b *blockblob.Client, o Ownership, on string) writeResult {
	m := layout.OwnershipMetadata(o.OwnerID)
	if on != "" {
		if a := replace(ctx, b, m, on); a.outcome != notFound {
			return a
		}
		s.settings.Logger.LogAttrs(ctx, slog.LevelInfo, "the ownership blob was deleted, claiming anew", slog.String("blob", s.ownershipBlob(o)))
	}
	return create(ctx, b, m)
}

// resolveClaim tells whether a claim was won, from its answer and, if that may be
// wrong, from the blob.
func resolveClaim(ctx context.Context, b *blockblob.Client, ownerID, on string, a writeResult) (now blobState, won bool, err error) {
	switch a.outcome {
	case applied:
		return blobState{etag: a.etag, lastModified: a.lastModified}, true, nil
	case conditionNotMet:
		return blobState{}, false, nil
	case ambiguous:
		if err := ctx.Err(); err != nil {
			return blobState{}, false, err
		}
		r, err := read(ctx, b)
		switch {
		case ctx.Err() != nil && err != nil:
			return blobState{}, false, ctx.Err()
		case err != nil:
		case r.etag != "" && r.etag != on && r.values.OwnerID() == ownerID:
			return r, true, nil
		case a.sawConditionNotMet:
			return blobState{}, false, nil
		}
	}
	return blobState{}, false, a.err
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
