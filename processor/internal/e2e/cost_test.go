package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2/checkpoints"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/emulator"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/processor"
)

// Times and rates of TestCost.
const (
	costOwners     = 4
	costPartitions = 32 // and 1,024
	costWindow     = 3 * time.Minute
	costRate       = 1000 // events a second for each partition
)

// TestCost counts the storage requests of a fleet with default options, of the
// official store as its example uses it and of Run with Batches, and prints the
// table of the README. Ownerships are counted in fleets of four owners without
// events; checkpoints on two partitions with 1,000 events a second each. Both are
// then scaled to an hour.
func TestCost(t *testing.T) {
	if os.Getenv("E2E_COST") == "" {
		t.Skip("takes 6 minutes: set E2E_COST")
	}
	var mu sync.Mutex
	ownerships := make(map[string]rates) // by loop and partitions
	positions := make(map[loop]rates)
	t.Run("measure", func(t *testing.T) {
		for _, l := range []loop{official, run} {
			for _, partitions := range []int{costPartitions, 1024} {
				t.Run(fmt.Sprintf("ownerships of %d partitions, %s", partitions, costName(l)), func(t *testing.T) {
					t.Parallel()
					measured := measureCost(t, l, costOwners, partitions, 0)
					mu.Lock()
					defer mu.Unlock()
					ownerships[fmt.Sprint(l, partitions)] = measured
				})
			}
			t.Run("checkpoints, "+costName(l), func(t *testing.T) {
				t.Parallel()
				measured := measureCost(t, l, 1, 2, costRate)
				mu.Lock()
				defer mu.Unlock()
				positions[l] = measured
			})
		}
	})
	if t.Failed() {
		return
	}
	t.Log("| partitions | storage requests | official store, an hour | `Run`, an hour | official store, a day | `Run`, a day | fewer |\n|---|---|---|---|---|---|---|")
	for _, partitions := range []int{costPartitions, 1024} {
		theirs, ours := ownerships[fmt.Sprint(official, partitions)], ownerships[fmt.Sprint(run, partitions)]
		row := func(name string, theirs, ours float64) {
			t.Logf("| %d | %s | %.0f | %.0f | %.0f | %.0f | %.1f × |", partitions, name, theirs, ours, 24*theirs, 24*ours, theirs/ours)
		}
		row("lists", theirs.lists, ours.lists)
		row("ownership writes", theirs.ownerships, ours.ownerships)
		row("checkpoint writes", float64(partitions)*positions[official].checkpoints/2, float64(partitions)*positions[run].checkpoints/2)
		require.LessOrEqual(t, ours.ownerships, theirs.ownerships/2, "ownership writes")
		require.LessOrEqual(t, ours.lists, theirs.lists*1.5)
	}
	require.LessOrEqual(t, positions[run].checkpoints, positions[official].checkpoints/100, "checkpoint writes")
	t.Log("all requests that were counted are of these kinds:", ownerships, positions)
}

func costName(l loop) string {
	if l == official {
		return "official store"
	}
	return "Run"
}

// rates are requests an hour.
type rates struct{ lists, ownerships, checkpoints, others float64 }

// measureCost runs owners, waits until they own all partitions, and counts.
func measureCost(t *testing.T, l loop, owners, partitions int, rate float64) rates {
	hub := emulator.Start(t, emulator.Options{Hub: "hub", Partitions: partitions})
	service := fakeblob.New()
	service.SetRecording(false)
	counted := &countedRequests{next: service}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	for i := range owners {
		running.Go(func() {
			if err := costOwner(ctx, l, i, hub, service, counted); err != nil {
				t.Error(err)
			}
		})
	}
	naming := &checkpointstore.BlobCheckpointStoreOptions{}
	if l == official {
		naming.BlobNaming = checkpointstore.BlobNamingVerbatim
	}
	eye, err := checkpointstore.NewBlobCheckpointStore(service.Client(), naming)
	require.NoError(t, err)
	for begun := time.Now(); ; time.Sleep(time.Second) {
		records, err := eye.ListOwnership(ctx, hub.Namespace(), "hub", consumerGroup, nil)
		require.NoError(t, err)
		n := make(map[string]int)
		for _, r := range records {
			n[r.OwnerID]++
		}
		if len(n) == owners && len(records) == partitions && n[costOwnerName(0)]*owners == partitions {
			break
		}
		require.Less(t, time.Since(begun), 5*time.Minute, "balance: %v", n)
	}
	require.NoError(t, hub.SetRate(rate))
	time.Sleep(30 * time.Second) // to come to rest
	counted.reset()
	begun, first := time.Now(), hub.Last("0")
	time.Sleep(costWindow)
	hours := time.Since(begun).Hours()
	r := counted.rates(hours)
	if rate > 0 {
		require.InDelta(t, rate, float64(hub.Last("0")-first)/time.Since(begun).Seconds(), rate/50, "events a second")
	}
	return r
}

func costOwnerName(i int) string { return fmt.Sprint("owner-", i) }

// costOwner runs one owner with default options, except that the official Processor
// is greedy: balanced, it claims one partition in each round, which for 1,024 would
// take three quarters of an hour. That makes no difference afterwards.
func costOwner(ctx context.Context, l loop, i int, hub *emulator.Emulator, service *fakeblob.Service, transport *countedRequests) error {
	client, err := azeventhubs.NewConsumerClientFromConnectionString(hub.ConnectionString(), "", consumerGroup, &azeventhubs.ConsumerClientOptions{InstanceID: costOwnerName(i)})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close(context.Background()) }()
	blobs := service.Client(func(o *container.ClientOptions) { o.Transport = transport })
	if l == official {
		return costOfficial(ctx, client, blobs)
	}
	store, err := checkpointstore.NewBlobCheckpointStore(blobs, nil)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	return processor.Run(ctx, client, store, processor.Batches(func(context.Context, *processor.Batch) error { return nil }, nil), nil)
}

// costOfficial is the loop of the example of azeventhubs (example_consuming_with_checkpoints_test.go).
func costOfficial(ctx context.Context, client *azeventhubs.ConsumerClient, blobs *container.Client) error {
	store, err := checkpoints.NewBlobStore(blobs, nil)
	if err != nil {
		return err
	}
	p, err := azeventhubs.NewProcessor(client, store, &azeventhubs.ProcessorOptions{LoadBalancingStrategy: azeventhubs.ProcessorStrategyGreedy})
	if err != nil {
		return err
	}
	var handlers sync.WaitGroup
	defer handlers.Wait()
	handlers.Go(func() {
		for {
			partition := p.NextPartitionClient(ctx)
			if partition == nil {
				return
			}
			handlers.Go(func() {
				defer func() { _ = partition.Close(context.Background()) }()
				for ctx.Err() == nil {
					receiving, cancel := context.WithTimeout(ctx, time.Minute)
					events, err := partition.ReceiveEvents(receiving, 100, nil)
					cancel()
					if err != nil && !errors.Is(err, context.DeadlineExceeded) {
						return
					}
					if len(events) == 0 {
						continue
					}
					if err := partition.UpdateCheckpoint(ctx, events[len(events)-1], nil); err != nil {
						return
					}
				}
			})
		}
	})
	return p.Run(ctx)
}

// countedRequests counts the requests by kind.
type countedRequests struct {
	next *fakeblob.Service

	mu sync.Mutex
	n  struct{ lists, ownerships, checkpoints, others int }
}

func (c *countedRequests) Do(req *http.Request) (*http.Response, error) {
	c.mu.Lock()
	switch {
	case req.URL.Query().Get("comp") == "list":
		c.n.lists++
	case req.Method == http.MethodPut && strings.Contains(req.URL.Path, "/ownership/"):
		c.n.ownerships++
	case req.Method == http.MethodPut && strings.Contains(req.URL.Path, "/checkpoint/"):
		c.n.checkpoints++
	default:
		c.n.others++
	}
	c.mu.Unlock()
	return c.next.Do(req)
}

func (c *countedRequests) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n = (&countedRequests{}).n
}

func (c *countedRequests) rates(hours float64) rates {
	c.mu.Lock()
	defer c.mu.Unlock()
	return rates{float64(c.n.lists) / hours, float64(c.n.ownerships) / hours, float64(c.n.checkpoints) / hours, float64(c.n.others) / hours}
}
