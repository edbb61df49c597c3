package processor

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/ea947076/checkpointstore"
)

// A turn orders what the adapter saw: a list that began after a win has returned
// shows that win or a later one. Zero is before everything.
type turn uint64

// next must be called with a.mu held.
func (a *adapter) next() turn {
	a.turn++
	return a.turn
}

// names are a scope as the caller spells it.
type names struct{ namespace, eventHub, consumerGroup string }

func namesOf(o checkpointstore.Ownership) names {
	return names{o.FullyQualifiedNamespace, o.EventHubName, o.ConsumerGroup}
}

func (n names) key() scopeKey {
	return scopeKey{lower(n.namespace), lower(n.eventHub), lower(n.consumerGroup)}
}

// lower folds the letters that names in Event Hubs have, as the store does.
func lower(name string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, name)
}

func (n names) String() string { return n.namespace + "/" + n.eventHub + "/" + n.consumerGroup }

// scopeKey is a scope as Event Hubs compares it.
type scopeKey struct{ namespace, eventHub, consumerGroup string }

// scope is what the adapter knows of one namespace, event hub and consumer group.
type scope struct {
	names       names // as it was spelled first
	owners      map[string]*owner
	list        ownershipList
	blind       blindness
	checkpoints checkpointCache

	// asked are partitions with odd ids that a Processor knows of by itself.
	asked map[string]bool
}

// scope must be called with a.mu held.
func (a *adapter) scope(n names) *scope {
	k := n.key()
	s := a.scopes[k]
	if s == nil {
		s = &scope{
			names:       n,
			owners:      make(map[string]*owner),
			asked:       make(map[string]bool),
			checkpoints: checkpointCache{items: make(map[string]cachedCheckpoint)},
		}
		a.scopes[k] = s
	}
	return s
}

// isPartition tells records of partitions from other blobs in the same place: the
// partitions of an event hub are numbered from 0. Should there be others, a
// Processor asks for them without having been shown a record. It must be called
// with a.mu held.
func (s *scope) isPartition(id string) bool {
	_, err := strconv.ParseUint(id, 10, 32)
	return err == nil || s.asked[id]
}

// owner is one Processor, known by the owner id of its claims.
type owner struct {
	id   string
	held map[string]*holding // by partition

	// run is the context of its last claim, which the Processor passes on as it
	// was given to Run. It tells Processors apart in calls that carry no owner
	// id, and whether this one was told to stop.
	run context.Context

	// ending is the error that was returned to it and ends it.
	ending error

	// orphaned is why ListCheckpoints failed for it, until it has ended.
	orphaned error
}

// holding is a partition that an owner won, or tried to without an answer.
type holding struct {
	record checkpointstore.Ownership // as it was won; without an ETag if it never was
	etags  []azcore.ETag             // of the tenure's last wins
	since  turn                      // of the tenure's first win
	won    turn                      // of the last win
	unsure bool                      // the last claim was not decided
	lost   bool                      // the last claim was lost
}

// maxETags is how many wins back a Processor may name a partition: the last
// round that it finished, and the one that was interrupted, with room to spare.
const maxETags = 8

func (h *holding) knows(etag *azcore.ETag) bool {
	return etag != nil && slices.ContainsFunc(h.etags, func(e azcore.ETag) bool { return sameETag(e, *etag) })
}

// owner must be called with a.mu held.
func (s *scope) owner(id string) *owner {
	o := s.owners[id]
	if o == nil {
		o = &owner{id: id, held: make(map[string]*holding)}
		s.owners[id] = o
	}
	return o
}

// callers are the owners that a call without an owner id comes from: those that
// claimed with the same context. It must be called with a.mu held.
func (s *scope) callers(ctx context.Context) []*owner {
	var same []*owner
	for _, o := range s.owners {
		if sameContext(o.run, ctx) {
			same = append(same, o)
		}
	}
	return same
}

// suspects are the callers or, where no context tells, all owners. It must be
// called with a.mu held.
func (s *scope) suspects(ctx context.Context) []*owner {
	if same := s.callers(ctx); len(same) > 0 {
		return same
	}
	return slices.Collect(maps.Values(s.owners))
}

// sameContext compares without the panic that some types of contexts would give.
func sameContext(a, b context.Context) bool {
	return a != nil && b != nil && reflect.ValueOf(a).Comparable() && reflect.ValueOf(b).Comparable() && a == b
}

// sameETag ignores the quotes that the service writes in headers but not in lists.
func sameETag(a, b azcore.ETag) bool {
	return strings.Trim(string(a), `"`) == strings.Trim(string(b), `"`)
}
