package memstore_test

import (
	"context"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
)

func Example() {
	ctx := context.Background()
	first := memstore.New()
	second := first.Share() // as another process that uses the same container

	ownership := checkpointstore.Ownership{
		FullyQualifiedNamespace: "mynamespace.servicebus.windows.net",
		EventHubName:            "myhub",
		ConsumerGroup:           "$Default",
		PartitionID:             "0",
		OwnerID:                 "first",
	}
	won, err := first.ClaimOwnership(ctx, []checkpointstore.Ownership{ownership}, nil)
	fmt.Println("first wins:", len(won), err)

	ownership.OwnerID = "second"
	won, err = second.ClaimOwnership(ctx, []checkpointstore.Ownership{ownership}, nil)
	fmt.Println("second wins:", len(won), err)

	checkpoint := checkpointstore.Checkpoint{
		FullyQualifiedNamespace: "mynamespace.servicebus.windows.net",
		EventHubName:            "myhub",
		ConsumerGroup:           "$Default",
		PartitionID:             "0",
		SequenceNumber:          to.Ptr[int64](500),
	}
	fmt.Println("first stores 500:", first.UpdateCheckpoint(ctx, checkpoint, nil))
	checkpoint.SequenceNumber = to.Ptr[int64](499)
	fmt.Println("first stores 499:", first.UpdateCheckpoint(ctx, checkpoint, nil))

	// Output:
	// first wins: 1 <nil>
	// second wins: 0 <nil>
	// first stores 500: <nil>
	// first stores 499: checkpointstore: UpdateCheckpoint: partition "0": stale checkpoint: sequence number 499 is behind 500, which is stored; to go back on purpose, use Rewind
}
