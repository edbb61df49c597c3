package processor_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/processor"
	"github.com/ea947076/checkpointstore/processor/processortest"
)

// print prints events, and checkpoints what it printed.
func print(_ context.Context, b *processor.Batch) error {
	for _, event := range b.Events {
		fmt.Printf("%s: %s\n", b.PartitionID, event.Body)
	}
	return nil
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
	fmt.Println(processor.Run(ctx, client, store, processor.Batches(print, nil), nil))
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

// A handler of one's own decides when to checkpoint.
func ExampleHandler() {
	handler := func(ctx context.Context, p *processor.Partition) error {
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
	}
	p, err := processor.NewWithEventHub(processortest.NewHub(1).Client("me"), memstore.New(), handler, nil)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	fmt.Println(p.Run(ctx))
	// Output: <nil>
}

// Events that fail 3 times go to a dead-letter queue.
func ExampleBatches() {
	handler := processor.Batches(print, &processor.BatchOptions{
		MaxAttempts: 3,
		OnExhausted: func(ctx context.Context, failed *processor.Batch, err error) error {
			for _, event := range failed.Events {
				fmt.Printf("dead letter %s: %v\n", event.Body, err) // send it
			}
			return nil // the checkpoint passes them
		},
	})
	_ = handler // for Run
}

// Both probes of a container over HTTP.
func ExampleProcessor_Healthy() {
	p, err := processor.NewWithEventHub(processortest.NewHub(4).Client("me"), memstore.New(), processor.Batches(print, nil), &processor.Options{
		UpdateInterval: 10 * time.Millisecond, // for the example
		MaxPendingAge:  10 * time.Minute,
	})
	if err != nil {
		log.Fatal(err)
	}
	answer := func(probe func(processor.Health) error) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if err := probe(p.Healthy()); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
			}
		}
	}
	probes := http.NewServeMux()
	probes.Handle("GET /livez", answer(func(h processor.Health) error { return h.Live }))
	probes.Handle("GET /readyz", answer(func(h processor.Health) error { return h.Ready }))
	server := httptest.NewServer(probes) // on loopback
	defer server.Close()
	status := func(path string) int {
		response, err := http.Get(server.URL + path)
		if err != nil {
			log.Fatal(err)
		}
		_ = response.Body.Close()
		return response.StatusCode
	}

	fmt.Println("before: live", status("/livez"), "ready", status("/readyz"))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	for status("/readyz") != http.StatusOK {
		time.Sleep(time.Millisecond)
	}
	fmt.Println("running: live", status("/livez"), "ready", status("/readyz"))
	stop()
	fmt.Println("stopped:", <-done)
	fmt.Println("after: live", status("/livez"), "ready", status("/readyz"))
	// Output:
	// before: live 200 ready 503
	// running: live 200 ready 200
	// stopped: <nil>
	// after: live 503 ready 503
}
