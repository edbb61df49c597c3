// Package backend is what answers the requests of the stores that are measured:
// answers made ahead in the same process, a TLS server on loopback with a set
// latency, and a real Azurite.
package backend

import (
	"context"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// The names of the three.
const (
	InProcess = "in-process"
	TLS       = "tls"
	Azurite   = "azurite"
)

// Backend is one of the three. Its methods are not for use at once.
type Backend interface {
	// Container makes a container with no blobs in it.
	Container(ctx context.Context) (Container, error)

	// Fill puts blobs named prefix0, prefix1 and so on, with that metadata, into
	// a container.
	Fill(ctx context.Context, c Container, prefix string, blobs int, metadata map[string]string) error

	// Drop ends the use of a container. One that is full slows all others down.
	Drop(ctx context.Context, c Container) error

	// SetLatency makes every request take that long. A back end that cannot do
	// it refuses.
	SetLatency(latency time.Duration) error

	// Gather makes the next n requests wait until all of them are there. A back end
	// without connections refuses.
	Gather(n int) error

	// Traffic is what came in so far.
	Traffic() Traffic

	// Close ends what it started.
	Close()
}

// Container is how to reach a container.
type Container struct {
	URL string

	// Key is nil if the container is open to all.
	Key *container.SharedKeyCredential

	// Options are for every client, whichever store it is for.
	Options azcore.ClientOptions
}

// Traffic counts requests and, on [TLS] alone, connections.
type Traffic struct {
	Requests, Dialled int64
}

// AbsentHub begins the names of the event hubs of which nothing is stored yet.
const AbsentHub = "new-"

// Backends starts back ends when they are asked for. The zero value is ready for use.
type Backends struct{ started map[string]Backend }

// Get returns the back end with a name.
func (b *Backends) Get(ctx context.Context, name string) (Backend, error) {
	if on := b.started[name]; on != nil {
		return on, nil
	}
	on, err := start(ctx, name)
	if err != nil {
		return nil, err
	}
	if b.started == nil {
		b.started = make(map[string]Backend)
	}
	b.started[name] = on
	return on, nil
}

// Close ends them all.
func (b *Backends) Close() {
	for _, on := range b.started {
		on.Close()
	}
}

func start(ctx context.Context, name string) (Backend, error) {
	switch name {
	case InProcess:
		return newInProcess()
	case TLS:
		return newTLS()
	case Azurite:
		return newAzurite(ctx)
	}
	return nil, fmt.Errorf("there is no back end %q", name)
}
