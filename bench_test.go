package checkpointstore_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
	"github.com/ea947076/checkpointstore/internal/layout"
)

// The benchmarks run on the fake service with 0 and 5 ms for each request, and
// report the requests of one operation next to its time and allocations:
//
//	go test -run '^$' -bench . -benchmem .

var latencies = []time.Duration{0, 5 * time.Millisecond}

func benchmarkStore(b *testing.B, latency time.Duration) (*checkpointstore.BlobCheckpointStore, *fake.Service) {
	b.Helper()
	service := fake.New()
	service.SetRecording(false)
	store := blobtest.NewStore(b, service, nil)
	if latency > 0 {
		service.Inject(faults.Latency(latency/2, latency/2)) // there and back
	}
	return store, service
}

func reportRequests(b *testing.B, service *fake.Service) {
	b.ReportMetric(float64(service.Requests())/float64(b.N), "requests/op")
}

func BenchmarkClaim(b *testing.B) {
	for _, latency := range latencies {
		for _, n := range []int{4, 32, 256, 1024} {
			b.Run(fmt.Sprintf("latency=%s/partitions=%d", latency, n), func(b *testing.B) {
				store, service := benchmarkStore(b, latency)
				b.ReportAllocs()
				b.ResetTimer()
				for i := range b.N {
					won, err := store.ClaimOwnership(context.Background(), blobtest.Claims(fmt.Sprintf("group%d", i), "owner", n), nil)
					require.NoError(b, err)
					require.Len(b, won, n)
				}
				reportRequests(b, service)
			})
		}
	}
}

func BenchmarkRenew(b *testing.B) {
	for _, latency := range latencies {
		for _, n := range []int{4, 32, 256, 1024} {
			b.Run(fmt.Sprintf("latency=%s/partitions=%d", latency, n), func(b *testing.B) {
				store, service := benchmarkStore(b, latency)
				won, err := store.ClaimOwnership(context.Background(), blobtest.Claims("group", "owner", n), nil)
				require.NoError(b, err)
				service.Reset()
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					won, err = store.ClaimOwnership(context.Background(), won, nil)
					require.NoError(b, err)
					require.Len(b, won, n)
				}
				reportRequests(b, service)
			})
		}
	}
}

func BenchmarkUpdateCheckpoint(b *testing.B) {
	for _, latency := range latencies {
		b.Run(fmt.Sprintf("latency=%s", latency), func(b *testing.B) {
			service := fake.New()
			service.SetRecording(false)
			if latency > 0 {
				service.Inject(faults.Latency(latency/2, latency/2)) // there and back
			}
			store, err := checkpointstore.NewBlobCheckpointStore(service.Client(), nil) // the client of BenchmarkBareSetMetadata
			require.NoError(b, err)
			c := blobtest.Checkpoint("group", "0", 0)
			require.NoError(b, store.UpdateCheckpoint(context.Background(), c, nil))
			service.Reset()
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				c.SequenceNumber = to.Ptr(int64(i + 1))
				require.NoError(b, store.UpdateCheckpoint(context.Background(), c, nil))
			}
			reportRequests(b, service)
		})
	}
}

// BenchmarkBareSetMetadata is what BenchmarkUpdateCheckpoint is compared with:
// the one request of it, by azblob alone.
func BenchmarkBareSetMetadata(b *testing.B) {
	service := fake.New()
	service.SetRecording(false)
	service.Put("ns.example/hub/group/checkpoint/0", nil)
	set := bareSetMetadata(service, "ns.example/hub/group/checkpoint/0", "", 0, nil)
	service.Reset()
	b.ReportAllocs()
	for i := range b.N {
		require.NoError(b, set(int64(i)))
	}
	reportRequests(b, service)
}

func BenchmarkListOwnership(b *testing.B) {
	for _, latency := range latencies {
		for _, n := range []int{32, 1024} {
			b.Run(fmt.Sprintf("latency=%s/partitions=%d", latency, n), func(b *testing.B) {
				store, service := benchmarkStore(b, latency)
				_, err := store.ClaimOwnership(context.Background(), blobtest.Claims("group", "owner", n), nil)
				require.NoError(b, err)
				service.Reset()
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					all, err := store.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, "group", nil)
					require.NoError(b, err)
					require.Len(b, all, n)
				}
				reportRequests(b, service)
			})
		}
	}
}

// bareSetMetadata writes a checkpoint with azblob alone, conditionally.
func bareSetMetadata(service *fake.Service, name, owner string, generation int64, enqueued *time.Time) func(int64) error {
	client := service.Client().NewBlockBlobClient(name)
	var options = ifMatch("")
	return func(sequenceNumber int64) error {
		resp, err := client.SetMetadata(context.Background(), layout.CheckpointValues{SequenceNumber: sequenceNumber, Offset: to.Ptr("5678"), ClientID: owner, Generation: generation, EnqueuedTime: enqueued}.Metadata(), options)
		if err == nil {
			options = ifMatch(string(*resp.ETag))
		}
		return err
	}
}

// TestSteadyCheckpointAllocations holds what a checkpoint costs beside the one
// request of it: within 1.1 times of azblob alone with the same metadata.
func TestSteadyCheckpointAllocations(t *testing.T) {
	for name, c := range map[string]struct {
		owner      string
		generation int64
		options    checkpointstore.UpdateCheckpointOptions
	}{
		"a position": {},
		"all keys":   {"a", 1, checkpointstore.UpdateCheckpointOptions{EnqueuedTime: to.Ptr(time.Now())}},
	} {
		t.Run(name, func(t *testing.T) {
			service := fake.New()
			service.SetRecording(false)
			store, err := checkpointstore.NewBlobCheckpointStore(service.Client(), nil)
			require.NoError(t, err)
			if c.owner != "" {
				blobtest.ClaimOne(t, store, blobtest.Claim(blobtest.Group, c.owner, "0", nil))
				require.NoError(t, store.UpdateCheckpoint(context.Background(), blobtest.Checkpoint(blobtest.Group, "0", 0), rewind))
			}
			require.NoError(t, write(store, 0))
			update := blobtest.Checkpoint(blobtest.Group, "0", 0)
			n := int64(0)
			ours := testing.AllocsPerRun(200, func() {
				n++
				update.SequenceNumber = to.Ptr(n)
				if err := store.UpdateCheckpoint(context.Background(), update, &c.options); err != nil {
					t.Fatal(err)
				}
			})
			service.Put(blobtest.CheckpointPrefix+"1", nil)
			set := bareSetMetadata(service, blobtest.CheckpointPrefix+"1", c.owner, c.generation, c.options.EnqueuedTime)
			bare := testing.AllocsPerRun(200, func() {
				n++
				if err := set(n); err != nil {
					t.Fatal(err)
				}
			})
			mine, _ := service.Get(blobtest.CheckpointPrefix + "0")
			other, _ := service.Get(blobtest.CheckpointPrefix + "1")
			require.ElementsMatch(t, slices.Collect(maps.Keys(other.Metadata)), slices.Collect(maps.Keys(mine.Metadata)), "the same metadata")
			require.LessOrEqual(t, ours, bare*1.1)
			t.Logf("allocations: UpdateCheckpoint %.0f, bare SetMetadata %.0f, ratio %.2f", ours, bare, ours/bare)
			require.Equal(t, 0, service.Count(faults.ListBlobs))
		})
	}
}
