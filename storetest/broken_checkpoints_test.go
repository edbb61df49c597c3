package storetest

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/ea947076/checkpointstore"
)

// brokenCheckpoints are defects of UpdateCheckpoint and ListCheckpoints.
func brokenCheckpoints() []broken {
	return []broken{
		{name: "no checkpoint is stored", found: []string{"a checkpoint that was stored is listed"}, breaks: updatesWith(func(context.Context, inner, checkpointstore.Checkpoint, *checkpointstore.UpdateCheckpointOptions) error {
			return nil
		})},
		{name: "the last writer wins", found: []string{"a position behind the one that the store wrote", "a position behind the one that another store", "an owner that was paused moves nothing back", "a stale position stays stale after the partition was won anew"}, breaks: updatedBy(func(c checkpointstore.Checkpoint, _ bool) (checkpointstore.Checkpoint, bool) { return c, true })},
		{name: "nil options rewind", found: []string{"nil options are the zero options"}, breaks: updatesWith(func(ctx context.Context, s inner, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
			return s.update(ctx, c, options == nil || options.Rewind)
		})},
		{name: "Rewind is not looked at", found: []string{"Rewind goes back"}, breaks: updatedBy(func(c checkpointstore.Checkpoint, _ bool) (checkpointstore.Checkpoint, bool) { return c, false })},
		{name: "First is not looked at", found: []string{"First stores nothing where there is a checkpoint", "First stores nothing where another store", "of 16 first checkpoints one is stored", "First together with Rewind"}, breaks: updatesWith(func(ctx context.Context, s inner, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
			if options != nil && options.First {
				time.Sleep(time.Duration(*c.SequenceNumber)) // the furthest of several comes last: the others are not stale
			}
			return s.update(ctx, c, options != nil && options.Rewind)
		})},
		{name: "First refuses what is behind only", found: []string{"First stores nothing where there is a checkpoint"}, breaks: updatesWith(func(ctx context.Context, s inner, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
			err := s.UpdateCheckpoint(ctx, c, options)
			if options != nil && options.First && errors.Is(err, checkpointstore.ErrStaleCheckpoint) {
				return s.UpdateCheckpoint(ctx, c, nil)
			}
			return err
		})},
		{name: "First stores nothing", found: []string{"First stores a position where there is none", "of 16 first checkpoints one is stored"}, breaks: updatesWith(func(ctx context.Context, s inner, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
			if options != nil && options.First && !options.Rewind {
				return checkpointstore.ErrStaleCheckpoint
			}
			return s.UpdateCheckpoint(ctx, c, options)
		})},
		{name: "a stale position is dropped in silence", found: []string{"a position behind the one that the store wrote"}, breaks: updatesWith(func(ctx context.Context, s inner, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
			if err := s.UpdateCheckpoint(ctx, c, options); !errors.Is(err, checkpointstore.ErrStaleCheckpoint) {
				return err
			}
			return nil
		})},
		{name: "a stale position is refused and stored", found: []string{"a position behind the one that the store wrote"}, breaks: updatesWith(func(ctx context.Context, s inner, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
			err := s.UpdateCheckpoint(ctx, c, options)
			if errors.Is(err, checkpointstore.ErrStaleCheckpoint) {
				_ = s.update(ctx, c, true)
			}
			return err
		})},
		{name: "the same position is stale", found: []string{"the same position again", "checkpoints at the same position"}, breaks: func(s inner, h *hooked) {
			var mu sync.Mutex
			h.update = func(ctx context.Context, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
				mu.Lock() // so that none of several looks before another has stored
				defer mu.Unlock()
				list, _ := s.checkpoints(ctx, scope{c.FullyQualifiedNamespace, c.EventHubName, c.ConsumerGroup})
				for _, stored := range list {
					if c.SequenceNumber != nil && stored.PartitionID == c.PartitionID && *stored.SequenceNumber == *c.SequenceNumber {
						return checkpointstore.ErrStaleCheckpoint
					}
				}
				return s.UpdateCheckpoint(ctx, c, options)
			}
		}},
		{name: "one position counts for all partitions", found: []string{"a position is not stale for what another partition has"}, breaks: func(s inner, h *hooked) {
			var mu sync.Mutex
			furthest := int64(math.MinInt64)
			h.update = func(ctx context.Context, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
				mu.Lock()
				defer mu.Unlock()
				if options == nil && c.SequenceNumber != nil && *c.SequenceNumber < furthest {
					return checkpointstore.ErrStaleCheckpoint
				}
				err := s.UpdateCheckpoint(ctx, c, options)
				if err == nil {
					furthest = *c.SequenceNumber
				}
				return err
			}
		}},
		{name: "lists forget what was written", found: []string{"a stale position stays stale after lists"}, breaks: forgetful(func(h *hooked, s inner, forget func()) {
			h.checkpoints = func(ctx context.Context, in scope) ([]checkpointstore.Checkpoint, error) {
				forget()
				return s.checkpoints(ctx, in)
			}
		})},
		{name: "claims forget what was written", found: []string{"a stale position stays stale after renewals", "a stale position stays stale after a claim that was lost", "a stale position stays stale after the partition was relinquished"}, breaks: forgetful(func(h *hooked, s inner, forget func()) {
			h.claim = func(ctx context.Context, claims []checkpointstore.Ownership) ([]checkpointstore.Ownership, error) {
				forget()
				return s.claim(ctx, claims...)
			}
		})},
		{name: "a checkpoint needs an owner", found: []string{"a checkpoint needs no claim", "UpdateCheckpoint does not look at who owns"}, breaks: updatesWith(func(ctx context.Context, s inner, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
			list, _ := s.ownerships(ctx, scope{c.FullyQualifiedNamespace, c.EventHubName, c.ConsumerGroup})
			if !slices.ContainsFunc(list, func(o checkpointstore.Ownership) bool { return o.PartitionID == c.PartitionID && o.OwnerID != "" }) {
				return errors.New("nobody owns the partition")
			}
			return s.UpdateCheckpoint(ctx, c, options)
		})},
		{name: "a checkpoint rotates the ownership's ETag", found: []string{"checkpoints do not touch ownerships"}, breaks: updatesWith(func(ctx context.Context, s inner, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
			owner := claimOf(c.PartitionID, "", "")
			if now := s.current(ctx, owner); now != nil {
				_, _ = s.claim(ctx, *now)
			}
			return s.UpdateCheckpoint(ctx, c, options)
		})},
	}
}
