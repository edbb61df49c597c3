package ops

import (
	"context"
	"slices"

	"github.com/ea947076/checkpointstore/internal/layout"
)

// Group is a consumer group that has records in a container.
type Group struct {
	Scope     Scope   // in lower case
	Spellings []Scope // the spellings under which there are records, sorted
}

// ListGroups returns the consumer groups that have records, sorted by namespace,
// event hub and group. Names that differ only in the case of A to Z are one group.
//
// Errors and requests are those of the store's ListScopes.
func ListGroups(ctx context.Context, store Store) ([]Group, error) {
	scopes, err := store.ListScopes(ctx, nil)
	if err != nil {
		return nil, err
	}
	var groups []Group
	at := make(map[Scope]int)
	for _, spelling := range scopes {
		lower := lowerScope(spelling)
		i, known := at[lower]
		if !known {
			i = len(groups)
			at[lower] = i
			groups = append(groups, Group{Scope: lower})
		}
		groups[i].Spellings = append(groups[i].Spellings, spelling)
	}
	for i := range groups {
		g := &groups[i]
		slices.SortFunc(g.Spellings, Scope.Compare)
	}
	slices.SortFunc(groups, func(a, b Group) int { return a.Scope.Compare(b.Scope) })
	return groups, nil
}

// lowerScope returns a scope with A to Z in lower case, as stores write it.
func lowerScope(s Scope) Scope {
	lower := layout.Scope{Namespace: s.FullyQualifiedNamespace, EventHub: s.EventHubName, ConsumerGroup: s.ConsumerGroup}.Lower()
	return Scope{FullyQualifiedNamespace: lower.Namespace, EventHubName: lower.EventHub, ConsumerGroup: lower.ConsumerGroup}
}
