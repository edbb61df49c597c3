// Failover shows what a checkpoint store is for. Three owners share the partitions
// of an event hub and checkpoint what they have handled. One of them dies: the
// others claim its partitions when its ownerships have expired, and resume from its
// checkpoints. Its late checkpoint is refused. Then one stops gracefully, and the
// last one takes over without waiting.
//
// The store is in memory. With -azurite it is a container on an Azurite that the
// example starts; with -connection-string or -account-url, one of a storage account.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/azurite"
	"github.com/ea947076/checkpointstore/memstore"
)

const (
	namespace     = "example.servicebus.windows.net"
	consumerGroup = "$Default"
	partitions    = 6
	events        = 80 // in each partition, with the sequence numbers 0 to 79

	checkpointEach = 5 // events
)

// settings say which store the owners share; the zero value is one in memory.
type settings struct {
	azurite                                 bool
	connectionString, accountURL, container string
}

func main() {
	var s settings
	flag.BoolVar(&s.azurite, "azurite", false, "start an Azurite (needs Node.js)")
	flag.StringVar(&s.connectionString, "connection-string", "", "connection string of a storage account")
	flag.StringVar(&s.accountURL, "account-url", "", "https://<account>.blob.core.windows.net, to sign in with DefaultAzureCredential")
	flag.StringVar(&s.container, "container", "checkpointstore-failover", "container; created if it does not exist")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "failover: unknown argument %q\n", flag.Arg(0))
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := s.run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
		os.Exit(1)
	}
}

func (s settings) run(ctx context.Context, out io.Writer) error {
	f := fleet{
		hub: "failover-" + rand.Text()[:8], out: out, began: time.Now(), handled: make(map[event]int),
		interval: 200 * time.Millisecond, expiration: 3 * time.Second, // blobs tell the time in whole seconds
	}
	open := func() (*checkpointstore.BlobCheckpointStore, error) {
		return checkpointstore.NewBlobCheckpointStoreFromConnectionString(s.connectionString, s.container, nil)
	}
	switch {
	case s.azurite && s.connectionString != "", s.azurite && s.accountURL != "", s.connectionString != "" && s.accountURL != "":
		return errors.New("-azurite, -connection-string and -account-url cannot be combined")
	case s.azurite:
		server, err := azurite.Start(ctx)
		if err != nil {
			return err
		}
		defer server.Close()
		s.connectionString = server.ConnectionString()
	case s.accountURL != "":
		credential, err := azidentity.NewDefaultAzureCredential(nil)
		if err != nil {
			return err
		}
		open = func() (*checkpointstore.BlobCheckpointStore, error) {
			return checkpointstore.NewBlobCheckpointStoreWithTokenCredential(strings.TrimRight(s.accountURL, "/")+"/"+s.container, credential, nil)
		}
	case s.connectionString == "":
		shared := memstore.New()
		f.interval, f.expiration = 40*time.Millisecond, 600*time.Millisecond
		return f.run(ctx, shared, shared.Share(), shared.Share())
	}
	var stores []checkpointstore.CheckpointStore // one for each owner, as each process has its own
	for range 3 {
		store, err := open()
		if err != nil {
			return err
		}
		defer func() { _ = store.Close() }()
		if err := store.EnsureContainer(ctx, nil); err != nil {
			return err
		}
		stores = append(stores, store)
	}
	return f.run(ctx, stores...)
}

// fleet is three owners of the partitions of one event hub.
type fleet struct {
	hub                  string // a new one in each run
	interval, expiration time.Duration
	out                  io.Writer
	began                time.Time
	handled              map[event]int // how often
}

type event struct {
	partition      string
	sequenceNumber int64
}

func (f *fleet) logf(format string, args ...any) {
	fmt.Fprintf(f.out, "%6.2fs  %s\n", time.Since(f.began).Seconds(), fmt.Sprintf(format, args...))
}

func (f *fleet) run(ctx context.Context, stores ...checkpointstore.CheckpointStore) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute) // bounds a hang
	defer cancel()
	alice, bob, carol := f.owner("alice", stores[0]), f.owner("bob", stores[1]), f.owner("carol", stores[2])
	f.logf("three owners share %d partitions", partitions)
	if err := f.until(ctx, func() bool { return carol.owns(2) && bob.owns(2) && carol.slowest() >= 12 }, alice, bob, carol); err != nil {
		return err
	}

	f.logf("carol dies; her next events are %s", carol.nextEvents())
	resumed := func() bool {
		for id, hers := range carol.next {
			if max(alice.next[id], bob.next[id]) < hers+checkpointEach {
				return false
			}
		}
		return alice.owns(3) && bob.owns(3)
	}
	if err := f.until(ctx, resumed, alice, bob); err != nil {
		return err
	}
	for id, hers := range carol.next {
		err := carol.checkpoint(ctx, id, hers-1)
		if !errors.Is(err, checkpointstore.ErrStaleCheckpoint) {
			return fmt.Errorf("carol's late checkpoint was not refused: %v", err)
		}
		f.logf("carol wakes up; her late checkpoint is refused: %v", err)
	}

	if err := bob.relinquish(ctx); err != nil {
		return err
	}
	if err := f.until(ctx, func() bool { return alice.owns(partitions) && alice.slowest() == events }, alice); err != nil {
		return err
	}
	total := 0
	for _, times := range f.handled {
		total += times
	}
	never := partitions*events - len(f.handled)
	f.logf("%d events: %d never handled, %d handled again after a take-over", partitions*events, never, total-len(f.handled))
	if never > 0 {
		return errors.New("events were lost")
	}
	return nil
}

// until lets owners take turns, in one goroutine, so that the output can be followed.
func (f *fleet) until(ctx context.Context, done func() bool, owners ...*owner) error {
	for !done() {
		for _, o := range owners {
			if err := o.round(ctx); err != nil {
				return fmt.Errorf("%s: %w", o.id, err)
			}
		}
		select {
		case <-time.After(f.interval):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// owner is a consumer in few lines. Package processor is a complete one.
type owner struct {
	fleet *fleet
	id    string
	store checkpointstore.CheckpointStore
	owned []checkpointstore.Ownership
	next  map[string]int64 // sequence number of the next event, by partition that it owns
}

func (f *fleet) owner(id string, store checkpointstore.CheckpointStore) *owner {
	return &owner{fleet: f, id: id, store: store, next: make(map[string]int64)}
}

func (o *owner) owns(n int) bool { return len(o.next) == n }

// nextEvents says where the owner is in each of its partitions.
func (o *owner) nextEvents() string {
	var next []string
	for _, id := range slices.Sorted(maps.Keys(o.next)) {
		next = append(next, fmt.Sprintf("%d of partition %s", o.next[id], id))
	}
	return strings.Join(next, " and ")
}

// slowest is the next event of the partition that has most of them left.
func (o *owner) slowest() int64 { return slices.Min(slices.Collect(maps.Values(o.next))) }

// round renews and claims ownerships, and then handles three events of each partition.
func (o *owner) round(ctx context.Context) error {
	records, err := o.store.ListOwnership(ctx, namespace, o.fleet.hub, consumerGroup, nil)
	if err != nil {
		return err
	}
	if o.owned, err = o.store.ClaimOwnership(ctx, o.claims(records), nil); err != nil {
		return err
	}
	checkpoints, err := o.store.ListCheckpoints(ctx, namespace, o.fleet.hub, consumerGroup, nil)
	if err != nil {
		return err
	}
	before := o.next
	o.next = make(map[string]int64)
	for _, won := range o.owned {
		id := won.PartitionID
		next, had := before[id]
		if !had {
			for _, c := range checkpoints {
				if c.PartitionID == id {
					next = *c.SequenceNumber + 1
				}
			}
			o.fleet.logf("%s claims partition %s%s and resumes at event %d", o.id, id, previous(records, id), next)
		}
		for range 3 {
			if next == events {
				break
			}
			o.fleet.handled[event{id, next}]++
			next++
			if next%checkpointEach == 0 {
				// Stale: another owner has this partition, which the next round will show.
				if err := o.checkpoint(ctx, id, next-1); err != nil && !errors.Is(err, checkpointstore.ErrStaleCheckpoint) {
					return err
				}
			}
		}
		o.next[id] = next
	}
	return nil
}

// claims are the partitions that the owner has, those that nobody has up to its
// share, and one of the owner that has the most, if it has more than its share.
func (o *owner) claims(records []checkpointstore.Ownership) []checkpointstore.Ownership {
	owners := map[string][]checkpointstore.Ownership{o.id: nil}
	var free []checkpointstore.Ownership
	for p := range partitions {
		r := checkpointstore.Ownership{FullyQualifiedNamespace: namespace, EventHubName: o.fleet.hub, ConsumerGroup: consumerGroup, PartitionID: fmt.Sprint(p)}
		if i := slices.IndexFunc(records, func(have checkpointstore.Ownership) bool { return have.PartitionID == r.PartitionID }); i >= 0 {
			r = records[i]
		}
		if r.OwnerID == "" || time.Since(r.LastModifiedTime) > o.fleet.expiration {
			free = append(free, r)
		} else {
			owners[r.OwnerID] = append(owners[r.OwnerID], r)
		}
	}
	claims, share := owners[o.id], partitions/len(owners)
	missing := max(0, share-len(claims))
	claims = append(claims, free[:min(missing, len(free))]...)
	for _, theirs := range owners {
		if len(claims) < share && len(theirs) > share {
			claims = append(claims, theirs[0])
		}
	}
	for i := range claims {
		claims[i].OwnerID = o.id
	}
	return claims
}

// previous tells whose partition it was.
func previous(records []checkpointstore.Ownership, id string) string {
	for _, r := range records {
		if r.PartitionID == id && r.OwnerID != "" {
			return " from " + r.OwnerID
		} else if r.PartitionID == id {
			return " (relinquished)"
		}
	}
	return ""
}

func (o *owner) checkpoint(ctx context.Context, partition string, sequenceNumber int64) error {
	return o.store.UpdateCheckpoint(ctx, checkpointstore.Checkpoint{
		FullyQualifiedNamespace: namespace, EventHubName: o.fleet.hub, ConsumerGroup: consumerGroup,
		PartitionID: partition, SequenceNumber: &sequenceNumber,
	}, nil)
}

// relinquish claims what the owner has with an empty owner id, so that others need
// not wait until it expires.
func (o *owner) relinquish(ctx context.Context) error {
	for i := range o.owned {
		o.owned[i].OwnerID = ""
	}
	_, err := o.store.ClaimOwnership(ctx, o.owned, nil)
	o.fleet.logf("%s stops and relinquishes %d partitions", o.id, len(o.owned))
	return err
}
