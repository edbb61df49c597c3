package interop_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2/checkpoints"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
)

// BenchmarkRenew renews all partitions of a hub, at 5 ms for each request, with
// the official store and with ours over the same client, and with ours over a
// client that it builds.
//
//	go test -run '^$' -bench Renew .
func BenchmarkRenew(b *testing.B) {
	for _, n := range []int{32, 256} {
		b.Run(fmt.Sprintf("official/partitions=%d", n), func(b *testing.B) {
			renew(b, n, func(client *container.Client, _ *fakeblob.Service) (claimer, error) {
				store, err := checkpoints.NewBlobStore(client, nil)
				return func(ctx context.Context, all []azeventhubs.Ownership) ([]azeventhubs.Ownership, error) {
					return store.ClaimOwnership(ctx, all, nil)
				}, err
			})
		})
		b.Run(fmt.Sprintf("ours/handed-client/partitions=%d", n), func(b *testing.B) {
			renew(b, n, func(client *container.Client, _ *fakeblob.Service) (claimer, error) {
				return claimerOf(checkpointstore.NewBlobCheckpointStore(client, nil))
			})
		})
		b.Run(fmt.Sprintf("ours/built-client/partitions=%d", n), func(b *testing.B) {
			renew(b, n, func(_ *container.Client, service *fakeblob.Service) (claimer, error) {
				options := &checkpointstore.BlobCheckpointStoreOptions{}
				options.ClientOptions.Transport = service
				return claimerOf(checkpointstore.NewBlobCheckpointStoreWithNoCredential(service.URL(), options))
			})
		})
	}
}

type claimer func(context.Context, []azeventhubs.Ownership) ([]azeventhubs.Ownership, error)

func claimerOf(store *checkpointstore.BlobCheckpointStore, err error) (claimer, error) {
	return func(ctx context.Context, all []azeventhubs.Ownership) ([]azeventhubs.Ownership, error) {
		asked := make([]checkpointstore.Ownership, len(all))
		for i, o := range all {
			asked[i] = checkpointstore.Ownership(o)
		}
		won, err := store.ClaimOwnership(ctx, asked, nil)
		out := make([]azeventhubs.Ownership, len(won))
		for i, o := range won {
			out[i] = azeventhubs.Ownership(o)
		}
		return out, err
	}, err
}

func renew(b *testing.B, n int, newClaimer func(*container.Client, *fakeblob.Service) (claimer, error)) {
	service := fakeblob.New()
	service.SetRecording(false)
	claim, err := newClaimer(service.Client(), service)
	require.NoError(b, err)
	owned := make([]azeventhubs.Ownership, n)
	for i := range owned {
		owned[i] = azeventhubs.Ownership{
			FullyQualifiedNamespace: "ns.example", EventHubName: "hub", ConsumerGroup: "group",
			PartitionID: fmt.Sprint(i), OwnerID: "owner",
		}
	}
	owned, err = claim(context.Background(), owned)
	require.NoError(b, err)
	service.SetLatency(5 * time.Millisecond)
	service.Reset()
	b.ResetTimer()
	for range b.N {
		owned, err = claim(context.Background(), owned)
		require.NoError(b, err)
		require.Len(b, owned, n)
	}
	b.ReportMetric(float64(service.Requests())/float64(b.N), "requests/op")
}
