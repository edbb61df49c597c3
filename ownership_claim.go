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

// ClaimOwnership claims partitions, as [CheckpointStore] has it, up to
// MaxConcurrency of them at the same time. A claim on a blob that was deleted
// since creates it again.
//
// Lost claims are not errors: they are left out, and logged at debug level. If
// the answer to a claim was lost on the way, the blob is read: the claim is won if
// the blob can be what this claim wrote. Owner IDs must be unique per process: of
// two concurrent claims under one ID, both may be reported won. A relinquish then
// succeeds if the partition has no owner.
//
// Errors: [ErrInvalidArgument] before the first request; otherwise
// [*PartitionErrors], together with the winners: [ErrContainerNotFound],
// [ErrNotAuthorized], [ErrCredential], a blob that somebody leased, or the
// context's error for partitions that may or may not be claimed.
//
// Requests, for each partition: Put Blob with If-None-Match: * without an ETag,
// Set Blob Metadata with If-Match with one; then a Put Blob if the blob was deleted,
// and a Get Blob Properties if it is not known whether the write was applied.
func (s *BlobCheckpointStore) ClaimOwnership(ctx context.Context, ownerships []Ownership, options *ClaimOwnershipOptions) ([]Ownership, error) {
	const op = "ClaimOwnership"
	if err := validateClaims(ownerships, s.scope); err != nil {
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
	var failed []*Error
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
		return won, &PartitionErrors{failed}
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
	if ctx.Err() != nil {
		return Ownership{}, false, ended(ctx, nil)
	}
	var on string
	if o.ETag != nil {
		on = layout.ETag(string(*o.ETag))
	}
	p := s.partitions.of(scope, o.PartitionID)
	b := p.client(s, scope, layout.Ownership, o.PartitionID)
	now, ok, err := s.resolveClaim(ctx, b, o.OwnerID, on, s.tryClaim(ctx, b, o, on))
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
		if w := replace(ctx, b, m, on); w.outcome != notFound {
			return w
		}
		s.settings.Logger.LogAttrs(ctx, slog.LevelInfo, "the ownership blob was deleted, claiming anew", slog.String("blob", s.ownershipBlob(o)))
	}
	return create(ctx, b, m)
}

// resolveClaim tells whether a claim was won: from the result of its write or, if
// that does not settle it, from the blob. See docs/design.md, "The decision of a
// claim whose answer was lost".
func (s *BlobCheckpointStore) resolveClaim(ctx context.Context, b *blockblob.Client, ownerID, on string, w writeResult) (now blobState, won bool, err error) {
	switch w.outcome {
	case applied:
		return blobState{etag: w.etag, lastModified: w.lastModified}, true, nil
	case conditionNotMet:
		return blobState{}, false, nil
	case ambiguous:
		return s.readClaim(ctx, b, ownerID, on, w)
	}
	return blobState{}, false, w.err
}

// readClaim resolves an ambiguous claim by reading the blob. In doubt the claim is
// lost, or undecided: to lose what was won costs one round of claims, to win what
// somebody else won makes a second owner.
func (s *BlobCheckpointStore) readClaim(ctx context.Context, b *blockblob.Client, ownerID, on string, w writeResult) (now blobState, won bool, err error) {
	now, err = readBack(ctx, b, w, s.tryTimeout())
	switch {
	case err != nil && ctx.Err() != nil && !w.sawConditionNotMet:
		return blobState{}, false, ended(ctx, w.err)
	case err != nil && (w.sawConditionNotMet || isRefused(err) && !isRefused(w.err)):
		return blobState{}, false, &readError{err} // the write's own answer does not say what is wrong
	case err != nil:
		return blobState{}, false, w.err
	case now.etag != "" && now.etag != on && now.values.OwnerID() == ownerID && now.canBe(w):
		return now, true, nil
	case w.sawConditionNotMet:
		return blobState{}, false, nil
	}
	return blobState{}, false, w.err
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
