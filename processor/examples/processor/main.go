// Command processor reads an event hub together with all others that run it with
// the same storage container, and prints the events. Ctrl-C ends it cleanly: what
// was printed is checkpointed, and its partitions go to the others at once.
//
//	processor -eventhub-connection-string "Endpoint=sb://…;EntityPath=hub" -storage-connection-string "…"
//	processor -namespace ns.servicebus.windows.net -eventhub hub -storage https://account.blob.core.windows.net
//
// The second form signs in with DefaultAzureCredential, which needs the roles
// "Azure Event Hubs Data Receiver" and "Storage Blob Data Contributor". -h lists the
// flags and the environment variables that stand in for those that are not given.
// It exits with 2 if it was called wrongly, and with 1 if it failed.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := start(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// start is the program, without its surroundings. It returns the exit code.
func start(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	s, err := parse(args, getenv, stderr)
	switch {
	case errors.Is(err, errHelp):
		return 0
	case err != nil:
		return 2 // and was printed
	}
	if err := s.run(ctx, stdout, slog.New(slog.NewTextHandler(stderr, nil))); err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

func (s settings) run(ctx context.Context, out io.Writer, logger *slog.Logger) error {
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
	earliest := !s.latest
	return processor.Run(ctx, client, store, printer{out}.handle, &processor.Options{
		StartPositions: azeventhubs.StartPositions{Default: azeventhubs.StartPosition{Earliest: &earliest}},
		Logger:         logger,
	})
}

func (s settings) consumer() (*azeventhubs.ConsumerClient, error) {
	if s.eventHubConnection != "" {
		return azeventhubs.NewConsumerClientFromConnectionString(s.eventHubConnection, s.eventHub, s.group, nil)
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
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, err
	}
	url := strings.TrimRight(s.storage, "/") + "/" + s.container
	return checkpointstore.NewBlobCheckpointStoreWithTokenCredential(url, credential, options)
}

// printer prints the events of all partitions.
type printer struct{ out io.Writer }

// handle prints the events of one partition. It stores a checkpoint after what came
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
