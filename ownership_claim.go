package checkpointstore

import (
	"context"
	"log/slog"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/ea947076/checkpointstore/internal/layout"
)

// ClaimOwnership claims partitions, up to MaxConcurrency at the same time: see
// [CheckpointStore]. It creates a blob that was deleted since its ETag was read.
//
// A lost claim is not an error: it is left out, and logged at debug level. If the
// response to a claim was lost, the store reads the blob: the claim is won if the
// blob can be what this claim wrote. Owner IDs must be unique per process: of two
// concurrent claims under one ID, both may be reported won. A relinquish whose
// response was lost succeeds if the partition has no owner.
//
// Errors: [ErrInvalidArgument] before the first request. After that, a
// [*PartitionErrors] together with the won records. Its entries are
// [ErrContainerNotFound], [ErrNotAuthorized], [ErrCredential], a blob that somebody
// leased, or the context's error for a partition that may or may not be claimed.
//
// Requests for each partition: Put Blob with If-None-Match: * if the claim has no
// ETag, otherwise Set Blob Metadata with If-Match; then Put Blob if the blob was
// deleted, and Get Blob Properties if the outcome of the write is not known. Safe
// for concurrent use.
func (s *BlobCheckpointStore) ClaimOwnership(ctx context.Context, ownerships []Ownership, options *ClaimOwnershipOptions) ([]Ownership, error) {
	const op = "ClaimOwnership"
	if err := validateClaims(ownerships, s.scope); err != nil {
		return nil, withOp(op, err)
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()

	results := make([]claimResult, len(ownerships))
	scopes := s.scopes(ownerships)
	inParallel(len(ownerships), s.settings.MaxConcurrency, func(i int) {
		results[i] = s.claim(ctx, ownerships[i], scopes(i))
	})

	won := make([]Ownership, 0, len(ownerships))
	etags := make([]azcore.ETag, len(ownerships)) // of the winners, in one piece of memory
	var failed []*Error
	for i, r := range results {
		o := ownerships[i]
		switch {
		case r.err != nil:
			at := target{o.PartitionID, scopes(i).BlobName(layout.Ownership, o.PartitionID), writeBlob}
			failed = append(failed, s.failure(op, at, r.err).(*Error))
		case r.won:
			etags[i] = azcore.ETag(r.etag)
			o.ETag, o.LastModifiedTime = &etags[i], r.lastModified
			won = append(won, o)
		}
	}
	if failed != nil {
		return won, &PartitionErrors{failed}
	}
	return won, nil
}

// scopes spells the scope of each claim as the store writes it. The claims of one
// call nearly always have the same scope.
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

// claimResult is the outcome of one claim: won, with the record's new state; lost;
// or not decided, with an error.
type claimResult struct {
	won          bool
	etag         string // in the form of [layout.ETag]
	lastModified time.Time
	err          error
}

// claim claims one partition.
func (s *BlobCheckpointStore) claim(ctx context.Context, o Ownership, scope layout.Scope) claimResult {
	if ctx.Err() != nil {
		return claimResult{err: ended(ctx, nil)}
	}
	p := s.partitions.of(scope, o.PartitionID)
	c := ownershipClaim{store: s, scope: scope, partitionID: o.PartitionID, ownerID: o.OwnerID}
	c.blob = p.client(s, scope, layout.Ownership, o.PartitionID)
	if o.ETag != nil {
		c.etag = layout.ETag(string(*o.ETag))
	}
	r := c.resolve(ctx, c.try(ctx))
	switch {
	case r.won:
		s.partitions.won(p, c.etag, r.etag, c.ownerID)
	case r.err == nil:
		c.log(ctx, slog.LevelDebug, "claim lost")
	}
	return r
}

// ownershipClaim is one claim on its way.
type ownershipClaim struct {
	store       *BlobCheckpointStore
	scope       layout.Scope // as the store spells it
	partitionID string
	ownerID     string
	etag        string // of the record that the claim replaces; empty for none
	blob        *blockblob.Client
}

// try writes the owner, on condition that the blob still has the claim's ETag. If
// the claim has none, or somebody deleted the blob, the condition is that there is
// no blob.
func (c *ownershipClaim) try(ctx context.Context) writeResult {
	m := layout.OwnershipMetadata(c.ownerID)
	if c.etag != "" {
		if w := replace(ctx, c.blob, m, c.etag); w.outcome != notFound {
			return w
		}
		c.log(ctx, slog.LevelInfo, "the ownership blob was deleted; the claim creates it again")
	}
	return create(ctx, c.blob, m)
}

// resolve decides whether the claim was won: from the result of its write or, if
// that does not settle it, from the blob. See docs/design.md, "The decision of a
// claim whose answer was lost".
func (c *ownershipClaim) resolve(ctx context.Context, w writeResult) claimResult {
	switch w.outcome {
	case applied:
		return claimResult{won: true, etag: w.etag, lastModified: w.lastModified}
	case conditionNotMet:
		return claimResult{}
	case ambiguous:
		return c.resolveByRead(ctx, w)
	}
	return claimResult{err: w.err}
}

// resolveByRead decides an ambiguous claim by reading the blob. In doubt the claim
// is lost or an error: a claim that is lost by mistake costs one round of claims,
// a claim that is won by mistake makes a second owner.
func (c *ownershipClaim) resolveByRead(ctx context.Context, w writeResult) claimResult {
	now, err := readBack(ctx, c.blob, w, c.store.tryTimeout())
	switch {
	case err != nil && ctx.Err() != nil && !w.sawConditionNotMet:
		return claimResult{err: ended(ctx, w.err)}
	case err != nil && (w.sawConditionNotMet || isRefused(err) && !isRefused(w.err)):
		return claimResult{err: &readError{err}} // the write's own answer does not say what is wrong
	case err != nil:
		return claimResult{err: w.err}
	case now.etag != "" && now.etag != c.etag && now.values.OwnerID() == c.ownerID && now.canBe(w):
		return claimResult{won: true, etag: now.etag, lastModified: now.lastModified}
	case w.sawConditionNotMet:
		return claimResult{}
	}
	return claimResult{err: w.err}
}

func (c *ownershipClaim) log(ctx context.Context, level slog.Level, message string) {
	c.store.settings.Logger.LogAttrs(ctx, level, message,
		slog.String("blob", c.scope.BlobName(layout.Ownership, c.partitionID)), slog.String("owner", c.ownerID))
}
