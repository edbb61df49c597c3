package processor_test

import (
	"context"
	"fmt"
	"log"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2/checkpoints"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/processor"
)

// A program that uses azeventhubs' Processor moves to this store with two changed
// lines. The READMEs show them as a diff.
func ExampleAdapt_moving() {
	containerClient, err := container.NewClientWithNoCredential("http://127.0.0.1:10000/devstoreaccount1/checkpoints", nil)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop() // at once; signal.NotifyContext is what a program wants
	fmt.Println("before:", withOfficialStore(ctx, newClient(), containerClient))
	fmt.Println("after:", withThisStore(ctx, newClient(), containerClient))
	// Output:
	// before: <nil>
	// after: <nil>
}

func withOfficialStore(ctx context.Context, client *azeventhubs.ConsumerClient, containerClient *container.Client) error {
	defer client.Close(context.Background())
	store, err := checkpoints.NewBlobStore(containerClient, nil)
	if err != nil {
		return err
	}
	p, err := azeventhubs.NewProcessor(client, store, nil)
	if err != nil {
		return err
	}
	return p.Run(ctx)
}

func withThisStore(ctx context.Context, client *azeventhubs.ConsumerClient, containerClient *container.Client) error {
	defer client.Close(context.Background())
	store, err := checkpointstore.NewBlobCheckpointStore(containerClient, nil)
	if err != nil {
		return err
	}
	p, err := azeventhubs.NewProcessor(client, processor.Adapt(store, nil), nil)
	if err != nil {
		return err
	}
	return p.Run(ctx)
}
