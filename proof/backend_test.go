package proof

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/azurite"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
)

// The scope of all records.
const (
	namespace = "ns.example"
	eventHub  = "hub"
	group     = "group"

	ownershipPrefix  = namespace + "/" + eventHub + "/" + group + "/ownership/"
	checkpointPrefix = namespace + "/" + eventHub + "/" + group + "/checkpoint/"
)

// backend is a service for the stores of a history.
type backend struct {
	newStore  func(transport policy.Transporter, options checkpointstore.BlobCheckpointStoreOptions) (*checkpointstore.BlobCheckpointStore, error)
	transport policy.Transporter
	remove    func(name string) // deletes a blob

	// pace is the unit of time: a try may take 7, a call 30, and a retry follows after 1.5, as with the store's defaults.
	pace time.Duration
}

// onFake returns a backend in memory. In a synctest bubble its time is virtual.
func onFake(service *fakeblob.Service) backend {
	return backend{
		newStore: func(transport policy.Transporter, o checkpointstore.BlobCheckpointStoreOptions) (*checkpointstore.BlobCheckpointStore, error) {
			o.ClientOptions.Transport = transport
			return checkpointstore.NewBlobCheckpointStoreWithNoCredential(service.URL(), &o)
		},
		transport: service,
		remove:    service.Delete,
		pace:      time.Second,
	}
}

// onAzurite returns a backend that is a container of its own in Azurite.
func onAzurite(t *testing.T) backend {
	t.Helper()
	connections := http.DefaultTransport.(*http.Transport).Clone()
	connections.MaxIdleConnsPerHost = 64
	t.Cleanup(connections.CloseIdleConnections)
	connection, name := azurite.Shared(t).ConnectionString(), azurite.NewContainerName(t)
	b := backend{
		newStore: func(transport policy.Transporter, o checkpointstore.BlobCheckpointStoreOptions) (*checkpointstore.BlobCheckpointStore, error) {
			o.ClientOptions.Transport = transport
			return checkpointstore.NewBlobCheckpointStoreFromConnectionString(connection, name, &o)
		},
		transport: &http.Client{Transport: connections},
		pace:      30 * time.Millisecond,
	}
	if raceEnabled {
		b.pace *= 3
	}
	require.NoError(t, b.plain(t).EnsureContainer(context.Background(), nil))
	return b
}

// options bound calls and tries at the backend's pace. The delay between tries always reaches its maximum, which cuts off
// the jitter of azcore, so that a seed gives the same history again.
func (b backend) options() checkpointstore.BlobCheckpointStoreOptions {
	o := checkpointstore.BlobCheckpointStoreOptions{Timeout: 30 * b.pace}
	o.ClientOptions.Retry = policy.RetryOptions{
		MaxRetries:    3,
		TryTimeout:    7 * b.pace,
		RetryDelay:    2 * b.pace,
		MaxRetryDelay: 3 * b.pace / 2,
	}
	return o
}

// client is a store behind faults.
type client struct {
	*checkpointstore.BlobCheckpointStore
	faults *faults.Transport
}

func (b backend) newClient(t testing.TB, seed uint64, set faultSet, v variant) client {
	t.Helper()
	transport := faults.New(b.transport, seed, set.rules(b.pace)...)
	o := b.options()
	o.DisableFencing = v == unfenced
	store, err := b.newStore(v.breaks(transport), o)
	require.NoError(t, err)
	return client{store, transport}
}

// end stops the faults, waits for late requests, and counts what struck.
func (c client) end(struck map[string]int) {
	c.faults.Heal()
	c.faults.Drain()
	addCounts(struck, c.faults.Struck())
}

// plain returns a store without faults. Its bounds are not those of the pace, since its calls must not fail on a machine that
// is busy.
func (b backend) plain(t testing.TB) *checkpointstore.BlobCheckpointStore {
	t.Helper()
	o := checkpointstore.BlobCheckpointStoreOptions{Timeout: 10 * time.Minute}
	o.ClientOptions.Retry.TryTimeout = 2 * time.Minute
	store, err := b.newStore(b.transport, o)
	require.NoError(t, err)
	return store
}

func claimOf(owner, partition, etag string) checkpointstore.Ownership {
	o := checkpointstore.Ownership{
		FullyQualifiedNamespace: namespace, EventHubName: eventHub, ConsumerGroup: group,
		PartitionID: partition, OwnerID: owner,
	}
	if etag != "" {
		o.ETag = to.Ptr(azcore.ETag(etag))
	}
	return o
}

func checkpointAt(partition string, sequenceNumber int64) checkpointstore.Checkpoint {
	return checkpointstore.Checkpoint{
		FullyQualifiedNamespace: namespace, EventHubName: eventHub, ConsumerGroup: group,
		PartitionID: partition, SequenceNumber: &sequenceNumber, Offset: to.Ptr(fmt.Sprint(sequenceNumber * 64)),
	}
}
