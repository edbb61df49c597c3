package checkpointstore

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/ea947076/checkpointstore/internal/layout"
)

// ScopeRecords is everything that is stored of one scope under one spelling of
// its names. It is for tools; consumers use the lists of [CheckpointStore].
type ScopeRecords struct {
	// The names as the records spell them, which may differ from the caller's by
	// case.
	ConsumerGroup           string
	EventHubName            string
	FullyQualifiedNamespace string

	// Listed tells that ListOwnership and ListCheckpoints of the store read these
	// records as well. Stores with another [BlobNaming] than the default read their
	// own spelling only.
	Listed bool

	// Time is the clock by which the records' LastModifiedTime was set, when it
	// answered: the service's, to the second on blobs. Zero if it did not say.
	Time time.Time

	Ownerships  []Ownership
	Checkpoints []CheckpointRecord
}

// CheckpointRecord is a checkpoint with all that is stored beside its position.
type CheckpointRecord struct {
	// Checkpoint has its Offset and SequenceNumber nil where the record has no
	// readable one.
	Checkpoint

	// LastModifiedTime is when the record was written last, by the store's clock,
	// in UTC, to the second on blobs.
	LastModifiedTime time.Time

	// ETag is the state of the record.
	ETag *azcore.ETag

	// Generation is how often the partition was rewound, by
	// [UpdateCheckpointOptions].Rewind. Other packages drop it when they write.
	Generation int64

	// EnqueuedTime is when the event was enqueued, in UTC to the millisecond, if the
	// writer gave it.
	EnqueuedTime *time.Time

	// ClientID is the owner ID that the writer gave. Empty if it gave none.
	ClientID string
}

// ListRecordsOptions has no fields yet.
type ListRecordsOptions struct{}

// ListRecords returns the records of a scope whole, under each spelling of its
// names that a consumer may use: first the one that this store writes, then the
// other one if it differs, verbatim or in lower case. A spelling without records
// is part of the result, with empty lists. It changes nothing that the store
// knows of a partition, unlike ListCheckpoints: an update of a checkpoint does
// not count it as a look.
//
// Errors: [ErrInvalidArgument], [ErrContainerNotFound], [ErrNotAuthorized]; others
// are an [*Error] whose Kind is nil, also for a response that is not a list.
// Requests: one List Blobs for each spelling, at the same time, and one for each
// further page of 5,000 blobs, always at the primary. It may be called
// concurrently.
func (s *BlobCheckpointStore) ListRecords(ctx context.Context, fullyQualifiedNamespace, eventHubName, consumerGroup string, options *ListRecordsOptions) ([]ScopeRecords, error) {
	const op = "ListRecords"
	verbatim := scopeOf(fullyQualifiedNamespace, eventHubName, consumerGroup)
	if err := invalid("", verbatim.Check()); err != nil {
		return nil, withOp(op, err)
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	spellings := []layout.Scope{s.scope(verbatim)}
	for _, other := range []layout.Scope{verbatim, verbatim.Lower()} {
		if other != spellings[0] {
			spellings = append(spellings, other)
		}
	}
	found := make([]ScopeRecords, len(spellings))
	errs := make([]error, len(spellings))
	var lists sync.WaitGroup
	for i, scope := range spellings {
		lists.Go(func() { found[i], errs[i] = s.listRecords(ctx, scope) })
	}
	lists.Wait()
	other, listed := s.otherScope(verbatim)
	for i, scope := range spellings {
		found[i].Listed = i == 0 || listed && scope == other
	}
	for i, err := range errs {
		if err != nil {
			return nil, s.failure(op, target{blobName: rootOf(spellings[i]), action: listBlobs}, err)
		}
	}
	return found, nil
}

// listRecords lists both kinds of records of a scope together.
func (s *BlobCheckpointStore) listRecords(ctx context.Context, scope layout.Scope) (ScopeRecords, error) {
	ownerships, checkpoints := scope.Prefix(layout.Ownership), scope.Prefix(layout.Checkpoint)
	p := page{scope: scope, prefix: rootOf(scope), parents: []string{ownerships, checkpoints}}
	if err := s.listPages(ctx, &p); err != nil {
		return ScopeRecords{}, err
	}
	var owned, checkpointed []blobState
	for _, r := range p.records {
		if r.prefix == ownerships {
			owned = append(owned, r)
		} else {
			checkpointed = append(checkpointed, r)
		}
	}
	found := ScopeRecords{
		ConsumerGroup:           scope.ConsumerGroup,
		EventHubName:            scope.EventHub,
		FullyQualifiedNamespace: scope.Namespace,
		Time:                    p.date,
	}
	for _, r := range newestOfEach(owned) {
		found.Ownerships = append(found.Ownerships, ownershipOf(scope, r.partitionID, r))
	}
	for _, r := range newestOfEach(checkpointed) {
		found.Checkpoints = append(found.Checkpoints, checkpointRecordOf(scope, r))
	}
	return found, nil
}

// rootOf is the prefix of all blobs of a scope.
func rootOf(scope layout.Scope) string {
	return strings.TrimSuffix(scope.Prefix(layout.Ownership), string(layout.Ownership)+"/")
}

// checkpointRecordOf converts a checkpoint blob.
func checkpointRecordOf(scope layout.Scope, r blobState) CheckpointRecord {
	c := CheckpointRecord{
		Checkpoint: Checkpoint{
			ConsumerGroup:           scope.ConsumerGroup,
			EventHubName:            scope.EventHub,
			FullyQualifiedNamespace: scope.Namespace,
			PartitionID:             r.partitionID,
		},
		LastModifiedTime: r.lastModified,
		Generation:       r.values.Generation(),
		EnqueuedTime:     r.values.EnqueuedTime(),
		ClientID:         r.values.ClientID(),
	}
	c.Offset, c.SequenceNumber = r.values.Position()
	if r.etag != "" {
		etag := azcore.ETag(r.etag)
		c.ETag = &etag
	}
	return c
}
