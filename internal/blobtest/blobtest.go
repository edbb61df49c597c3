// Package blobtest has what the tests of BlobCheckpointStore share: stores over the fake service and over Azurite, and
// the records that are written through them.
package blobtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
)

// The scope of the records, the names of their blobs, and the hosts of the account.
const (
	Namespace        = "ns.example"
	Hub              = "hub"
	Group            = "group"
	OwnershipPrefix  = "ns.example/hub/group/ownership/"
	CheckpointPrefix = "ns.example/hub/group/checkpoint/"

	PrimaryHost   = "account.blob.core.windows.net"
	SecondaryHost = "account-secondary.blob.core.windows.net"
)

// QuickRetries are azcore's retries without its delays.
func QuickRetries() policy.RetryOptions {
	return policy.RetryOptions{RetryDelay: time.Millisecond, MaxRetryDelay: 2 * time.Millisecond}
}

// NewStore returns a store over a fake service, with a client that the store builds and quick retries unless the options
// say otherwise.
func NewStore(t testing.TB, service *fakeblob.Service, options *checkpointstore.BlobCheckpointStoreOptions) *checkpointstore.BlobCheckpointStore {
	t.Helper()
	var o checkpointstore.BlobCheckpointStoreOptions
	if options != nil {
		o = *options
	}
	o.ClientOptions.Transport = service
	if o.ClientOptions.Retry.RetryDelay == 0 {
		o.ClientOptions.Retry = QuickRetries()
	}
	store, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(service.URL(), &o)
	require.NoError(t, err)
	return store
}

// NewStoreOfClient returns a store over a fake service, with a client of the caller's that has the options of NewStore.
func NewStoreOfClient(t testing.TB, service *fakeblob.Service, options *checkpointstore.BlobCheckpointStoreOptions) *checkpointstore.BlobCheckpointStore {
	t.Helper()
	var o checkpointstore.BlobCheckpointStoreOptions
	if options != nil {
		o = *options
	}
	o.ClientOptions.Transport = service
	store, err := HandIn(t, service.URL(), o)
	require.NoError(t, err)
	return store
}

// HandIn hands a store a client with the options that the store would have built one with.
func HandIn(t testing.TB, url string, o checkpointstore.BlobCheckpointStoreOptions) (*checkpointstore.BlobCheckpointStore, error) {
	t.Helper()
	c := o.ClientOptions
	if c.Retry.RetryDelay == 0 {
		c.Retry = QuickRetries()
		c.Retry.TryTimeout = 7 * time.Second
	}
	client, err := container.NewClientWithNoCredential(url, &c)
	require.NoError(t, err)
	o.ClientOptions = container.ClientOptions{}
	return checkpointstore.NewBlobCheckpointStore(client, &o)
}

// Claim returns a claim of one partition.
func Claim(group, owner, partition string, etag *azcore.ETag) checkpointstore.Ownership {
	return checkpointstore.Ownership{
		FullyQualifiedNamespace: Namespace, EventHubName: Hub, ConsumerGroup: group,
		PartitionID: partition, OwnerID: owner, ETag: etag,
	}
}

// Claims returns first claims of the partitions 0 to n-1.
func Claims(group, owner string, n int) []checkpointstore.Ownership {
	all := make([]checkpointstore.Ownership, n)
	for i := range all {
		all[i] = Claim(group, owner, fmt.Sprint(i), nil)
	}
	return all
}

// ClaimOne claims one partition, which must be won, and returns its record.
func ClaimOne(t testing.TB, store checkpointstore.CheckpointStore, o checkpointstore.Ownership) checkpointstore.Ownership {
	t.Helper()
	won, err := store.ClaimOwnership(context.Background(), []checkpointstore.Ownership{o}, nil)
	require.NoError(t, err)
	require.Len(t, won, 1)
	return won[0]
}

// Checkpoint returns a checkpoint whose offset is 64 times its sequence number.
func Checkpoint(group, partition string, sequenceNumber int64) checkpointstore.Checkpoint {
	return checkpointstore.Checkpoint{
		FullyQualifiedNamespace: Namespace, EventHubName: Hub, ConsumerGroup: group,
		PartitionID: partition, SequenceNumber: &sequenceNumber, Offset: to.Ptr(fmt.Sprint(sequenceNumber * 64)),
	}
}

// Position returns the metadata of such a checkpoint.
func Position(sequenceNumber int64) map[string]string {
	return map[string]string{"sequencenumber": fmt.Sprint(sequenceNumber), "offset": fmt.Sprint(sequenceNumber * 64)}
}

// FailingCredential is a credential that has no token.
type FailingCredential struct{ Err error }

// GetToken returns the error.
func (c FailingCredential) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{}, c.Err
}

// ETag returns a pointer to an ETag.
func ETag(s string) *azcore.ETag { return to.Ptr(azcore.ETag(s)) }
