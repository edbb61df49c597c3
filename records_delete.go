package checkpointstore

import (
	"context"
	"errors"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"

	"github.com/ea947076/checkpointstore/internal/layout"
)

// DeleteOwnershipOptions has no fields yet.
type DeleteOwnershipOptions struct{}

// DeleteCheckpointOptions has no fields yet.
type DeleteCheckpointOptions struct{}

// DeleteOwnership deletes an ownership record that [BlobCheckpointStore.ListRecords]
// returned, if it was not written since. It uses the names as the record spells them.
// It is for tools that clean up: consumers relinquish instead. A record that does not
// exist is not an error.
//
// Errors: [ErrRecordChanged]; [ErrInvalidArgument], also for a record without an ETag;
// [ErrContainerNotFound]; [ErrNotAuthorized]. Only the two methods that delete need the
// permission to delete.
//
// Requests: one Delete Blob with If-Match, and one Get Blob Properties if its
// condition was not met. Safe for concurrent use.
func (s *BlobCheckpointStore) DeleteOwnership(ctx context.Context, ownership Ownership, options *DeleteOwnershipOptions) error {
	return s.delete(ctx, "DeleteOwnership", layout.Ownership, ownership.scope(), ownership.PartitionID, ownership.ETag)
}

// DeleteCheckpoint deletes a checkpoint record that [BlobCheckpointStore.ListRecords]
// returned, if it was not written since. It uses the names as the record spells them.
// Without a checkpoint, a consumer starts at its default position, which may skip
// events. A record that does not exist is not an error.
//
// Errors, requests and concurrency are those of
// [BlobCheckpointStore.DeleteOwnership].
func (s *BlobCheckpointStore) DeleteCheckpoint(ctx context.Context, checkpoint CheckpointRecord, options *DeleteCheckpointOptions) error {
	return s.delete(ctx, "DeleteCheckpoint", layout.Checkpoint, checkpoint.scope(), checkpoint.PartitionID, checkpoint.ETag)
}

// delete deletes the blob with that name in that state.
func (s *BlobCheckpointStore) delete(ctx context.Context, op string, kind layout.Kind, scope layout.Scope, partitionID string, etag *azcore.ETag) error {
	err := checkPartition(scope, partitionID)
	if err == nil && etag == nil {
		err = errors.New("the record has no ETag: delete one that ListRecords returned")
	}
	if err == nil {
		err = layout.CheckETag(string(*etag))
	}
	if err := invalid(partitionID, err); err != nil {
		return withOp(op, err)
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	at := target{partitionID, scope.Prefix(kind) + partitionID, deleteBlob}
	onETag := azcore.ETag(layout.ETag(string(*etag)))
	request := &requestContext{Context: ctx}
	_, err = s.blob(at.blobName).Delete(request, &blob.DeleteOptions{
		AccessConditions: &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: &onETag}},
	})
	if err == nil {
		return nil
	}
	err = request.explain(err)
	switch answer := answerIn(err); {
	case answer != nil && isBlobNotFound(answer):
		return nil
	case answer != nil && isConditionNotMet(answer):
		now, err := read(ctx, s.blob(at.blobName)) // some services answer so for a blob that does not exist
		if err != nil {
			return s.failure(op, at, &readError{err})
		}
		if now.etag == "" {
			return nil
		}
		return &Error{Op: op, PartitionID: partitionID, BlobName: at.blobName, Kind: ErrRecordChanged, Detail: "it was written since it was listed, and was not deleted: list again"}
	}
	return s.failure(op, at, err)
}
