package progress

import (
	"time"
)

// Defaults of [CheckpointerOptions].
const (
	DefaultEvents       = 10_000
	DefaultInterval     = 5 * time.Second
	DefaultWriteTimeout = 30 * time.Second
	DefaultFlushTimeout = 10 * time.Second
	DefaultMinBackoff   = time.Second
	DefaultMaxBackoff   = 30 * time.Second
)

// CheckpointerOptions are the options of [NewCheckpointer]. Nil is the same as
// the zero value. A field that is zero has the default with its name.
type CheckpointerOptions struct {
	// Events is the number of events after which a position is written, if that is
	// sooner than Interval.
	Events int

	// Interval is the time after which a position is written. It counts from the first
	// event that is done and not written.
	Interval time.Duration

	// MaxUnwritten is the number of events that are done and not written at which no
	// more are begun. It bounds the duplicates while writes fail or take long. Zero
	// means no bound: the consumer goes on through an outage of the storage. If it
	// equals Events, the consumer waits for each write; with 2 * Events it goes on
	// during the write. Events is lowered to it.
	MaxUnwritten int

	// WriteTimeout bounds a write that no Flush or Close waits for.
	WriteTimeout time.Duration

	// FlushTimeout bounds Flush, Close and CloseLost.
	FlushTimeout time.Duration

	// MinBackoff and MaxBackoff bound the time between a write that failed and the
	// next one. It doubles after each failure, minus up to 50 % jitter.
	MinBackoff, MaxBackoff time.Duration

	// OnWrite, if set, is called after every attempt to write, on the goroutine of
	// the Checkpointer and without a lock. The next write waits for it. It must not
	// call Flush, Close or CloseLost, which would wait for it.
	OnWrite func(Write)
}

func (o *CheckpointerOptions) withDefaults() CheckpointerOptions {
	var c CheckpointerOptions
	if o != nil {
		c = *o
	}
	if c.Events <= 0 {
		c.Events = DefaultEvents
	}
	if c.MaxUnwritten > 0 {
		c.Events = min(c.Events, c.MaxUnwritten)
	}
	for _, d := range []struct {
		option *time.Duration
		value  time.Duration
	}{
		{&c.Interval, DefaultInterval},
		{&c.WriteTimeout, DefaultWriteTimeout},
		{&c.FlushTimeout, DefaultFlushTimeout},
		{&c.MinBackoff, DefaultMinBackoff},
		{&c.MaxBackoff, DefaultMaxBackoff},
	} {
		if *d.option <= 0 {
			*d.option = d.value
		}
	}
	c.MaxBackoff = max(c.MaxBackoff, c.MinBackoff)
	return c
}

// Write is one attempt to write a position.
type Write struct {
	Position  Position
	Events    int           // how many events entered the prefix since the last position that was written
	Coalesced int           // how many positions this one stands for, itself left out
	Duration  time.Duration // of the call of the WriteFunc
	Err       error         // nil if the position was written; tell its kind with errors.Is
}

// CheckpointerStats is a snapshot of a [Checkpointer]. Each
// position that it was given is written, coalesced, stale, waiting (one at most),
// being written (one at most), or was given up when the Checkpointer ended.
type CheckpointerStats struct {
	Written   uint64 // positions written
	Coalesced uint64 // positions that a later one replaced before they were written, or that came after a later one
	Stale     uint64 // positions that the storage refused as stale or rewound
	Failed    uint64 // attempts that failed otherwise; the position is tried again

	Last     Position  // the last position that was written, if Written > 0
	LastTime time.Time // when
	LastErr  error     // of the last attempt; nil if it was written or there was none

	Unwritten    int           // events that are done and not written
	UnwrittenAge time.Duration // for how long the first of them; 0 if there is none
}
