// Failover shows what a checkpoint store is for. Three owners in one process
// share the partitions of a hub and checkpoint what they have handled; one is
// killed, and the others take its partitions over and resume from its
// checkpoints; when it wakes up again, its late checkpoint is refused; one stops
// gracefully, and the last one takes over without waiting.
//
// By default the store is in memory. With -azurite it is a blob container on an
// Azurite that the example starts; with -connection-string or -account-url it is
// a container of a storage account.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/azurite"
	"github.com/ea947076/checkpointstore/memstore"
)

func main() {
	var o options
	flag.StringVar(&o.connectionString, "connection-string", "", "connection string of a storage account")
	flag.StringVar(&o.accountURL, "account-url", "", "https://<account>.blob.core.windows.net, with azidentity's DefaultAzureCredential")
	flag.StringVar(&o.container, "container", "checkpointstore-failover", "container, created if it does not exist")
	flag.BoolVar(&o.azurite, "azurite", false, "start an Azurite (needs Node.js)")
	flag.IntVar(&o.partitions, "partitions", 6, "partitions of the hub, at least 3")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "failover: unexpected argument %q; see -help\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
		os.Exit(1)
	}
}

type options struct {
	connectionString, accountURL, container string
	azurite                                 bool
	partitions                              int
}

// stores is how many stores the options name.
func (o options) stores() int {
	n := 0
	for _, named := range []bool{o.azurite, o.connectionString != "", o.accountURL != ""} {
		if named {
			n++
		}
	}
	return n
}

// run tells the story and checks how it ends.
func run(ctx context.Context, o options, out io.Writer) error {
	if o.partitions < 3 {
		return fmt.Errorf("-partitions is %d, and three owners share them", o.partitions)
	}
	if o.stores() > 1 {
		return errors.New("-azurite, -connection-string and -account-url each name a store: take one")
	}
	stores, name, pace, closeStores, err := open(ctx, o)
	if err != nil {
		return err
	}
	defer closeStores()
	log := newTimeline(out)
	log.printf("three owners, %d partitions, checkpoints in %s", o.partitions, name)
	return newStory(stores, o.partitions, pace, log).tell(ctx)
}

// open returns what makes a store for each owner, as each process of a fleet
// would have one.
func open(ctx context.Context, o options) (newStore func() (checkpointstore.CheckpointStore, error), name string, p pace, closeAll func(), err error) {
	closeAll = func() {}
	onBlobs := pace{interval: 200 * time.Millisecond, expiry: 3 * time.Second} // Last-Modified counts whole seconds
	var opened []*checkpointstore.BlobCheckpointStore
	var construct func() (*checkpointstore.BlobCheckpointStore, error)
	switch {
	case o.azurite:
		server, err := azurite.Start(ctx)
		if err != nil {
			return nil, "", p, nil, err
		}
		closeAll = server.Close
		name = "Azurite"
		construct = func() (*checkpointstore.BlobCheckpointStore, error) {
			return checkpointstore.NewBlobCheckpointStoreFromConnectionString(server.ConnectionString(), o.container, nil)
		}
	case o.connectionString != "":
		name = "container " + o.container
		construct = func() (*checkpointstore.BlobCheckpointStore, error) {
			return checkpointstore.NewBlobCheckpointStoreFromConnectionString(o.connectionString, o.container, nil)
		}
	case o.accountURL != "":
		name = "container " + o.container
		construct = func() (*checkpointstore.BlobCheckpointStore, error) {
			credential, err := azidentity.NewDefaultAzureCredential(nil)
			if err != nil {
				return nil, err
			}
			return checkpointstore.NewBlobCheckpointStoreWithTokenCredential(strings.TrimRight(o.accountURL, "/")+"/"+o.container, credential, nil)
		}
	default:
		shared := memstore.New()
		return func() (checkpointstore.CheckpointStore, error) { return shared.Share(), nil }, "memory",
			pace{interval: 40 * time.Millisecond, expiry: 600 * time.Millisecond}, closeAll, nil
	}
	closeServer := closeAll
	closeAll = func() {
		for _, store := range opened {
			_ = store.Close() // never fails
		}
		closeServer()
	}
	return func() (checkpointstore.CheckpointStore, error) {
		store, err := construct()
		if err != nil {
			return nil, err
		}
		opened = append(opened, store)
		return store, store.EnsureContainer(ctx, nil)
	}, name, onBlobs, closeAll, nil
}

// hubName is new in every run, so that runs do not see each other.
func hubName() string { return "failover-" + strings.ToLower(rand.Text()[:8]) }
