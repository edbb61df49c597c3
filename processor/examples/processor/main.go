// Command processor has a handler of its own, which receives events and decides
// when to checkpoint. It reads an event hub together with all others that run it
// with the same container, and prints the events until it is interrupted.
//
//	processor                        # an event hub in memory
//	processor -eventhub-connection-string "Endpoint=sb://…;EntityPath=hub" -storage-connection-string "…"
//	processor -namespace ns.servicebus.windows.net -eventhub hub -storage https://account.blob.core.windows.net
//
// The last form signs in with DefaultAzureCredential, which needs the roles "Azure
// Event Hubs Data Receiver" and "Storage Blob Data Contributor".
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/processor"
	"github.com/ea947076/checkpointstore/processor/processortest"
)

func main() {
	var s settings
	flag.StringVar(&s.eventHubConnection, "eventhub-connection-string", "", "connection string of the event hub, with an EntityPath")
	flag.StringVar(&s.storageConnection, "storage-connection-string", "", "connection string of the storage account")
	flag.StringVar(&s.namespace, "namespace", "", "fully qualified namespace: ns.servicebus.windows.net")
	flag.StringVar(&s.eventHub, "eventhub", "", "name of the event hub in the namespace")
	flag.StringVar(&s.storage, "storage", "", "URL of the storage account: https://account.blob.core.windows.net")
	flag.StringVar(&s.container, "container", "checkpoints", "name of the blob container, which must exist")
	verbose := flag.Bool("v", false, "log what the processor, the store and azeventhubs do")
	flag.Parse()
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if *verbose {
		logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
		logAzure(logger)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := s.run(ctx, os.Stdout, logger); err != nil {
		log.Fatal(err)
	}
}

type settings struct {
	eventHubConnection, storageConnection   string
	namespace, eventHub, storage, container string
}

func (s settings) run(ctx context.Context, out io.Writer, logger *slog.Logger) error {
	hub, store, err := s.open(&checkpointstore.BlobCheckpointStoreOptions{Logger: logger})
	if err != nil {
		return err
	}
	earliest := true // where partitions without a checkpoint begin; the default is their end
	p, err := processor.NewWithEventHub(hub, store, printer{out}.handle, &processor.Options{
		StartPositions: azeventhubs.StartPositions{Default: azeventhubs.StartPosition{Earliest: &earliest}},
		Logger:         logger,
	})
	if err != nil {
		return err
	}
	return p.Run(ctx)
}

func (s settings) open(options *checkpointstore.BlobCheckpointStoreOptions) (processor.EventHub, checkpointstore.CheckpointStore, error) {
	if s == (settings{container: s.container}) {
		hub := processortest.NewHub(2)
		hub.Send("0", "apple", "pear")
		hub.Send("1", "plum")
		return hub.Client("me"), memstore.New(), nil
	}
	if s.eventHubConnection != "" {
		client, err := azeventhubs.NewConsumerClientFromConnectionString(s.eventHubConnection, "", azeventhubs.DefaultConsumerGroup, nil)
		if err != nil {
			return nil, nil, err
		}
		store, err := checkpointstore.NewBlobCheckpointStoreFromConnectionString(s.storageConnection, s.container, options)
		return processor.NewEventHub(client), store, err
	}
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, nil, err
	}
	client, err := azeventhubs.NewConsumerClient(s.namespace, s.eventHub, azeventhubs.DefaultConsumerGroup, credential, nil)
	if err != nil {
		return nil, nil, err
	}
	store, err := checkpointstore.NewBlobCheckpointStoreWithTokenCredential(strings.TrimRight(s.storage, "/")+"/"+s.container, credential, options)
	return processor.NewEventHub(client), store, err
}

// printer prints the events of all partitions.
type printer struct{ out io.Writer }

// handle prints the events of one partition. It checkpoints once for what arrived
// within a second: a checkpoint for each event would be a request for each event.
func (w printer) handle(ctx context.Context, p *processor.Partition) error {
	for {
		receiving, cancel := context.WithTimeout(ctx, time.Second)
		events, err := p.ReceiveEvents(receiving, 100, nil)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		for _, e := range events {
			if _, err := fmt.Fprintf(w.out, "partition %s, sequence number %d: %s\n", p.PartitionID(), e.SequenceNumber, e.Body); err != nil {
				return processor.Fatal(err)
			}
		}
		if len(events) == 0 {
			continue
		}
		// Also when ctx is done: Run leaves it time.
		if err := p.UpdateCheckpoint(ctx, events[len(events)-1], nil); err != nil {
			return err
		}
	}
}
