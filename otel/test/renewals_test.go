package test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/otel"
)

// TestALostClaimLeavesRenewals: two owners share a store, and one loses a claim of a
// partition of the other, who still renews it.
func TestALostClaimLeavesRenewals(t *testing.T) {
	r := record(t)
	store := otel.Store(memstore.New(), r.options)
	won, err := store.ClaimOwnership(t.Context(), []checkpointstore.Ownership{claimOf("0", "a")}, nil)
	require.NoError(t, err)
	lost, err := store.ClaimOwnership(t.Context(), []checkpointstore.Ownership{claimOf("0", "b")}, nil)
	require.NoError(t, err)
	require.Empty(t, lost)
	_, err = store.ClaimOwnership(t.Context(), won, nil)
	require.NoError(t, err)
	require.Equal(t, map[string]float64{"outcome=won": 1, "outcome=lost": 1, "outcome=renewed": 1}, r.series("checkpointstore.claims", attribute.Key("outcome")))
}
