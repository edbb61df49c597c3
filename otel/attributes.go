package otel

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/ea947076/checkpointstore"
)

// The attributes of this module's own metrics.
const (
	outcomeKey   = attribute.Key("outcome")   // of a claim or a checkpoint
	methodKey    = attribute.Key("method")    // of a lag in time: ops.LagMethod
	operationKey = attribute.Key("operation") // of a request to the storage service
)

// resourceProvider is an attribute of all spans.
var resourceProvider = semconv.AzureResourceProviderNamespace("Microsoft.EventHub")

// place is what the common attributes name: a consumer group and, unless the
// partition's id is empty, one of the hub's partitions.
type place struct {
	checkpointstore.Scope
	partitionID string
}

// attributes are the common attributes, and more.
func (p place) attributes(more ...attribute.KeyValue) []attribute.KeyValue {
	all := []attribute.KeyValue{
		semconv.MessagingSystemEventHubs,
		semconv.MessagingDestinationName(p.EventHubName),
		semconv.MessagingConsumerGroupName(p.ConsumerGroup),
		semconv.ServerAddress(p.FullyQualifiedNamespace),
	}
	if p.partitionID != "" {
		all = append(all, semconv.MessagingDestinationPartitionID(p.partitionID))
	}
	return append(all, more...)
}

// ofMetrics is the place whose attributes metrics have.
func (t *telemetry) ofMetrics(p place) place {
	if t.WithoutPartition {
		p.partitionID = ""
	}
	return p
}

// measuredWith are the attributes of a measurement.
func measuredWith(attributes []attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attributes...))
}

// maxPlaces bounds what perPlace keeps. An event hub has up to 1,024 partitions.
const maxPlaces = 8192

// perPlace keeps a value for each place, so that its attributes are put together once.
// Reading takes no lock, because every call reads and few add.
type perPlace[V any] struct {
	make func(place) V
	of   atomic.Pointer[map[string][]placed[V]] // by partition; never changed, but replaced

	mu sync.Mutex // of those who add
	n  int
}

type placed[V any] struct {
	scope checkpointstore.Scope
	value V
}

func newPerPlace[V any](make func(place) V) *perPlace[V] {
	p := &perPlace[V]{make: make}
	p.of.Store(&map[string][]placed[V]{})
	return p
}

func (p *perPlace[V]) get(at place) V {
	all := (*p.of.Load())[at.partitionID]
	for i := range all {
		if all[i].scope == at.Scope {
			return all[i].value
		}
	}
	return p.add(at)
}

func (p *perPlace[V]) add(at place) V {
	v := p.make(at)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n++; p.n > maxPlaces {
		p.of.Store(&map[string][]placed[V]{})
		p.n = 1
	}
	of := maps.Clone(*p.of.Load())
	of[at.partitionID] = append(slices.Clone(of[at.partitionID]), placed[V]{at.Scope, v})
	p.of.Store(&of)
	return v
}
