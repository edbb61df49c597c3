package processor_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/processor"
)

// consume reads an event hub until ctx is done.
func consume(ctx context.Context, client *azeventhubs.ConsumerClient, store checkpointstore.CheckpointStore) error {
	adapted := processor.Adapt(store, nil)
	return processor.Run(ctx, &processor.RunOptions{
		NewProcessor: func(context.Context) (*azeventhubs.Processor, error) {
			return azeventhubs.NewProcessor(client, adapted, nil)
		},
		HandlePartition: func(ctx context.Context, p processor.Partition) error {
			for {
				events, err := p.ReceiveEvents(ctx, 1, nil) // waits for that many
				if err != nil {
					return err // stopped, or read by another consumer now
				}
				fmt.Printf("%s: %s\n", p.PartitionID(), events[0].Body)
				if err := p.UpdateCheckpoint(ctx, events[0], nil); err != nil {
					return err
				}
			}
		},
	})
}

func ExampleRun() {
	ctx, stop := context.WithCancel(context.Background())
	stop() // at once; signal.NotifyContext is what a program wants
	client, err := azeventhubs.NewConsumerClientFromConnectionString(
		"Endpoint=sb://127.0.0.1:5672;SharedAccessKeyName=any;SharedAccessKey=any;EntityPath=hub;UseDevelopmentEmulator=true",
		"", azeventhubs.DefaultConsumerGroup, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(context.Background())
	store, err := checkpointstore.NewBlobCheckpointStoreFromConnectionString("UseDevelopmentStorage=true", "checkpoints", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	fmt.Println(consume(ctx, client, store))
	// Output: <nil>
}

func ExampleAdapt() {
	ctx := context.Background()
	var store azeventhubs.CheckpointStore = processor.Adapt(memstore.New(), nil)

	won, err := store.ClaimOwnership(ctx, []azeventhubs.Ownership{{
		FullyQualifiedNamespace: "ns.servicebus.windows.net",
		EventHubName:            "hub",
		ConsumerGroup:           "$Default",
		PartitionID:             "0",
		OwnerID:                 "consumer-1",
	}}, nil)
	fmt.Println(len(won), won[0].OwnerID, err)
	// Output: 1 consumer-1 <nil>
}

// The README shows consume as it stands here.
func TestREADMEShowsTheExample(t *testing.T) {
	source, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(source), "// consume reads")
	function, _, _ := strings.Cut(rest, "\n}\n")
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	require.Contains(t, string(readme), "// consume reads"+function+"\n}\n")
}
