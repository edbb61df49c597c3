package storetest

import (
	"context"

	"github.com/ea947076/checkpointstore"
)

// brokenRewinds are defects in what a store knows of generations.
func brokenRewinds() []broken {
	return []broken{
		{name: "updates carry no generation", found: []string{"a rewind refuses", "a rewind to the stored position", "ErrRewound is", "a later list", "a renewal does not", "an owner that was paused past"}, breaks: updatesWith(func(ctx context.Context, s inner, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
			return s.Share().UpdateCheckpoint(ctx, c, options)
		})},
		{name: "claims begin no tenure", found: []string{"a new tenure goes on from a rewind", "a claim under another owner id"}, breaks: claimsWith(func(ctx context.Context, s inner, claims []checkpointstore.Ownership) ([]checkpointstore.Ownership, error) {
			return s.Share().ClaimOwnership(ctx, claims, nil)
		})},
		{name: "a stored sequence number is not stored again", found: []string{"Rewind stores another offset"}, breaks: updatesWith(func(ctx context.Context, s inner, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
			stored, err := s.Share().GetCheckpoint(ctx, c.FullyQualifiedNamespace, c.EventHubName, c.ConsumerGroup, c.PartitionID, nil)
			if err == nil && c.SequenceNumber != nil && *stored.SequenceNumber == *c.SequenceNumber {
				return nil
			}
			return s.UpdateCheckpoint(ctx, c, options)
		})},
		{name: "an enqueued time is refused", found: []string{"a checkpoint may have an enqueued time"}, breaks: updatesWith(func(ctx context.Context, s inner, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
			if options != nil && options.EnqueuedTime != nil {
				return checkpointstore.ErrInvalidArgument
			}
			return s.UpdateCheckpoint(ctx, c, options)
		})},
	}
}
