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
	return processor.Run(ctx, client, store, func(ctx context.Context, p *processor.Partition) error {
		for {
			events, err := p.ReceiveEvents(ctx, 1, nil) // waits for that many
			if err != nil {
				return err // context.Cause(ctx) says why
			}
			fmt.Printf("%s: %s\n", p.PartitionID(), events[0].Body)
			if err := p.UpdateCheckpoint(ctx, events[0], nil); err != nil {
				return err
			}
		}
	}, nil)
}

func newClient() *azeventhubs.ConsumerClient {
	client, err := azeventhubs.NewConsumerClientFromConnectionString(
		"Endpoint=sb://127.0.0.1:5672;SharedAccessKeyName=any;SharedAccessKey=any;EntityPath=hub;UseDevelopmentEmulator=true",
		"", azeventhubs.DefaultConsumerGroup, nil)
	if err != nil {
		log.Fatal(err)
	}
	return client
}

func ExampleRun() {
	ctx, stop := context.WithCancel(context.Background())
	stop() // at once; signal.NotifyContext is what a program wants
	client := newClient()
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
	ctx, stop := context.WithCancel(context.Background())
	stop()
	client := newClient()
	defer client.Close(context.Background())
	p, err := azeventhubs.NewProcessor(client, processor.Adapt(memstore.New(), nil), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(p.Run(ctx))
	// Output: <nil>
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
