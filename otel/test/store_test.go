package test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/otel"
)

// group is the consumer group of tests without a hub.
var group = checkpointstore.Scope{FullyQualifiedNamespace: "ns.example", EventHubName: "hub", ConsumerGroup: "group"}

func claimOf(partition, owner string) checkpointstore.Ownership {
	return checkpointstore.Ownership{
		FullyQualifiedNamespace: group.FullyQualifiedNamespace, EventHubName: group.EventHubName, ConsumerGroup: group.ConsumerGroup,
		PartitionID: partition, OwnerID: owner,
	}
}

func TestClaimsCountByOutcome(t *testing.T) {
	r := record(t)
	store := otel.Store(memstore.New(), r.options)
	won, err := store.ClaimOwnership(t.Context(), []checkpointstore.Ownership{claimOf("0", "a"), claimOf("1", "a")}, nil)
	require.NoError(t, err)
	require.Len(t, won, 2)
	require.Equal(t, map[string]float64{"outcome=won": 2}, r.series("checkpointstore.claims", attribute.Key("outcome")))
}
