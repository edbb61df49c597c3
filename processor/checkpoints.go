package processor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore"
)

// checkpointCache is the last good list of a scope, with what was stored since.
type checkpointCache struct {
	begun turn // when the list was asked for; zero if there was none
	items map[string]cachedCheckpoint
}

type cachedCheckpoint struct {
	checkpoint checkpointstore.Checkpoint
	stored     turn // when it was stored through this adapter; zero if it was listed
}

func (a *adapter) listCheckpoints(ctx context.Context, n names) ([]azeventhubs.Checkpoint, error) {
	err := a.readCheckpoints(ctx, n)
	if err != nil && ctx.Err() != nil {
		return nil, err
	}

	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.scope(n)
	if err != nil {
		missing := s.unknownTo(ctx)
		if Lasting(err) || len(missing) > 0 || s.checkpoints.empty() {
			err = fmt.Errorf("processor: the checkpoints of %s cannot be listed: %w", n, err)
			for _, o := range s.suspects(ctx) {
				o.orphaned = err
			}
			a.log.Error("the checkpoints cannot be listed; the Processor has to end, as it leaves what it claimed unread", "scope", n.String(), "unknown", missing, "error", err)
			return nil, err
		}
		a.log.Warn("the checkpoints cannot be listed; serving the last list", "scope", n.String(), "error", err)
	}
	return s.checkpoints.serve(n), nil
}

// readCheckpoints fills the cache. It tries more than once.
func (a *adapter) readCheckpoints(ctx context.Context, n names) error {
	if a.options.CheckpointTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.options.CheckpointTimeout)
		defer cancel()
	}
	for try := 0; ; try++ {
		a.mu.Lock()
		begun := a.next()
		a.mu.Unlock()
		list, err := a.store.ListCheckpoints(ctx, n.namespace, n.eventHub, n.consumerGroup, nil)
		if err == nil {
			a.mu.Lock()
			a.scope(n).checkpoints.fill(a.legible(n, list), begun)
			a.mu.Unlock()
			return nil
		}
		if Lasting(err) || try >= a.options.CheckpointRetries || !sleep(ctx, retryDelay(try)) {
			return err
		}
		a.log.Debug("the checkpoints could not be listed; trying again", "scope", n.String(), "error", err)
	}
}

// retryDelay is 100 to 200 ms, twice as much with each try.
func retryDelay(try int) time.Duration {
	d := 200 * time.Millisecond << min(try, 6)
	return d/2 + rand.N(d/2)
}

func (c *checkpointCache) empty() bool { return c.begun == 0 && len(c.items) == 0 }

// legible gives each checkpoint that has no position the last one that it had, or
// else the beginning of its partition: without any, the Processor would own the
// partition and not read it; at its default position, it could miss events.
func (a *adapter) legible(n names, list []checkpointstore.Checkpoint) []checkpointstore.Checkpoint {
	list = slices.Clone(list)
	cache := a.scope(n).checkpoints
	for i, cp := range list {
		if cp.Offset != nil || cp.SequenceNumber != nil {
			continue
		}
		if last, ok := cache.items[cp.PartitionID]; ok {
			list[i] = last.checkpoint
		} else {
			beginning := "-1"
			list[i].Offset = &beginning
		}
		a.log.Warn("a checkpoint has no position; its partition is read from the last one known, or from its beginning", "scope", n.String(), "partition", cp.PartitionID)
	}
	return list
}

// fill takes a good list in. What was stored after it was asked for is newer.
func (c *checkpointCache) fill(list []checkpointstore.Checkpoint, begun turn) {
	if begun < c.begun {
		return
	}
	items := make(map[string]cachedCheckpoint, len(list))
	for _, cp := range list {
		items[cp.PartitionID] = cachedCheckpoint{checkpoint: cp}
	}
	for id, own := range c.items {
		if own.stored > begun {
			items[id] = own
		}
	}
	c.begun, c.items = begun, items
}

// serve makes the list that the Processor sees.
func (c *checkpointCache) serve(n names) []azeventhubs.Checkpoint {
	out := make([]azeventhubs.Checkpoint, 0, len(c.items))
	for _, item := range c.items {
		cp := clone(item.checkpoint)
		cp.FullyQualifiedNamespace, cp.EventHubName, cp.ConsumerGroup = n.namespace, n.eventHub, n.consumerGroup
		out = append(out, azeventhubs.Checkpoint(cp))
	}
	return out
}

// unknownTo are the partitions of the callers whose position is not known: no
// checkpoint in memory, and won after the last good list, so that somebody else
// may have stored one in between.
func (s *scope) unknownTo(ctx context.Context) []string {
	var ids []string
	for _, o := range s.suspects(ctx) {
		for id, h := range o.held {
			if _, known := s.checkpoints.items[id]; !known && h.since > s.checkpoints.begun {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// orphanedCaller is the error that ends a Processor that has partitions which it
// owns and does not read.
func (s *scope) orphanedCaller(ctx context.Context) error {
	var err error
	for _, o := range s.suspects(ctx) {
		if o.orphaned == nil {
			return nil
		}
		err = o.orphaned
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("processor: partitions are owned and not read, start the next Processor: %w", err)
}

func (a *adapter) setCheckpoint(ctx context.Context, cp checkpointstore.Checkpoint) error {
	if err := a.store.UpdateCheckpoint(ctx, cp, nil); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	n := names{cp.FullyQualifiedNamespace, cp.EventHubName, cp.ConsumerGroup}
	a.scope(n).checkpoints.items[cp.PartitionID] = cachedCheckpoint{checkpoint: clone(cp), stored: a.next()}
	return nil
}

// clone copies what the caller may go on to change.
func clone(cp checkpointstore.Checkpoint) checkpointstore.Checkpoint {
	if cp.Offset != nil {
		offset := *cp.Offset
		cp.Offset = &offset
	}
	if cp.SequenceNumber != nil {
		sequence := *cp.SequenceNumber
		cp.SequenceNumber = &sequence
	}
	return cp
}
