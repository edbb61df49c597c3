package processor

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// Options are the options of [Run] and [New]. Nil is the same as the zero value.
type Options struct {
	// NewClient returns a ConsumerClient to replace a broken one. It is called when
	// the hub could not be reached three times in a row. Run closes the clients that
	// NewClient made. Nil keeps the first one. It is an error with
	// [NewWithEventHub].
	NewClient func(ctx context.Context) (*azeventhubs.ConsumerClient, error)

	// UpdateInterval is the mean time between two rounds, which vary by up to a
	// fifth. A round lists the ownerships, renews and claims. Zero means 10 seconds.
	UpdateInterval time.Duration

	// PartitionExpirationDuration is the time without renewal after which others may
	// claim a partition. It must be at least twice UpdateInterval, and the same in the
	// whole consumer group. Zero means 60 seconds.
	PartitionExpirationDuration time.Duration

	// StartPositions are where partitions without a checkpoint begin. The zero value
	// is Latest, as in azeventhubs: the end of the partition when it is first
	// claimed, which Run then stores as the partition's first checkpoint. Partitions
	// that were added to the hub while Run is running begin at their beginning,
	// unless PerPartition names them.
	StartPositions azeventhubs.StartPositions

	// Prefetch is how many events a link holds in advance. Zero means 300, negative
	// is none.
	Prefetch int32

	// MaxOutage is how long handlers go on while the store cannot be listed. After
	// that their contexts end with [ErrOutage]. Zero means 5 minutes.
	MaxOutage time.Duration

	// ShutdownTimeout is how long handlers have to return when Run stops. The release
	// of their partitions may take up to 5 seconds longer. Zero means 20 seconds, so
	// that both end before Kubernetes' 30.
	ShutdownTimeout time.Duration

	// MinBackoff and MaxBackoff bound the time before a partition whose handler or
	// link failed is read again. It doubles with each failure in a row, minus up to
	// 50 % jitter. Zero means 1 second and 1 minute.
	MinBackoff, MaxBackoff time.Duration

	// StopOn is called with errors of the store and of Event Hubs. If it returns true,
	// Run stops and returns the error. Use [IsPermanent] to stop on errors that do not
	// pass. Until an operation has succeeded once, its permanent errors end Run in any
	// case. Nil never stops. It may be called from several goroutines at once.
	StopOn func(err error) bool

	// Logger receives starts and ends of partitions as information, failures as
	// warnings, panics as errors. Nil means slog.Default(), for warnings and errors
	// only. For silence, pass one with slog.DiscardHandler.
	Logger *slog.Logger

	// Hooks are called when something happens, for metrics and tests. Nil calls
	// nothing.
	Hooks *Hooks

	// MaxPendingAge is how long an event may be pending in [Batches] before Healthy
	// reports that the process is not live. Zero means no limit.
	MaxPendingAge time.Duration

	// Rand is the source of jitter and of random choices, for tests that repeat a run.
	// Nil means a source with a random seed.
	Rand rand.Source
}

// withDefaults checks the options and fills in the defaults.
func (o *Options) withDefaults() (Options, error) {
	var d Options
	if o != nil {
		d = *o
	}
	for _, f := range []struct {
		name  string
		value *time.Duration
		zero  time.Duration
	}{
		{"UpdateInterval", &d.UpdateInterval, 10 * time.Second},
		{"PartitionExpirationDuration", &d.PartitionExpirationDuration, time.Minute},
		{"MaxOutage", &d.MaxOutage, 5 * time.Minute},
		{"ShutdownTimeout", &d.ShutdownTimeout, 20 * time.Second},
		{"MinBackoff", &d.MinBackoff, time.Second},
		{"MaxBackoff", &d.MaxBackoff, time.Minute},
		{"MaxPendingAge", &d.MaxPendingAge, 0},
	} {
		if *f.value < 0 {
			return Options{}, fmt.Errorf("processor: Options.%s is negative: %v", f.name, *f.value)
		}
		if *f.value == 0 {
			*f.value = f.zero
		}
	}
	if d.PartitionExpirationDuration < 2*d.UpdateInterval {
		return Options{}, fmt.Errorf("processor: Options.PartitionExpirationDuration (%v) is less than twice UpdateInterval (%v): partitions would expire between renewals",
			d.PartitionExpirationDuration, d.UpdateInterval)
	}
	if d.Logger == nil {
		d.Logger = slog.New(warnings{slog.Default().Handler()})
	}
	if d.Rand == nil {
		d.Rand = rand.NewPCG(rand.Uint64(), rand.Uint64())
	}
	d.MaxBackoff = max(d.MaxBackoff, d.MinBackoff)
	return d, nil
}

// warnings is a handler without the records below warnings.
type warnings struct{ slog.Handler }

func (w warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && w.Handler.Enabled(ctx, level)
}

func (w warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{w.Handler.WithAttrs(attrs)}
}

func (w warnings) WithGroup(name string) slog.Handler { return warnings{w.Handler.WithGroup(name)} }
