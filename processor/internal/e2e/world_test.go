package e2e

import (
	"context"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/azurite"
)

// world is a hub, a container, and what the owners do with them.
type world struct {
	t         *testing.T
	hub       *hub
	namespace string
	hubName   string
	storage   string
	container string
	client    *container.Client
	eye       *checkpointstore.BlobCheckpointStore // sees the container without faults
	ledger    *ledger
}

func newWorld(t *testing.T, partitions, events int) *world {
	if testing.Short() {
		t.Skip("needs Node for Azurite and the Event Hubs emulator: left out by -short")
	}
	w := &world{t: t, ledger: newLedger(), container: azurite.NewContainerName(t)}
	w.storage = os.Getenv("AZURE_STORAGE_CONNECTION_STRING")
	if w.storage == "" {
		w.storage = azurite.Shared(t).ConnectionString() // which outlives the test
	}
	noLeaks(t)
	w.hub = newHub(t, partitions, events)
	properties, err := azeventhubs.ParseConnectionString(w.hub.connection)
	require.NoError(t, err)
	require.NotNil(t, properties.EntityPath, "the connection string has to name the hub")
	w.namespace, w.hubName = properties.FullyQualifiedNamespace, *properties.EntityPath

	w.client, err = container.NewClientFromConnectionString(w.storage, w.container, nil)
	require.NoError(t, err)
	w.look(false)
	require.NoError(t, w.eye.EnsureContainer(t.Context(), nil))
	t.Cleanup(func() { _, _ = w.client.Delete(context.Background(), nil) })
	return w
}

// look makes the eye see the names that a store writes.
func (w *world) look(official bool) {
	w.t.Helper()
	options := &checkpointstore.BlobCheckpointStoreOptions{}
	if official {
		options.BlobNaming = checkpointstore.BlobNamingVerbatim
	}
	var err error
	w.eye, err = checkpointstore.NewBlobCheckpointStoreFromConnectionString(w.storage, w.container, options)
	require.NoError(w.t, err)
}

// Expirations. Run gives a request a quarter of the expiration, and a renewal that takes
// longer, or a whole expiration without one, can cost an owner its partitions. So a test
// in which nobody may lose any holds while the machine, the store or the emulator stalls
// for less than a quarter of its expiration. It is unhurried unless it has to wait for
// records to expire.
const (
	unhurried = 2 * time.Minute
	lasting   = 20 * time.Second // for tests that wait for it, in which nobody may lose a partition before
	brief     = 6 * time.Second  // for tests that wait for it, in which owners may lose partitions, and to compare
)

// config is an unhurried owner.
func (w *world) config(i int) config { return w.expiring(i, unhurried) }

// expiring is an owner with a short interval and an expiration, which is brief for the
// figures that E2E_COMPARE makes, or, with E2E_DEFAULTS, with the times that a Processor
// has by default.
func (w *world) expiring(i int, expiry time.Duration) config {
	c := config{
		Name: ownerName(i), Hub: w.hub.connection, Storage: w.storage, Container: w.container, Before: w.hub.before,
		Greedy: true, Interval: 300 * time.Millisecond, Expiry: expiry,
	}
	if compare() && expiry == lasting {
		c.Expiry = brief
	}
	if os.Getenv("E2E_DEFAULTS") != "" {
		c.Interval, c.Expiry = 10*time.Second, time.Minute
	}
	return c
}

// owners are who owns what, by partition, without those who relinquished.
func (w *world) owners() map[string]string {
	w.t.Helper()
	owners, err := w.listOwners()
	require.NoError(w.t, err)
	return owners
}

func (w *world) listOwners() (map[string]string, error) {
	records, err := w.eye.ListOwnership(context.Background(), w.namespace, w.hubName, consumerGroup, nil)
	m := make(map[string]string)
	for _, r := range records {
		if r.OwnerID != "" && slices.Contains(w.hub.partitions, r.PartitionID) {
			m[r.PartitionID] = r.OwnerID
		}
	}
	return m, err
}

// shares are how many partitions each owner has.
func shares(owners map[string]string) map[string]int {
	n := make(map[string]int)
	for _, o := range owners {
		n[o]++
	}
	return n
}

// balanced reports whether these owners have all partitions, as evenly as can be.
func (w *world) balanced(owners ...string) bool {
	w.t.Helper()
	return w.isBalance(w.owners(), owners...)
}

func (w *world) isBalance(have map[string]string, owners ...string) bool {
	n := shares(have)
	if len(have) != len(w.hub.partitions) || len(n) != len(owners) {
		return false
	}
	counts := slices.Collect(maps.Values(n))
	for _, o := range owners {
		if n[o] == 0 {
			return false
		}
	}
	return slices.Max(counts)-slices.Min(counts) <= 1
}

// A fleet is taken for settled when nothing has changed for a time and that many looks
// in a row. Looks are counted because a test that was held up itself finds the time gone
// and its owners where they were.
const (
	quiet      = time.Second
	quietLooks = 25 // 20 ms and a request apart: more than a round
)

// settled waits until these owners are balanced and stay so, and returns how long
// the first of that took.
func (w *world) settled(owners ...string) time.Duration {
	w.t.Helper()
	start := time.Now()
	var since time.Time
	var as map[string]string
	looks := 0
	eventually(w.t, "balance", func() bool {
		now := w.owners()
		if !w.isBalance(now, owners...) {
			as = nil
			return false
		}
		if !maps.Equal(now, as) {
			since, as, looks = time.Now(), now, 0
		}
		looks++
		return time.Since(since) > quiet && looks > quietLooks
	})
	return since.Sub(start)
}

// checkpoints are the stored positions, by partition.
func (w *world) checkpoints() map[string]int64 {
	w.t.Helper()
	positions, err := w.listPositions()
	require.NoError(w.t, err)
	return positions
}

func (w *world) listPositions() (map[string]int64, error) {
	list, err := w.eye.ListCheckpoints(context.Background(), w.namespace, w.hubName, consumerGroup, nil)
	m := make(map[string]int64)
	for _, c := range list {
		if c.SequenceNumber != nil {
			m[c.PartitionID] = *c.SequenceNumber
		}
	}
	return m, err
}

// handled waits until every event up to now was handled, and returns the last
// ones.
func (w *world) handled() (last map[string]int64) {
	w.t.Helper()
	last = make(map[string]int64)
	for _, id := range w.hub.partitions {
		last[id] = w.hub.last(id)
		eventually(w.t, "events of partition "+id, func() bool { return w.ledger.missing(id, w.hub.before[id], last[id]) == 0 })
	}
	return last
}

// complete waits until every event up to now was handled and checkpointed.
func (w *world) complete() {
	w.t.Helper()
	last := w.handled()
	eventually(w.t, "checkpoints at the last event", func() bool { return maps.Equal(last, w.checkpoints()) })
}

// readByOwners waits until each partition is read by its owner. Who wins a partition opens
// its link later, and until then the one before may get the next event.
func (w *world) readByOwners() {
	w.t.Helper()
	eventually(w.t, "owners read their partitions", func() bool {
		since := time.Now()
		w.hub.appendAll(1)
		w.handled()
		owners := w.owners()
		for id, who := range w.ledger.handlersSince(since) {
			if !slices.Equal(who, []string{owners[id]}) {
				return false
			}
		}
		return true
	})
}

// watch counts the changes of owners, and the checkpoints that go back, until it
// is stopped.
type watch struct {
	stop func()

	t       *testing.T
	mu      sync.Mutex
	changes int
	back    []string
	err     error // of the first look that failed, which was the last
}

func (w *world) watch() *watch {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	seen := &watch{t: w.t}
	seen.stop = func() {
		cancel()
		done.Wait()
	}
	owners, positions := w.owners(), w.checkpoints()
	look := func() error {
		nowOwners, err := w.listOwners()
		if err != nil {
			return err
		}
		nowPositions, err := w.listPositions()
		if err != nil {
			return err
		}
		seen.mu.Lock()
		defer seen.mu.Unlock()
		for id, o := range nowOwners {
			if was := owners[id]; was != o {
				if was != "" {
					seen.changes++
				}
				owners[id] = o
			}
		}
		for id, n := range nowPositions {
			if was, ok := positions[id]; ok && n < was {
				seen.back = append(seen.back, id)
			}
			positions[id] = n
		}
		return nil
	}
	done.Go(func() {
		for ctx.Err() == nil {
			time.Sleep(100 * time.Millisecond)
			if err := look(); err != nil {
				seen.mu.Lock()
				defer seen.mu.Unlock()
				seen.err = err
				return
			}
		}
	})
	w.t.Cleanup(seen.stop)
	return seen
}

// result is what was seen. It fails the test if the watch could not look.
func (s *watch) result() (changes int, back []string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	require.NoError(s.t, s.err)
	return s.changes, slices.Clone(s.back)
}
