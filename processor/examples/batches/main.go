// Command batches reads an event hub in batches, together with all others that run
// it with the same storage container, until it is interrupted.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/processor"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	client, err := azeventhubs.NewConsumerClientFromConnectionString(
		os.Getenv("EVENTHUB_CONNECTION_STRING"), "", azeventhubs.DefaultConsumerGroup, nil)
	if err != nil {
		return fmt.Errorf("EVENTHUB_CONNECTION_STRING: %w", err)
	}
	defer client.Close(context.Background())
	store, err := checkpointstore.NewBlobCheckpointStoreFromConnectionString(
		os.Getenv("AZURE_STORAGE_CONNECTION_STRING"), os.Getenv("CHECKPOINT_CONTAINER"), nil)
	if err != nil {
		return fmt.Errorf("AZURE_STORAGE_CONNECTION_STRING, CHECKPOINT_CONTAINER: %w", err)
	}
	defer store.Close()
	// Checkpoints are stored every 15 seconds, and when a partition is released.
	return processor.Run(ctx, client, store, processor.Batches(handle, nil), nil)
}

// handle gets up to 100 events of one partition. If it returns an error, they come
// again, up to 5 times.
func handle(ctx context.Context, b *processor.Batch) error {
	for _, event := range b.Events {
		fmt.Printf("%s: %s\n", b.PartitionID, event.Body)
	}
	return nil
}
