package processor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore"
)

// closeTimeout bounds the closing of one partition client.
const closeTimeout = 10 * time.Second

// errExited is of a handler that neither returned nor panicked (runtime.Goexit).
var errExited = errors.New("processor: the handler ended its goroutine")

// serve handles one partition, from when it was handed out to when it is given
// up. ctx is the handler's, and ends before running, that of all handlers, if the
// partition was lost.
func (r *runner) serve(ctx, running context.Context, client partitionClient) {
	log := r.Logger.With("partition", client.PartitionID())
	defer giveUp(running, client, log)
	t := r.turns.of(client.PartitionID(), r.backoff)
	if !t.enter(ctx) {
		return
	}
	log.Info("partition started")
	started, err := time.Now(), errExited
	defer func() {
		ended := running.Err() != nil
		wasLost := ctx.Err() != nil || lost(err)
		t.leave(judge(ended, wasLost, err, time.Since(started), t.backoff, log))
	}()
	err = call(ctx, r.HandlePartition, &partition{client: client, handler: ctx, grace: r.CheckpointTimeout}, log)
}

// judge is how long the partition has to wait for its next handler.
func judge(ended, lost bool, err error, ran time.Duration, b *backoff, log *slog.Logger) time.Duration {
	switch {
	case ended:
		log.Info("partition stopped", "error", err)
	case lost:
		log.Info("partition lost to another consumer", "error", err)
	case err == nil:
		b.reset()
		log.Info("partition given up by its handler")
	default:
		delay := b.next(ran)
		log.Warn("partition given up, its handler failed", "error", err, "next start not before", delay)
		return delay
	}
	return 0
}

// giveUp closes the client, so that the Processor hands the partition out again
// when it next claims it. On shutdown the Processor closes it itself: it would
// open it again while it still renews the partition.
func giveUp(running context.Context, client partitionClient, log *slog.Logger) {
	if running.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(running), closeTimeout)
	defer cancel()
	if err := client.Close(ctx); err != nil {
		log.Debug("the partition client did not close", "error", err)
	}
}

// lost reports whether a handler's error means that another consumer has the
// partition: it opened the link, or it has stored a position further on.
func lost(err error) bool {
	var hub *azeventhubs.Error
	return errors.As(err, &hub) && hub.Code == azeventhubs.ErrorCodeOwnershipLost ||
		errors.Is(err, checkpointstore.ErrStaleCheckpoint)
}

// call calls the handler, and makes an error of its panic.
func call(ctx context.Context, handle func(context.Context, Partition) error, p Partition, log *slog.Logger) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("processor: the handler panicked: %v", v)
			log.Error("a handler panicked", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	return handle(ctx, p)
}
