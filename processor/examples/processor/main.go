// Command processor reads an event hub together with all others that run it with
// the same storage container, and prints the events. Ctrl-C ends it cleanly: what
// was printed is checkpointed, and its partitions go to the others at once.
//
//	processor -eventhub-connection-string "Endpoint=sb://…;EntityPath=hub" -storage-connection-string "…"
//	processor -namespace ns.servicebus.windows.net -eventhub hub -storage https://account.blob.core.windows.net
//
// The second form signs in with DefaultAzureCredential, which needs the roles
// "Azure Event Hubs Data Receiver" and "Storage Blob Data Contributor". Each flag
// can also be set as an environment variable: EVENTHUB_CONNECTION_STRING for
// -eventhub-connection-string, AZURE_STORAGE_CONNECTION_STRING for
// -storage-connection-string.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/processor"
)

type settings struct {
	eventHubConnection, namespace, eventHub, group string
	storageConnection, storage, container          string
	earliest, create                               bool
}

func main() {
	var s settings
	flag.StringVar(&s.eventHubConnection, "eventhub-connection-string", os.Getenv("EVENTHUB_CONNECTION_STRING"), "connection string of the event hub, with EntityPath")
	flag.StringVar(&s.namespace, "namespace", "", "fully qualified namespace, in place of a connection string: ns.servicebus.windows.net")
	flag.StringVar(&s.eventHub, "eventhub", "", "name of the event hub, with -namespace")
	flag.StringVar(&s.group, "group", azeventhubs.DefaultConsumerGroup, "consumer group")
	flag.StringVar(&s.storageConnection, "storage-connection-string", os.Getenv("AZURE_STORAGE_CONNECTION_STRING"), "connection string of the storage account")
	flag.StringVar(&s.storage, "storage", "", "URL of the storage account, in place of a connection string: https://account.blob.core.windows.net")
	flag.StringVar(&s.container, "container", "checkpoints", "name of the blob container")
	flag.BoolVar(&s.earliest, "earliest", false, "begin partitions without a checkpoint at their beginning, rather than with the next event")
	flag.BoolVar(&s.create, "create", false, "create the container if it does not exist")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) error {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	client, err := s.consumer()
	if err != nil {
		return err
	}
	defer func() { _ = client.Close(context.Background()) }()
	store, err := s.store(logger)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	if s.create {
		if err := store.EnsureContainer(ctx, nil); err != nil {
			return err
		}
	}
	adapted := processor.Adapt(store, &processor.AdaptOptions{Logger: logger})
	options := &azeventhubs.ProcessorOptions{
		StartPositions: azeventhubs.StartPositions{Default: azeventhubs.StartPosition{Earliest: &s.earliest}},
	}
	return processor.Run(ctx, &processor.RunOptions{
		NewProcessor: func(context.Context) (*azeventhubs.Processor, error) {
			return azeventhubs.NewProcessor(client, adapted, options)
		},
		HandlePartition: printEvents,
		GiveUp:          processor.Lasting, // a missing role or container will not come by waiting
		Logger:          logger,
	})
}

func (s settings) consumer() (*azeventhubs.ConsumerClient, error) {
	if s.eventHubConnection != "" {
		return azeventhubs.NewConsumerClientFromConnectionString(s.eventHubConnection, s.eventHub, s.group, nil)
	}
	if s.namespace == "" || s.eventHub == "" {
		return nil, errors.New("set -eventhub-connection-string, or -namespace and -eventhub")
	}
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, err
	}
	return azeventhubs.NewConsumerClient(s.namespace, s.eventHub, s.group, credential, nil)
}

func (s settings) store(logger *slog.Logger) (*checkpointstore.BlobCheckpointStore, error) {
	options := &checkpointstore.BlobCheckpointStoreOptions{Logger: logger}
	if s.storageConnection != "" {
		return checkpointstore.NewBlobCheckpointStoreFromConnectionString(s.storageConnection, s.container, options)
	}
	if s.storage == "" {
		return nil, errors.New("set -storage-connection-string, or -storage")
	}
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, err
	}
	url := strings.TrimRight(s.storage, "/") + "/" + s.container
	return checkpointstore.NewBlobCheckpointStoreWithTokenCredential(url, credential, options)
}

// printEvents prints the events of one partition. It stores a checkpoint after what came
// within a second: a checkpoint for each event would be a request for each event.
func printEvents(ctx context.Context, p processor.Partition) error {
	for {
		receiving, cancel := context.WithTimeout(ctx, time.Second)
		events, err := p.ReceiveEvents(receiving, 100, nil)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		for _, e := range events {
			fmt.Printf("partition %s, sequence number %d: %s\n", p.PartitionID(), e.SequenceNumber, e.Body)
		}
		if len(events) == 0 {
			continue
		}
		// Also when ctx is done: Run gives it the time that it needs.
		if err := p.UpdateCheckpoint(ctx, events[len(events)-1], nil); err != nil {
			return err
		}
	}
}
