package ops

import (
	"context"
	"slices"
	"strings"
)

// Group is a consumer group that has records in a container.
type Group struct {
	Scope     Scope   // in lower case
	Spellings []Scope // as the records have it, sorted
}

// ListGroups returns the consumer groups that have records, sorted by namespace,
// event hub and group. Names that differ by the case of A to Z alone are one group.
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
		slices.SortFunc(g.Spellings, compareScopes)
	}
	slices.SortFunc(groups, func(a, b Group) int { return compareScopes(a.Scope, b.Scope) })
	return groups, nil
}

// pathOf is a scope as its blobs' names begin.
func pathOf(s Scope) string {
	return s.FullyQualifiedNamespace + "/" + s.EventHubName + "/" + s.ConsumerGroup
}

func compareScopes(a, b Scope) int {
	return slices.Compare(
		[]string{a.FullyQualifiedNamespace, a.EventHubName, a.ConsumerGroup},
		[]string{b.FullyQualifiedNamespace, b.EventHubName, b.ConsumerGroup},
	)
}

// lowerScope folds A to Z, as stores do.
func lowerScope(s Scope) Scope {
	return Scope{
		FullyQualifiedNamespace: lower(s.FullyQualifiedNamespace),
		EventHubName:            lower(s.EventHubName),
		ConsumerGroup:           lower(s.ConsumerGroup),
	}
}

func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
