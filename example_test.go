package checkpointstore_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
)

const exampleNamespace = "mynamespace.servicebus.windows.net"

func Example() {
	ctx := context.Background()
	var store checkpointstore.CheckpointStore = memstore.New() // or one of the constructors of BlobCheckpointStore

	// Claim a partition that nobody owned, and renew it.
	won, err := store.ClaimOwnership(ctx, []checkpointstore.Ownership{{
		FullyQualifiedNamespace: exampleNamespace, EventHubName: "myhub", ConsumerGroup: "$Default",
		PartitionID: "0", OwnerID: "me",
	}}, nil)
	if err != nil {
		log.Fatal(err)
	}
	won, err = store.ClaimOwnership(ctx, won, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("owned:", len(won))

	// Record how far it was read.
	err = store.UpdateCheckpoint(ctx, checkpointstore.Checkpoint{
		FullyQualifiedNamespace: exampleNamespace, EventHubName: "myhub", ConsumerGroup: "$Default",
		PartitionID: "0", SequenceNumber: to.Ptr[int64](41), Offset: to.Ptr("4100"),
	}, nil)
	if err != nil {
		log.Fatal(err)
	}

	// Whoever takes over goes on from there.
	checkpoints, err := store.ListCheckpoints(ctx, exampleNamespace, "myhub", "$Default", nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range checkpoints {
		fmt.Printf("partition %s: after sequence number %d\n", c.PartitionID, *c.SequenceNumber)
	}
	// Output:
	// owned: 1
	// partition 0: after sequence number 41
}

func ExampleNewBlobCheckpointStore() {
	client, err := container.NewClientWithNoCredential("https://myaccount.blob.core.windows.net/checkpoints?<sas>", nil)
	if err != nil {
		log.Fatal(err)
	}
	store, err := checkpointstore.NewBlobCheckpointStore(client, nil)
	if err != nil {
		log.Fatal(err)
	}
	_ = store
}

func ExampleNewBlobCheckpointStoreFromConnectionString() {
	store, err := checkpointstore.NewBlobCheckpointStoreFromConnectionString(
		os.Getenv("AZURE_STORAGE_CONNECTION_STRING"), "checkpoints", nil)
	fmt.Println(store != nil, errors.Is(err, checkpointstore.ErrInvalidArgument))
}

func ExampleNewBlobCheckpointStoreWithTokenCredential() {
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		log.Fatal(err)
	}
	store, err := checkpointstore.NewBlobCheckpointStoreWithTokenCredential(
		"https://myaccount.blob.core.windows.net/checkpoints", credential,
		&checkpointstore.BlobCheckpointStoreOptions{Logger: slog.Default()})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	fmt.Println("made")
	// Output: made
}

func ExampleNewBlobCheckpointStoreWithSharedKeyCredential() {
	key, err := container.NewSharedKeyCredential("myaccount", "bXlrZXk=")
	if err != nil {
		log.Fatal(err)
	}
	store, err := checkpointstore.NewBlobCheckpointStoreWithSharedKeyCredential(
		"https://myaccount.blob.core.windows.net/checkpoints", key,
		&checkpointstore.BlobCheckpointStoreOptions{APIVersion: "2019-07-07"}) // as Azure Stack Hub asks for
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	fmt.Println("made")
	// Output: made
}

func ExampleNewBlobCheckpointStoreWithNoCredential() {
	store, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(
		"https://myaccount.blob.core.windows.net/checkpoints?sv=2021-06-08&sp=rwcl&sig=abc", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	fmt.Println("made")
	// Output: made
}

func ExampleCheckpointStore_claimOwnership() {
	ctx := context.Background()
	store := memstore.New()
	claim := func(owner string) int {
		won, err := store.ClaimOwnership(ctx, []checkpointstore.Ownership{{
			FullyQualifiedNamespace: exampleNamespace, EventHubName: "myhub", ConsumerGroup: "$Default",
			PartitionID: "0", OwnerID: owner,
		}}, nil)
		var failed *checkpointstore.PartitionErrors
		if errors.As(err, &failed) {
			for _, f := range failed.Errors { // these could not be decided; the others were
				log.Print(f)
			}
		}
		return len(won)
	}
	fmt.Println("alice wins:", claim("alice"))
	fmt.Println("bob wins:", claim("bob"))
	// Output:
	// alice wins: 1
	// bob wins: 0
}

func ExampleCheckpointStore_updateCheckpoint() {
	ctx := context.Background()
	store := memstore.New()
	update := func(n int64, options *checkpointstore.UpdateCheckpointOptions) error {
		return store.UpdateCheckpoint(ctx, checkpointstore.Checkpoint{
			FullyQualifiedNamespace: exampleNamespace, EventHubName: "myhub", ConsumerGroup: "$Default",
			PartitionID: "0", SequenceNumber: &n,
		}, options)
	}
	fmt.Println(update(510, nil))
	fmt.Println(errors.Is(update(500, nil), checkpointstore.ErrStaleCheckpoint)) // an older event's, late
	fmt.Println(update(500, &checkpointstore.UpdateCheckpointOptions{Rewind: true}))
	// Output:
	// <nil>
	// true
	// <nil>
}

func ExampleCheckpointStore_listOwnership() {
	ctx := context.Background()
	store := memstore.New()
	all, err := store.ListOwnership(ctx, exampleNamespace, "myhub", "$Default", nil)
	fmt.Println(len(all), err)
	// Output: 0 <nil>
}

func ExampleBlobCheckpointStore_EnsureContainer() {
	store, err := checkpointstore.NewBlobCheckpointStoreFromConnectionString("UseDevelopmentStorage=true", "checkpoints", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	if err := store.EnsureContainer(context.Background(), nil); err != nil {
		log.Print(err) // no Azurite on port 10000
	}
}

func ExampleBlobCheckpointStore_GetCheckpoint() {
	store, err := checkpointstore.NewBlobCheckpointStoreFromConnectionString("UseDevelopmentStorage=true", "checkpoints", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	c, err := store.GetCheckpoint(context.Background(), exampleNamespace, "myhub", "$Default", "0", nil)
	switch {
	case errors.Is(err, checkpointstore.ErrNotFound):
		fmt.Println("start at the default position")
	case err != nil:
		log.Print(err)
	default:
		fmt.Println("start after", *c.SequenceNumber)
	}
}

func ExampleBlobCheckpointStore_GetOwnership() {
	store, err := checkpointstore.NewBlobCheckpointStoreFromConnectionString("UseDevelopmentStorage=true", "checkpoints", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	o, err := store.GetOwnership(context.Background(), exampleNamespace, "myhub", "$Default", "0", nil)
	if err == nil && o.OwnerID == "" {
		fmt.Println("relinquished")
	}
}
