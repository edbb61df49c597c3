package processor_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/processor/processortest"
)

func TestOwnersThatFollowTheStrategiesOfAzeventhubsGetTheirShareAndKeepIt(t *testing.T) {
	for name, greedy := range map[string]bool{"balanced": false, "greedy": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 12, func(t *testing.T, f *fleet) {
				f.start("a")
				pass(roundTime)
				foreign := &foreignOwner{id: "foreign", store: f.eye.Share(), greedy: greedy, partitions: 12}
				go foreign.run(t.Context())
				f.start("b")
				pass(15 * roundTime)
				for _, owner := range []string{"a", "b", "foreign"} {
					require.Len(t, f.of(owner), 4, owner)
				}
				owned := f.owners()
				pass(30 * time.Minute)
				require.Equal(t, owned, f.owners(), "nobody is stolen from for ever")
			})
		})
	}
}

// foreignOwner decides as the Processor of azeventhubs v2.0.2 does, and reads nothing.
type foreignOwner struct {
	id         string
	store      *memstore.Store
	greedy     bool
	partitions int
}

func (o *foreignOwner) run(ctx context.Context) {
	for ctx.Err() == nil {
		list, err := o.store.ListOwnership(ctx, processortest.FullyQualifiedNamespace, processortest.EventHubName, processortest.ConsumerGroup, nil)
		if err == nil {
			_, _ = o.store.ClaimOwnership(ctx, o.claims(list), nil)
		}
		select {
		case <-time.After(interval):
		case <-ctx.Done():
		}
	}
}

func (o *foreignOwner) claims(list []checkpointstore.Ownership) []checkpointstore.Ownership {
	byID := make(map[string]checkpointstore.Ownership)
	for _, r := range list {
		byID[r.PartitionID] = r
	}
	var free, above []checkpointstore.Ownership
	owned := map[string][]checkpointstore.Ownership{o.id: nil}
	for _, id := range ids(o.partitions) {
		r, found := byID[id]
		switch {
		case !found:
			free = append(free, checkpointstore.Ownership{
				FullyQualifiedNamespace: processortest.FullyQualifiedNamespace, EventHubName: processortest.EventHubName,
				ConsumerGroup: processortest.ConsumerGroup, PartitionID: id,
			})
		case r.OwnerID == "" || time.Since(r.LastModifiedTime) > expiration:
			free = append(free, r)
		default:
			owned[r.OwnerID] = append(owned[r.OwnerID], r)
		}
	}
	most := o.partitions / len(owned)
	if o.partitions%len(owned) > 0 && len(owned[o.id]) >= most {
		most++
	}
	for id, records := range owned {
		if id != o.id && len(records) > most {
			above = append(above, records...)
		}
	}
	claims, wanted := owned[o.id], append(free, above...)
	n := max(min(most-len(claims), len(wanted)), 0)
	if !o.greedy {
		n = min(n, 1)
	}
	claims = append(claims, wanted[:n]...)
	for i := range claims {
		claims[i].OwnerID = o.id
	}
	return claims
}
