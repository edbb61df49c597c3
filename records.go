package checkpointstore

import (
	"context"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/ea947076/checkpointstore/internal/layout"
)

// ScopeRecords has all records of one scope under one spelling of its names. It is for
// tools; consumers use the lists of [CheckpointStore].
type ScopeRecords struct {
	// The names as the records spell them, which may differ from the caller's by
	// case.
	ConsumerGroup           string
	EventHubName            string
	FullyQualifiedNamespace string

	// Listed reports whether the store's ListCheckpoints also reads these records. A
	// store with a [BlobNaming] other than the default reads only its own spelling.
	Listed bool

	// Time is the time of the response, by the same clock as the records'
	// LastModifiedTime: on blobs the service's, to the second. It is zero if the
	// response had none.
	Time time.Time

	Ownerships  []Ownership
	Checkpoints []CheckpointRecord
}

// CheckpointRecord is a checkpoint with everything that is stored with its position.
type CheckpointRecord struct {
	// Checkpoint has a nil Offset or SequenceNumber if the record's cannot be read.
	Checkpoint

	// LastModifiedTime is when the record was last written, by the store's clock, in
	// UTC; on blobs, to the second.
	LastModifiedTime time.Time

	// ETag identifies the state of the record.
	ETag *azcore.ETag

	// Generation is how often the partition was rewound, by
	// [UpdateCheckpointOptions].Rewind. Other packages drop it when they write.
	Generation int64

	// EnqueuedTime is when the event was enqueued, in UTC to the millisecond, if the
	// writer gave it.
	EnqueuedTime *time.Time

	// ClientID is the owner ID of the writer. It is empty if the writer gave none.
	ClientID string
}

// ListRecordsOptions has no fields yet.
type ListRecordsOptions struct{}

// ListRecords returns the complete records of a scope, for tools. There is one result
// for each spelling of the names that consumers may use: first the one that this store
// writes, then the other one, verbatim or in lower case, if it differs. A spelling
// without records is included, with empty lists. Unlike ListCheckpoints, it does not
// count as the read that decides which generation later updates belong to.
//
// Errors: [ErrInvalidArgument], [ErrContainerNotFound], [ErrNotAuthorized]. Any other
// failure, such as a response that is not a list, is an [*Error] whose Kind is nil.
//
// Requests: for each spelling, at the same time, one List Blobs for each page of up to
// 5,000 blobs, always to the primary. Safe for concurrent use.
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
	inParallel(len(spellings), len(spellings), func(i int) { found[i], errs[i] = s.listRecords(ctx, spellings[i]) })
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
