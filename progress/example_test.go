package progress_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/progress"
)

// event stands for what the client of the event hub delivers.
type event struct {
	sequenceNumber int64
	offset         string
	enqueuedTime   time.Time
	body           string
}

// consume hands the events of a partition to four workers until ctx is done, and
// keeps the checkpoint behind them.
func consume(ctx context.Context, events <-chan event, handle func(event), store checkpointstore.CheckpointStore, partition checkpointstore.Checkpoint) error {
	checkpointer := progress.NewCheckpointer(progress.ToStore(store, partition), &progress.CheckpointerOptions{
		Interval: 5 * time.Second,
	})
	tracker := progress.NewTracker(&progress.TrackerOptions{Recorder: checkpointer, MaxEvents: 1000})

	type job struct {
		event   event
		pending progress.Pending
	}
	jobs := make(chan job)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for j := range jobs {
				handle(j.event)
				j.pending.Done()
			}
		})
	}

	read := func() error {
		for {
			select {
			case e := <-events:
				position := progress.Position{SequenceNumber: e.sequenceNumber, Offset: e.offset, EnqueuedTime: e.enqueuedTime}
				pending, err := tracker.Begin(ctx, position, len(e.body)) // waits while too much is in flight
				if errors.Is(err, progress.ErrOutOfOrder) {
					continue // delivered before
				}
				if err != nil {
					return err
				}
				jobs <- job{e, pending}
			case <-checkpointer.Stopped():
				return checkpointer.Err() // somebody rewound the partition
			case <-ctx.Done():
				return nil
			}
		}
	}
	err := read()

	close(jobs)
	workers.Wait()                                   // events in flight are done, and count
	return errors.Join(err, checkpointer.Close(ctx)) // the last position is written, though ctx is done
}

func Example() {
	store := memstore.New()
	partition := checkpointstore.Checkpoint{
		FullyQualifiedNamespace: "mynamespace.servicebus.windows.net", EventHubName: "myhub", ConsumerGroup: "$Default", PartitionID: "0",
	}
	ctx, stop := context.WithCancel(context.Background())
	events := make(chan event)
	go func() {
		for i := range int64(1000) {
			events <- event{sequenceNumber: i, offset: fmt.Sprint(100 * i), enqueuedTime: time.Now(), body: "hello"}
		}
		stop()
	}()
	if err := consume(ctx, events, func(event) {}, store, partition); err != nil {
		log.Fatal(err)
	}
	stored, err := store.GetCheckpoint(context.Background(), partition.FullyQualifiedNamespace, "myhub", "$Default", "0", nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("after", *stored.SequenceNumber, "at offset", *stored.Offset)
	// Output: after 999 at offset 99900
}

// A Tracker without a Checkpointer: ask it for the position.
func ExampleTracker() {
	tracker := progress.NewTracker(nil)
	ctx := context.Background()
	var events []progress.Pending
	for i := range int64(3) {
		e, err := tracker.Begin(ctx, progress.Position{SequenceNumber: 10 + i}, 100)
		if err != nil {
			log.Fatal(err)
		}
		events = append(events, e)
	}
	print := func() {
		position, ok := tracker.Position()
		fmt.Println(position.SequenceNumber, ok, tracker.Stats().InFlight, "in flight")
	}
	events[2].Done()
	print()
	events[0].Done()
	print()
	events[1].Done()
	print()
	// Output:
	// 0 false 3 in flight
	// 10 true 2 in flight
	// 12 true 0 in flight
}

// A Checkpointer without a Tracker, for a consumer that handles events in order.
func ExampleCheckpointer() {
	checkpointer := progress.NewCheckpointer(func(ctx context.Context, p progress.Position) error {
		fmt.Println("writes", p.SequenceNumber)
		return nil
	}, &progress.CheckpointerOptions{Interval: 10 * time.Second})
	for i := range int64(1000) {
		// handle the event
		checkpointer.Update(progress.Position{SequenceNumber: i}, 1)
	}
	// Before the partition is released, or when the consumer stops. After a loss: CloseLost.
	if err := checkpointer.Close(context.Background()); err != nil {
		log.Print(err)
	}
	// Output: writes 999
}

// A supervisor abandons an event that nobody finishes.
func ExampleTracker_Oldest() {
	tracker := progress.NewTracker(nil)
	if _, err := tracker.Begin(context.Background(), progress.Position{SequenceNumber: 7}, 0); err != nil {
		log.Fatal(err)
	}
	const patience = 0 // some minutes
	if event, position, age, ok := tracker.Oldest(); ok && age >= patience {
		fmt.Println("store event", position.SequenceNumber, "elsewhere")
		event.Skip()
	}
	position, _ := tracker.Position()
	fmt.Println("the position is", position.SequenceNumber)
	// Output:
	// store event 7 elsewhere
	// the position is 7
}
