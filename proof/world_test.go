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

// world is a service that stores are made over.
type world struct {
	newStore func(transport policy.Transporter, options checkpointstore.BlobCheckpointStoreOptions) (*checkpointstore.BlobCheckpointStore, error)
	wire     policy.Transporter // to the service
	remove   func(name string)  // deletes a blob
	log      func() string      // what came over the wire; nil if nobody knows

	// pace is the unit of time: a try may take 7, a call 30, and a retry comes after 1.5, as with the store's defaults.
	pace time.Duration
}

// onFake is a world in memory. In a synctest bubble its time is virtual.
func onFake(service *fakeblob.Service) world {
	return world{
		newStore: func(transport policy.Transporter, o checkpointstore.BlobCheckpointStoreOptions) (*checkpointstore.BlobCheckpointStore, error) {
			o.ClientOptions.Transport = transport
			return checkpointstore.NewBlobCheckpointStoreWithNoCredential(service.URL(), &o)
		},
		wire:   service,
		remove: service.Delete,
		log:    service.Transcript,
		pace:   time.Second,
	}
}

// onAzurite is a container of its own in a real service.
func onAzurite(t *testing.T) world {
	t.Helper()
	connection, name := azurite.Shared(t).ConnectionString(), azurite.NewContainerName(t)
	w := world{
		newStore: func(transport policy.Transporter, o checkpointstore.BlobCheckpointStoreOptions) (*checkpointstore.BlobCheckpointStore, error) {
			o.ClientOptions.Transport = transport
			return checkpointstore.NewBlobCheckpointStoreFromConnectionString(connection, name, &o)
		},
		wire: ownConnections(t),
		pace: 30 * time.Millisecond,
	}
	if raceEnabled {
		w.pace *= 3
	}
	store, err := w.newStore(w.wire, checkpointstore.BlobCheckpointStoreOptions{})
	require.NoError(t, err)
	require.NoError(t, store.EnsureContainer(context.Background(), nil))
	return w
}

// options bound calls and tries at the world's pace. The delay between tries is always the longest one, so that the
// jitter of azcore is cut off and a seed gives the same history again.
func (w world) options() checkpointstore.BlobCheckpointStoreOptions {
	o := checkpointstore.BlobCheckpointStoreOptions{Timeout: 30 * w.pace}
	o.ClientOptions.Retry = policy.RetryOptions{
		MaxRetries:    3,
		TryTimeout:    7 * w.pace,
		RetryDelay:    2 * w.pace,
		MaxRetryDelay: 3 * w.pace / 2,
	}
	return o
}

// client is a store behind faults.
type client struct {
	*checkpointstore.BlobCheckpointStore
	faults *faults.Transport
}

func (w world) newClient(t testing.TB, seed uint64, m mix, v variant) client {
	t.Helper()
	transport := faults.New(w.wire, seed, m.rules(w.pace)...)
	o := w.options()
	o.DisableFencing = v == unfenced
	store, err := w.newStore(v.breaks(transport), o)
	require.NoError(t, err)
	return client{store, transport}
}

// plain is a store that meets no faults.
func (w world) plain(t testing.TB) *checkpointstore.BlobCheckpointStore {
	t.Helper()
	store, err := w.newStore(w.wire, w.options())
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

// ownConnections is a transport whose connections end with the test.
func ownConnections(t *testing.T) policy.Transporter {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}
