package processor

import (
	"context"
	"time"

	"github.com/ea947076/checkpointstore/progress"
)

// Defaults of [BatchOptions].
const (
	DefaultBatchEvents        = 100
	DefaultBatchBytes         = 1 << 20
	DefaultBatchWait          = time.Second
	DefaultMaxAttempts        = 5
	DefaultCheckpointEvents   = 20_000
	DefaultCheckpointInterval = 15 * time.Second
)

// BatchOptions are the options of [Batches]. Nil is the same as the zero value;
// a field that is zero has the default with its name.
type BatchOptions struct {
	// MaxEvents, MaxBytes and MaxWait bound a batch, whichever comes first: its
	// events, the sum of their bodies, and the time since its first event was
	// received. An event that is larger than MaxBytes is a batch by itself. While the
	// handler is busy, a batch that is due grows until it is full. With a negative
	// MaxWait, a batch does not wait for more events.
	MaxEvents int
	MaxBytes  int
	MaxWait   time.Duration

	// Concurrency is how many batches of one partition are handled at once. Zero is
	// one, which keeps the order of the partition. With more, events with the same
	// partition key keep their order, and events without a key have none.
	Concurrency int

	// MaxAttempts is how often events are given to the handler before OnExhausted
	// gets them. Negative means no limit.
	MaxAttempts int

	// MinBackoff and MaxBackoff bound the time between two attempts. It doubles with
	// each, minus up to 50 % jitter. Zero means 1 second and 1 minute. The following
	// batches wait for it, unless they are handled at the same time.
	MinBackoff, MaxBackoff time.Duration

	// OnExhausted is called for events that failed MaxAttempts times, with the last
	// error. If it returns nil, they count as done and the checkpoint passes them: it
	// has stored them elsewhere, such as in a dead-letter queue, or it is [Skip]. If
	// it returns [Relinquish] or [Fatal], they are not done, and the partition is
	// released or Run ends. After any other error it is called again, with back-off.
	// Nil relinquishes the partition.
	OnExhausted func(ctx context.Context, failed *Batch, err error) error

	// Checkpoints says when positions are stored. Events is 20,000 and Interval 15
	// seconds if they are zero, FlushTimeout never above a quarter of
	// Options.ShutdownTimeout.
	Checkpoints progress.CheckpointerOptions

	// MaxInFlight and MaxInFlightBytes bound the events that were received and are
	// not done: at the bound, receiving stops. Zero means 4096 events and 64 MiB.
	// Both are raised to at least two batches for each that is handled at once.
	// Negative means no bound.
	MaxInFlight      int
	MaxInFlightBytes int64
}

func (o *BatchOptions) withDefaults() BatchOptions {
	var d BatchOptions
	if o != nil {
		d = *o
	}
	positive(&d.MaxEvents, DefaultBatchEvents)
	positive(&d.MaxBytes, DefaultBatchBytes)
	positive(&d.Concurrency, 1)
	positive(&d.MinBackoff, time.Second)
	positive(&d.MaxBackoff, time.Minute)
	positive(&d.Checkpoints.Events, DefaultCheckpointEvents)
	positive(&d.Checkpoints.Interval, DefaultCheckpointInterval)
	positive(&d.Checkpoints.FlushTimeout, progress.DefaultFlushTimeout)
	d.MaxBackoff = max(d.MaxBackoff, d.MinBackoff)
	if d.MaxWait == 0 {
		d.MaxWait = DefaultBatchWait
	}
	if d.MaxAttempts == 0 {
		d.MaxAttempts = DefaultMaxAttempts
	}
	if d.OnExhausted == nil {
		d.OnExhausted = func(_ context.Context, _ *Batch, err error) error { return Relinquish(err) }
	}
	if d.MaxInFlight == 0 {
		d.MaxInFlight = progress.DefaultMaxEvents
	}
	if d.MaxInFlightBytes == 0 {
		d.MaxInFlightBytes = progress.DefaultMaxBytes
	}
	if d.MaxInFlight > 0 {
		d.MaxInFlight = max(d.MaxInFlight, 2*d.Concurrency*d.MaxEvents)
	}
	if d.MaxInFlightBytes > 0 {
		d.MaxInFlightBytes = max(d.MaxInFlightBytes, 2*int64(d.Concurrency)*int64(d.MaxBytes))
	}
	return d
}

// positive sets what is not above zero to its default.
func positive[T int | time.Duration](option *T, value T) {
	if *option <= 0 {
		*option = value
	}
}
