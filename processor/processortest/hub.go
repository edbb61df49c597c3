// Package processortest has an event hub in memory, to test handlers and fleets of
// processors without a service. It behaves as azeventhubs' clients do: receivers wait
// for events, and a new receiver of a partition takes the link from the previous
// one. Its only clock is time.Now, so that it works with testing/synctest.
package processortest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore/processor"
)

// The names of every [Hub].
const (
	FullyQualifiedNamespace = "processortest.servicebus.windows.net"
	EventHubName            = "hub"
	ConsumerGroup           = "$Default"
)

// ErrClosed is what a [Client] returns after Close.
var ErrClosed = errors.New("client has been closed by user")

// Hub is an event hub in memory with one consumer group. Make one with [NewHub];
// its methods may be called from several goroutines.
type Hub struct {
	mu         sync.Mutex
	partitions []*partition
	changed    chan struct{} // closed and replaced when anything changes
	hung       bool
}

// partition is a partition with the receiver that has its link.
type partition struct {
	events []*azeventhubs.ReceivedEventData
	reader *receiver
	denied error
	hung   bool
	opened int // links
}

// NewHub returns a hub with that many empty partitions: "0", "1", …
func NewHub(partitions int) *Hub {
	h := &Hub{changed: make(chan struct{})}
	h.Expand(partitions)
	return h
}

// change calls f with the lock held and wakes all that wait.
func (h *Hub) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	h.wake()
}

// wake wakes all that wait for a change. The caller has the lock.
func (h *Hub) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// get returns nil for a partition that the hub does not have. The caller has the lock.
func (h *Hub) get(id string) *partition {
	n, err := strconv.Atoi(id)
	if err != nil || n < 0 || n >= len(h.partitions) {
		return nil
	}
	return h.partitions[n]
}

// Send appends events with these bodies to a partition.
func (h *Hub) Send(partitionID string, bodies ...string) {
	for _, body := range bodies {
		h.SendEvent(partitionID, azeventhubs.EventData{Body: []byte(body)})
	}
}

// SendEvent appends an event to a partition. Sequence numbers count from 0,
// offsets are 100 times as large. It panics if there is no such partition.
func (h *Hub) SendEvent(partitionID string, event azeventhubs.EventData) {
	h.send(partitionID, nil, event)
}

// SendKeyed appends events with these bodies and this partition key to a partition,
// without regard to which partition the service would choose for the key.
func (h *Hub) SendKeyed(partitionID, partitionKey string, bodies ...string) {
	for _, body := range bodies {
		h.send(partitionID, &partitionKey, azeventhubs.EventData{Body: []byte(body)})
	}
}

func (h *Hub) send(partitionID string, partitionKey *string, event azeventhubs.EventData) {
	h.change(func() {
		p := h.get(partitionID)
		if p == nil {
			panic("processortest: no partition " + partitionID)
		}
		n, now := int64(len(p.events)), time.Now().UTC()
		p.events = append(p.events, &azeventhubs.ReceivedEventData{
			EventData: event, PartitionKey: partitionKey, SequenceNumber: n, Offset: offset(n), EnqueuedTime: &now,
		})
	})
}

func offset(sequenceNumber int64) string { return strconv.FormatInt(100*sequenceNumber, 10) }

// Expand adds partitions to the hub.
func (h *Hub) Expand(partitions int) {
	h.change(func() {
		for range partitions {
			h.partitions = append(h.partitions, &partition{})
		}
	})
}

// Deny detaches a partition's link with an error and refuses new ones with it, until
// it is called with nil.
func (h *Hub) Deny(partitionID string, err error) {
	h.change(func() {
		p := h.get(partitionID)
		p.denied = err
		if err != nil && p.reader != nil {
			p.reader.failed, p.reader = err, nil
		}
	})
}

// Steal detaches a partition's link as if a receiver of another program had opened one.
func (h *Hub) Steal(partitionID string) {
	h.change(func() {
		if p := h.get(partitionID); p.reader != nil {
			p.reader.failed, p.reader = errStolen, nil
		}
	})
}

var errStolen = &azeventhubs.Error{Code: azeventhubs.ErrorCodeOwnershipLost}

// Hang makes the hub answer nothing until it is called with false: properties and
// closes hang even after their context has ended, and no events arrive.
func (h *Hub) Hang(hang bool) { h.change(func() { h.hung = hang }) }

// HangPartition lets no events of one partition come until it is called with false.
func (h *Hub) HangPartition(partitionID string, hang bool) {
	h.change(func() { h.get(partitionID).hung = hang })
}

// Readers returns the owner ids of those that have a link, by partition.
func (h *Hub) Readers() map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	readers := make(map[string]string)
	for i, p := range h.partitions {
		if p.reader != nil {
			readers[strconv.Itoa(i)] = p.reader.client.ownerID
		}
	}
	return readers
}

// Links returns how many links were opened to a partition.
func (h *Hub) Links(partitionID string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.get(partitionID).opened
}

// Client is a consumer's connection to a [Hub], a [processor.EventHub].
type Client struct {
	hub     *Hub
	ownerID string
	closed  bool // guarded by hub.mu
}

var _ processor.EventHub = (*Client)(nil)

// Client returns a connection with that owner id.
func (h *Hub) Client(ownerID string) *Client { return &Client{hub: h, ownerID: ownerID} }

// Close makes all further calls fail, as ConsumerClient.Close does.
func (c *Client) Close() {
	c.hub.change(func() {
		c.closed = true
		for _, p := range c.hub.partitions {
			if p.reader != nil && p.reader.client == c {
				p.reader.failed, p.reader = ErrClosed, nil
			}
		}
	})
}

// OwnerID returns the client's owner id.
func (c *Client) OwnerID() string { return c.ownerID }

// answer waits while the hub hangs, calls f with the lock held, and returns its
// error.
func (c *Client) answer(f func() error) error {
	h := c.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.hung {
		changed := h.changed
		h.mu.Unlock()
		<-changed
		h.mu.Lock()
	}
	if c.closed {
		return ErrClosed
	}
	return f()
}

// Properties returns the names of the hub and its partitions.
func (c *Client) Properties(context.Context) (processor.EventHubProperties, error) {
	properties := processor.EventHubProperties{
		FullyQualifiedNamespace: FullyQualifiedNamespace,
		EventHubName:            EventHubName,
		ConsumerGroup:           ConsumerGroup,
	}
	err := c.answer(func() error {
		for i := range c.hub.partitions {
			properties.PartitionIDs = append(properties.PartitionIDs, strconv.Itoa(i))
		}
		return nil
	})
	return properties, err
}

// PartitionProperties returns the position of the partition's last event.
func (c *Client) PartitionProperties(_ context.Context, partitionID string) (properties azeventhubs.PartitionProperties, err error) {
	err = c.answer(func() error {
		p := c.hub.get(partitionID)
		if p == nil {
			return errors.New("no partition " + partitionID)
		}
		properties = azeventhubs.PartitionProperties{
			EventHubName: EventHubName, PartitionID: partitionID,
			IsEmpty: len(p.events) == 0, LastEnqueuedSequenceNumber: -1, LastEnqueuedOffset: "-1",
		}
		if n := len(p.events); n > 0 {
			last := p.events[n-1]
			properties.LastEnqueuedSequenceNumber, properties.LastEnqueuedOffset, properties.LastEnqueuedOn = last.SequenceNumber, last.Offset, *last.EnqueuedTime
		}
		return nil
	})
	return properties, err
}

// OpenPartition returns a receiver whose first ReceiveEvents opens the link, as that
// of an azeventhubs.PartitionClient does.
func (c *Client) OpenPartition(_ context.Context, partitionID string, options *azeventhubs.PartitionClientOptions) (processor.Receiver, error) {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	r := &receiver{client: c, id: partitionID}
	if options != nil {
		r.start = options.StartPosition
	}
	return r, nil
}

// receiver is a link to a partition. Its fields are guarded by the hub's lock.
type receiver struct {
	client *Client
	id     string
	start  azeventhubs.StartPosition
	opened bool
	next   int // sequence number
	failed error
}

// ReceiveEvents waits until count events have come or ctx is done, and returns what
// has come.
func (r *receiver) ReceiveEvents(ctx context.Context, count int, _ *azeventhubs.ReceiveEventsOptions) ([]*azeventhubs.ReceivedEventData, error) {
	h := r.client.hub
	for {
		h.mu.Lock()
		events, err := r.take(count, ctx.Err() != nil)
		changed := h.changed
		h.mu.Unlock()
		switch {
		case err != nil || len(events) > 0:
			return events, err
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// take returns count events or, in the end, those that there are. The caller has the
// lock.
func (r *receiver) take(count int, atOnce bool) ([]*azeventhubs.ReceivedEventData, error) {
	h := r.client.hub
	p := h.get(r.id)
	switch {
	case r.failed != nil:
		return nil, r.failed
	case p == nil:
		return nil, errors.New("no partition " + r.id)
	case h.hung || p.hung:
		return nil, nil
	case !r.opened && p.denied != nil:
		return nil, p.denied
	case !r.opened:
		if p.reader != nil {
			p.reader.failed = errStolen
		}
		p.reader, r.opened, r.next = r, true, first(p.events, r.start)
		p.opened++
		h.wake()
	}
	there := len(p.events) - r.next
	if there < count && !atOnce || there <= 0 {
		return nil, nil
	}
	events := p.events[r.next : r.next+min(there, count)]
	r.next += len(events)
	return slices.Clone(events), nil
}

// first is the index of the first event at a position.
func first(events []*azeventhubs.ReceivedEventData, s azeventhubs.StartPosition) int {
	i := slices.IndexFunc(events, func(e *azeventhubs.ReceivedEventData) bool {
		var compared int
		switch {
		case s.Earliest != nil && *s.Earliest:
			return true
		case s.Offset != nil:
			at, err := strconv.ParseInt(*s.Offset, 10, 64)
			if err != nil {
				return false
			}
			compared = int(100*e.SequenceNumber - at)
		case s.SequenceNumber != nil:
			compared = int(e.SequenceNumber - *s.SequenceNumber)
		case s.EnqueuedTime != nil:
			compared = e.EnqueuedTime.Compare(*s.EnqueuedTime)
		default: // Latest
			return false
		}
		return compared > 0 || compared == 0 && s.Inclusive
	})
	if i < 0 {
		return len(events)
	}
	return i
}

// Close detaches the link.
func (r *receiver) Close(context.Context) error {
	return r.client.answer(func() error {
		if p := r.client.hub.get(r.id); p != nil && p.reader == r {
			p.reader = nil
		}
		r.failed = ErrClosed
		r.client.hub.wake()
		return nil
	})
}
