package proof

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/processor"
)

// defect is how processes are broken on purpose, from outside. The zero value leaves them as they are.
type defect string

const (
	releasesEarly   defect = "releases-early"    // a handler is reported as returned while it runs
	ownClock        defect = "own-clock"         // expiry is decided by the local clock
	claimsStopping  defect = "claims-stopping"   // a stopping process claims what others own
	hidesLoss       defect = "hides-loss"        // neither lists nor links show a loss
	skipsEvents     defect = "skips-events"      // the event after the checkpoint is skipped
	overlooks       defect = "overlooks"         // the last partition of the hub is left out
	keepsReleased   defect = "keeps-released"    // a relinquish is not written
	stealsLinksBack defect = "steals-links-back" // a stolen link is opened again at once
	releasesLate    defect = "releases-late"     // a relinquish takes a minute
	leaksGoroutines defect = "leaks-goroutines"  // each handler leaves one behind
	storeUnfenced   defect = "store-unfenced"    // the store's own defects, see [variant]
	storeForgetful  defect = "store-forgetful"
	storeRelabels   defect = "store-relabels"
)

func (d defect) variant() variant {
	switch d {
	case storeUnfenced:
		return unfenced
	case storeForgetful:
		return forgetful
	case storeRelabels:
		return relabelling
	}
	return ""
}

// breakProcess wraps what a processor uses in what is broken.
func (d defect) breakProcess(p *process, store checkpointstore.CheckpointStore, hub processor.EventHub, handler processor.Handler) (checkpointstore.CheckpointStore, processor.EventHub, processor.Handler) {
	broken := &brokenStore{CheckpointStore: store, process: p, defect: d}
	switch d {
	case releasesEarly:
		return store, hub, func(ctx context.Context, partition *processor.Partition) error {
			done := make(chan error, 1)
			go func() {
				err := errors.New("it panicked, or ended its goroutine")
				defer func() {
					_ = recover()
					done <- err
				}()
				err = handler(ctx, partition)
			}()
			select {
			case err := <-done:
				return err
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	case leaksGoroutines:
		return store, hub, func(ctx context.Context, partition *processor.Partition) error {
			go func() { <-make(chan struct{}) }()
			return handler(ctx, partition)
		}
	case ownClock, claimsStopping, skipsEvents, keepsReleased, releasesLate:
		return broken, hub, handler
	case hidesLoss:
		return broken, &brokenHub{hub, d}, handler
	case overlooks, stealsLinksBack:
		return store, &brokenHub{hub, d}, handler
	}
	return store, hub, handler
}

// brokenStore is the store of a broken process.
type brokenStore struct {
	checkpointstore.CheckpointStore
	*process
	defect

	mu   sync.Mutex
	last []checkpointstore.Ownership
	held map[string]checkpointstore.Ownership // what was won
}

func (s *brokenStore) ListOwnership(ctx context.Context, namespace, hub, group string, options *checkpointstore.ListOwnershipOptions) ([]checkpointstore.Ownership, error) {
	list, err := s.CheckpointStore.ListOwnership(ctx, namespace, hub, group, options)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = slices.Clone(list)
	for i, r := range list {
		switch {
		case s.defect == ownClock && r.OwnerID != s.ownerID && time.Since(r.LastModifiedTime) > fleetExpiration:
			list[i].OwnerID = ""
		case s.defect == hidesLoss && s.held[r.PartitionID].OwnerID == s.ownerID:
			list[i] = s.held[r.PartitionID]
		}
	}
	return list, err
}

func (s *brokenStore) ClaimOwnership(ctx context.Context, claims []checkpointstore.Ownership, options *checkpointstore.ClaimOwnershipOptions) ([]checkpointstore.Ownership, error) {
	if s.defect == claimsStopping && !s.stoppedAt().IsZero() {
		s.mu.Lock()
		for _, r := range s.last {
			if r.OwnerID != s.ownerID {
				r.OwnerID = s.ownerID
				claims = append(claims, r)
			}
		}
		s.mu.Unlock()
	}
	if s.defect == releasesLate && len(claims) > 0 && claims[0].OwnerID == "" {
		time.Sleep(time.Minute)
	}
	if s.defect == keepsReleased && len(claims) > 0 && claims[0].OwnerID == "" {
		for i := range claims {
			claims[i].ETag = to.Ptr(azcore.ETag("0x0"))
		}
		return claims, nil
	}
	won, err := s.CheckpointStore.ClaimOwnership(ctx, claims, options)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range won {
		if s.held == nil {
			s.held = make(map[string]checkpointstore.Ownership)
		}
		s.held[r.PartitionID] = r
	}
	return won, err
}

func (s *brokenStore) ListCheckpoints(ctx context.Context, namespace, hub, group string, options *checkpointstore.ListCheckpointsOptions) ([]checkpointstore.Checkpoint, error) {
	list, err := s.CheckpointStore.ListCheckpoints(ctx, namespace, hub, group, options)
	for i, c := range list {
		if s.defect == skipsEvents && c.Offset != nil {
			list[i].Offset = to.Ptr(strconv.FormatInt(number(*c.Offset)+100, 10))
		}
	}
	return list, err
}

// brokenHub is the event hub of a broken process.
type brokenHub struct {
	processor.EventHub
	defect
}

func (h *brokenHub) Properties(ctx context.Context) (processor.EventHubProperties, error) {
	properties, err := h.EventHub.Properties(ctx)
	if ids := properties.PartitionIDs; h.defect == overlooks && len(ids) > 1 {
		properties.PartitionIDs = ids[:len(ids)-1]
	}
	return properties, err
}

func (h *brokenHub) OpenPartition(ctx context.Context, id string, options *azeventhubs.PartitionClientOptions) (processor.Receiver, error) {
	r, err := h.EventHub.OpenPartition(ctx, id, options)
	return &brokenReceiver{r, h.defect}, err
}

// brokenReceiver is a link of a broken process.
type brokenReceiver struct {
	processor.Receiver
	defect
}

func (r *brokenReceiver) ReceiveEvents(ctx context.Context, count int, options *azeventhubs.ReceiveEventsOptions) ([]*azeventhubs.ReceivedEventData, error) {
	events, err := r.Receiver.ReceiveEvents(ctx, count, options)
	var failed *azeventhubs.Error
	if !errors.As(err, &failed) || failed.Code != azeventhubs.ErrorCodeOwnershipLost {
		return events, err
	}
	if r.defect == hidesLoss {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return nil, errors.New("the link failed") // so that it is opened again
}
