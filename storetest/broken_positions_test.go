package storetest

import (
	"context"
	"math"
	"strings"
	"sync"

	"github.com/ea947076/checkpointstore"
)

// brokenPositions are defects in what is stored of a checkpoint.
func brokenPositions() []broken {
	return []broken{
		{name: "an absent offset leaves the old one", found: []string{"a later checkpoint replaces the earlier one"}, breaks: func(s inner, h *hooked) {
			var mu sync.Mutex
			last := make(map[string]*string)
			h.update = func(ctx context.Context, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
				mu.Lock()
				defer mu.Unlock()
				if c.Offset == nil {
					c.Offset = last[c.PartitionID]
				}
				last[c.PartitionID] = c.Offset
				return s.UpdateCheckpoint(ctx, c, options)
			}
		}},
		{name: "offsets are numbers", found: []string{`the offset "1:2:345"`}, breaks: updatedBy(func(c checkpointstore.Checkpoint, rewind bool) (checkpointstore.Checkpoint, bool) {
			if c.Offset != nil && strings.Trim(*c.Offset, "0123456789") != "" && !strings.ContainsFunc(*c.Offset, func(r rune) bool { return r < ' ' || r > '~' }) && strings.TrimSpace(*c.Offset) == *c.Offset {
				c.Offset = nil
			}
			return c, rewind
		})},
		{name: "offsets that are not there are empty", found: []string{`the offset "None" comes back as none`}, breaks: readBy(each(func(c *checkpointstore.Checkpoint) {
			if c.Offset == nil {
				c.Offset = new(string)
			}
		}))},
		{name: "offset 0 is none", found: []string{`the offset "0"`}, breaks: readBy(each(func(c *checkpointstore.Checkpoint) {
			if c.Offset != nil && *c.Offset == "0" {
				c.Offset = nil
			}
		}))},
		{name: "sequence numbers are floats", found: []string{"the sequence number 9007199254740993", "the sequence number 9223372036854775807"}, breaks: numberedBy(func(n int64) int64 { return int64(float64(n)/2) * 2 })},
		{name: "sequence numbers have 32 bits and no sign", found: []string{"the sequence number 9007199254740992", "the sequence number -1", "the sequence number -9223372036854775807"}, breaks: numberedBy(func(n int64) int64 { return int64(uint32(n)) })},
		{name: "sequence number 0 is none", found: []string{"the sequence number 0"}, breaks: readBy(each(func(c *checkpointstore.Checkpoint) {
			if *c.SequenceNumber == 0 {
				c.SequenceNumber = nil
			}
		}))},
		{name: "checkpoints are listed for partition 1 as well", found: []string{"a partition without a checkpoint", "ListCheckpoints of a scope without any"}, breaks: readBy(func(list []checkpointstore.Checkpoint) []checkpointstore.Checkpoint {
			return append(list, at("none", 0, ""))
		})},
		{name: "only the first page of checkpoints is listed", found: []string{"300 checkpoints"}, breaks: readBy(func(list []checkpointstore.Checkpoint) []checkpointstore.Checkpoint {
			return list[:min(len(list), 256)]
		})},
		{name: "partition ids of checkpoints are lower-cased", found: []string{"checkpoints of partition ids that differ only in case"}, breaks: updatedBy(func(c checkpointstore.Checkpoint, rewind bool) (checkpointstore.Checkpoint, bool) {
			c.PartitionID = strings.ToLower(c.PartitionID)
			return c, rewind
		})},
		{name: "bad checkpoints are repaired", found: []string{"a checkpoint without a sequence number", "a checkpoint at the smallest int64", "an offset with a space before it", "a partition id that is empty", "a refused checkpoint leaves"}, breaks: updatedBy(func(c checkpointstore.Checkpoint, rewind bool) (checkpointstore.Checkpoint, bool) {
			if c.SequenceNumber == nil || *c.SequenceNumber == math.MinInt64 {
				c = number(c, 0)
			}
			if c.Offset != nil {
				offset := repaired(*c.Offset, "")
				c.Offset = &offset
			}
			c.PartitionID = repaired(c.PartitionID, "x")
			return c, rewind
		})},
		{name: "updates change what they are given", found: []string{"UpdateCheckpoint changes nothing"}, breaks: updatesWith(func(ctx context.Context, s inner, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
			err := s.UpdateCheckpoint(ctx, c, options)
			if err == nil && c.Offset != nil && *c.Offset == "None" {
				*c.Offset = ""
			}
			return err
		})},
		{alone: true, name: "checkpoints share what they are given and what they give", found: []string{"a checkpoint that was stored may be changed", "what ListCheckpoints returned may be changed"}, breaks: func(s inner, h *hooked) {
			var mu sync.Mutex
			kept := make(map[string]checkpointstore.Checkpoint)
			h.update = func(ctx context.Context, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
				mu.Lock()
				defer mu.Unlock()
				err := s.UpdateCheckpoint(ctx, c, options)
				if err == nil {
					kept[c.PartitionID] = c
				}
				return err
			}
			readBy(func(list []checkpointstore.Checkpoint) []checkpointstore.Checkpoint {
				mu.Lock()
				defer mu.Unlock()
				for i := range list {
					k := kept[list[i].PartitionID]
					list[i].SequenceNumber, list[i].Offset = k.SequenceNumber, k.Offset
				}
				return list
			})(s, h)
		}},
		{alone: true, name: "a listed checkpoint is what is written next", found: []string{"what ListCheckpoints returned does not change"}, breaks: func(s inner, h *hooked) {
			last := make(map[string]checkpointstore.Checkpoint)
			readBy(func(list []checkpointstore.Checkpoint) []checkpointstore.Checkpoint {
				for _, c := range list {
					last[c.PartitionID] = c
				}
				return list
			})(s, h)
			h.update = func(ctx context.Context, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
				err := s.UpdateCheckpoint(ctx, c, options)
				if l, found := last[c.PartitionID]; found && err == nil {
					*l.SequenceNumber = *c.SequenceNumber
				}
				return err
			}
		}},
	}
}
