// Package emulator is an Event Hubs for tests: one hub that azeventhubs' consumers and processors read over AMQP on
// loopback, with owner levels and with offsets that differ from sequence numbers. It runs in a Node process of its own.
//
// While it runs, it can refuse links ([Emulator.Deny]), leave everything or a part unanswered ([Emulator.Hang]), detach
// readers ([Emulator.Steal]), drop connections and get more partitions. It counts what it does, and [Emulator.Await]
// waits for a count, so that tests need not sleep. How azeventhubs reacts to each is tested in
// processor/internal/emulatortest.
package emulator

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ea947076/checkpointstore/internal/nodepkg"
)

const (
	defaultHub        = "hub"
	defaultPartitions = 4
	offsetStep        = 64              // as in server/partition.js
	startTimeout      = 5 * time.Minute // bounds a hang
)

//go:embed server
var server embed.FS

// Options describes the hub. The zero value is a hub named "hub" with 4 partitions and no events.
type Options struct {
	// Hub is the name of the hub. Clients may spell it in any case.
	Hub string
	// Partitions is the number of partitions, whose ids are "0", "1" and so on.
	Partitions int
	// Events is how many events each partition has at the start. They were enqueued one millisecond apart.
	Events int
	// Rate is how many events per second are then appended to each partition. 0 is none.
	Rate float64
	// FirstSequenceNumber is that of the first event in each partition. It must not be negative.
	FirstSequenceNumber int64
}

// Emulator is a running hub. Its methods may be called at once by any number of goroutines.
type Emulator struct {
	hub     string
	port    int
	process *nodepkg.Process

	mu      sync.Mutex
	nextID  int64
	waiting map[int64]chan response
}

// Start starts a hub on a free loopback port. It ends with the test, with Close, or with this process, even if that is
// killed. Several may run at once. Start fails the test if Node or npm is missing or the hub does not come up, and
// skips it in -short mode.
func Start(tb testing.TB, options Options) *Emulator {
	tb.Helper()
	if testing.Short() {
		tb.Skip("needs Node: left out by -short")
	}
	if options.Hub == "" {
		options.Hub = defaultHub
	}
	if options.Partitions == 0 {
		options.Partitions = defaultPartitions
	}
	if options.FirstSequenceNumber < 0 || options.Partitions < 0 || options.Events < 0 || options.Rate < 0 {
		tb.Fatalf("emulator options must not be negative: %+v", options)
	}
	e, err := start(options)
	if err != nil {
		tb.Fatalf("start event hubs emulator: %v", err)
	}
	tb.Cleanup(e.Close)
	return e
}

func start(options Options) (*Emulator, error) {
	files, err := fs.Sub(server, "server")
	if err != nil {
		return nil, err
	}
	dir, err := nodepkg.Install(context.Background(), "eventhubs-emulator", files)
	if err != nil {
		return nil, fmt.Errorf("%w, or use -short", err)
	}
	argument, err := json.Marshal(map[string]any{
		"hub": options.Hub, "partitions": options.Partitions, "events": options.Events, "rate": options.Rate,
		"first": strconv.FormatInt(options.FirstSequenceNumber, 10),
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	e := &Emulator{hub: options.Hub, waiting: map[int64]chan response{}}
	e.process, err = nodepkg.Start(ctx, nodepkg.Command{
		Args:   []string{filepath.Join(dir, "main.js"), string(argument)},
		Ready:  `{"port":`,
		OnLine: e.onLine,
	})
	return e, err
}

// Close ends the hub and every connection to it. A second call does nothing.
func (e *Emulator) Close() { e.process.Stop() }

// Hub returns the name of the hub.
func (e *Emulator) Hub() string { return e.hub }

// Namespace returns what clients of this hub call the fully qualified namespace: its host and port.
func (e *Emulator) Namespace() string { return fmt.Sprintf("127.0.0.1:%d", e.port) }

// ConnectionString returns a connection string with the hub in it: give azeventhubs no other hub name beside it.
func (e *Emulator) ConnectionString() string {
	return "Endpoint=sb://" + e.Namespace() + ";SharedAccessKeyName=any;SharedAccessKey=any;EntityPath=" + e.hub +
		";UseDevelopmentEmulator=true"
}

// Append appends n events to a partition and fails the test if there is no such partition. Readers are served at once.
func (e *Emulator) Append(tb testing.TB, partition string, n int) {
	tb.Helper()
	e.AppendWith(tb, partition, n, nil)
}

// AppendWith is Append of events with application properties.
func (e *Emulator) AppendWith(tb testing.TB, partition string, n int, properties map[string]string) {
	tb.Helper()
	if partition == "" {
		tb.Fatal("append to the event hubs emulator: no partition named")
	}
	if err := e.call(command{Op: "append", Partition: partition, N: int64(n), Properties: properties}, nil); err != nil {
		tb.Fatalf("append to the event hubs emulator: %v", err)
	}
}

// AppendAll appends n events to each partition. The error says that the emulator ended.
func (e *Emulator) AppendAll(n int) error {
	return e.call(command{Op: "append", N: int64(n)}, nil)
}

// SetRate changes how many events per second are appended to each partition; 0 stops that. When it has returned, the
// last sequence numbers change at the new rate only. The error says that the emulator ended.
func (e *Emulator) SetRate(r float64) error {
	return e.call(command{Op: "rate", Rate: r}, nil)
}

// Last returns the last sequence number of a partition: one less than the first if it is empty, and -1 if there is no
// such partition or the emulator ended.
func (e *Emulator) Last(partition string) int64 {
	var state map[string]partitionState
	if err := e.call(command{Op: "state"}, &state); err != nil {
		return -1
	}
	of, ok := state[partition]
	if !ok {
		return -1
	}
	return of.Last
}

// EnqueuedTime returns when the event with a sequence number was enqueued. It is an error if there is no such event.
func (e *Emulator) EnqueuedTime(partition string, sequenceNumber int64) (time.Time, error) {
	var milliseconds int64
	c := command{Op: "time", Partition: partition, Sequence: strconv.FormatInt(sequenceNumber, 10)}
	if err := e.call(c, &milliseconds); err != nil {
		return time.Time{}, err
	}
	return time.UnixMilli(milliseconds).UTC(), nil
}

// Expand gives the hub more partitions while it runs, up to the number given, which must be greater than the number it
// has: Event Hubs takes none away. The new ones are empty and begin with the same sequence number as the others.
// Clients learn of them when they ask for the properties of the hub again.
func (e *Emulator) Expand(partitions int) error {
	return e.call(command{Op: "expand", N: int64(partitions)}, nil)
}

// Offset returns the offset of the event with a sequence number, which is the same in every partition.
func Offset(sequenceNumber int64) string {
	return strconv.FormatInt((sequenceNumber+1)*offsetStep, 10)
}

// Body returns the body of the event with a sequence number in a partition.
func Body(partition string, sequenceNumber int64) string {
	return fmt.Sprintf(`{"p":%q,"n":%d}`, partition, sequenceNumber)
}
