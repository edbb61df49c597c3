package main

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
)

// BenchmarkStatus runs status for 1,024 partitions with ownerships and checkpoints, as
// a process of its own, and reports the CPU time of the process.
func BenchmarkStatus(b *testing.B) {
	w := newWorld(b)
	fill(b, w, 1024)
	var cpu time.Duration
	for b.Loop() {
		cmd := w.command(w.binary, "status", "-n", w.scope.FullyQualifiedNamespace, "-e", w.scope.EventHubName, "-g", "$Default")
		require.NoError(b, cmd.Run())
		cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	b.ReportMetric(float64(cpu.Microseconds())/1000/float64(b.N), "cpu-ms/op")
}

// fill stores ownerships and checkpoints of n partitions.
func fill(tb testing.TB, w *world, n int) {
	tb.Helper()
	store := w.store()
	var claims []checkpointstore.Ownership
	for _, id := range partitionIDs(n) {
		claims = append(claims, checkpointstore.Ownership{
			FullyQualifiedNamespace: w.scope.FullyQualifiedNamespace, EventHubName: w.scope.EventHubName, ConsumerGroup: w.scope.ConsumerGroup,
			PartitionID: id, OwnerID: "consumer-1",
		})
	}
	won, err := store.ClaimOwnership(context.Background(), claims, nil)
	require.NoError(tb, err)
	require.Len(tb, won, n)
	errs := make(chan error, n)
	slots := make(chan struct{}, 16)
	for _, id := range partitionIDs(n) {
		slots <- struct{}{}
		go func() {
			errs <- store.UpdateCheckpoint(context.Background(), w.checkpointOf(id, 5), nil)
			<-slots
		}()
	}
	for range n {
		require.NoError(tb, <-errs)
	}
}
