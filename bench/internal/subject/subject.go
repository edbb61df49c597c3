// Package subject has what is measured: this module's store, the official one, and bare calls of azblob, behind one
// type that adds nothing to a call.
package subject

import (
	"context"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/ea947076/checkpointstore/bench/internal/backend"
)

// The names of the subjects. Bounded are bare calls that end, as those of the store do: with its deadline for each call
// and its timeout for each try.
const (
	Ours     = "ours"
	Official = "official"
	Bare     = "bare"
	Bounded  = "bounded"
)

// Names are those in the columns of the tables, in order.
func Names() []string { return []string{Ours, Official, Bare} }

// Scope is whose records are worked on.
type Scope struct {
	Namespace, EventHub, ConsumerGroup string
}

// Prefix begins the names of the blobs of one kind, ownership or checkpoint.
func (s Scope) Prefix(kind string) string {
	return s.Namespace + "/" + s.EventHub + "/" + s.ConsumerGroup + "/" + kind + "/"
}

// owner is who claims: as long as the id of an azeventhubs processor.
const owner = "6fbd5e9b-1d7c-4a35-9c9f-2f0ad9b2c8b1"

// offset is that of every checkpoint.
const offset = "8589934592"

// Store is one of the subjects over one container.
type Store struct {
	// Claims makes ready for claims of the partitions 0 to n-1.
	Claims func(scope Scope, n int) Claim
	// Checkpoint makes ready for checkpoints of one partition.
	Checkpoint func(scope Scope, partitionID string) Checkpoint
	// ListOwnership and ListCheckpoints return how many records there are.
	ListOwnership, ListCheckpoints func(context.Context, Scope) (int, error)
	// Close ends the connections that belong to it.
	Close func()
}

// Claim claims the same partitions and returns how many were won. The first call claims what nobody has, the others
// what the call before won.
type Claim func(context.Context) (int, error)

// Checkpoint writes and reads the same checkpoint. Get is nil in the official store, which has no such call.
type Checkpoint struct {
	Update func(ctx context.Context, sequenceNumber int64) error
	Get    func(context.Context) error
}

// Open opens one of the subjects. handed is for what a caller does that has a client with the transport of the Azure SDK
// and hands it in, and so keeps to its ten idle connections.
func Open(name string, c backend.Container, handed bool) (Store, error) {
	switch name {
	case Ours:
		return openOurs(c, handed)
	case Official:
		return openOfficial(c)
	}
	return openBare(c, handed, name == Bounded)
}

// newClient makes a client as its users do.
func newClient(c backend.Container) (*container.Client, error) {
	options := &container.ClientOptions{ClientOptions: c.Options}
	if c.Key == nil {
		return container.NewClientWithNoCredential(c.URL, options)
	}
	return container.NewClientWithSharedKeyCredential(c.URL, c.Key, options)
}
