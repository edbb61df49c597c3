package checkpointstore

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/ea947076/checkpointstore/internal/layout"
)

// Scope is one consumer group of one event hub, whose records belong together.
type Scope struct {
	FullyQualifiedNamespace string // "mynamespace.servicebus.windows.net"
	EventHubName            string
	ConsumerGroup           string
}

// String returns the names with slashes between them, as blobs' names begin.
func (s Scope) String() string {
	return s.FullyQualifiedNamespace + "/" + s.EventHubName + "/" + s.ConsumerGroup
}

// Compare orders scopes by namespace, event hub and consumer group, as cmp.Compare
// does.
func (s Scope) Compare(other Scope) int {
	return cmp.Or(
		cmp.Compare(s.FullyQualifiedNamespace, other.FullyQualifiedNamespace),
		cmp.Compare(s.EventHubName, other.EventHubName),
		cmp.Compare(s.ConsumerGroup, other.ConsumerGroup),
	)
}

// ListScopesOptions has no fields yet.
type ListScopesOptions struct{}

// maxConcurrentWalks is how many prefixes ListScopes lists at once.
const maxConcurrentWalks = 8

// ListScopes returns every scope that has records in the container, sorted by name and
// spelled as in the blobs' names: "$Default" and "$default" are two scopes. It skips
// blobs that are not records. It is for tools.
//
// Errors: [ErrContainerNotFound], [ErrNotAuthorized]. Any other failure, such as a
// response that is not a list, is an [*Error] whose Kind is nil.
//
// Requests: List Blobs with a delimiter, one for the container, each namespace, each
// event hub and each consumer group, up to 8 at once, always to the primary. Their
// number grows with the scopes, not with the blobs. Safe for concurrent use.
func (s *BlobCheckpointStore) ListScopes(ctx context.Context, options *ListScopesOptions) ([]Scope, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	prefixes := []string{""}
	for range 3 { // namespaces, event hubs, consumer groups
		below, err := s.walk(ctx, prefixes)
		if err != nil {
			return nil, err
		}
		prefixes = nil
		for _, names := range below {
			prefixes = append(prefixes, names...)
		}
	}
	below, err := s.walk(ctx, prefixes)
	if err != nil {
		return nil, err
	}
	scopes := []Scope{}
	for i, prefix := range prefixes {
		scope, ok := scopeIn(prefix)
		if !ok {
			continue
		}
		for _, kind := range below[i] {
			if kind == scope.Prefix(layout.Ownership) || kind == scope.Prefix(layout.Checkpoint) {
				scopes = append(scopes, Scope{scope.Namespace, scope.EventHub, scope.ConsumerGroup})
				break
			}
		}
	}
	slices.SortFunc(scopes, Scope.Compare) // the service sorts with the slashes
	return scopes, nil
}

// scopeIn reads the prefix of a scope's blobs.
func scopeIn(prefix string) (layout.Scope, bool) {
	names := strings.Split(strings.TrimSuffix(prefix, "/"), "/")
	if len(names) != 3 {
		return layout.Scope{}, false
	}
	scope := scopeOf(names[0], names[1], names[2])
	return scope, scope.Check() == nil
}

// walk returns the prefixes one level below each of the given ones.
func (s *BlobCheckpointStore) walk(ctx context.Context, prefixes []string) ([][]string, error) {
	below := make([][]string, len(prefixes))
	errs := make([]error, len(prefixes))
	inParallel(len(prefixes), maxConcurrentWalks, func(i int) { below[i], errs[i] = s.children(ctx, prefixes[i]) })
	for i, err := range errs {
		if err != nil {
			return nil, s.failure("ListScopes", target{blobName: prefixes[i], action: listBlobs}, err)
		}
	}
	return below, nil
}

// children returns the prefixes directly below a prefix, up to and with their
// slash, in the service's order.
func (s *BlobCheckpointStore) children(ctx context.Context, prefix string) ([]string, error) {
	pager := s.client.NewListBlobsHierarchyPager("/", &container.ListBlobsHierarchyOptions{Prefix: &prefix})
	var names []string
	var pages markers
	for pager.More() {
		raw := &http.Response{}
		response, err := observed(policy.WithCaptureResponse(ctx, &raw), pager.NextPage)
		if err == nil {
			if err = checkRoot(raw); err != nil {
				err = notAList(err)
			}
		}
		if err != nil {
			return nil, err
		}
		if response.Segment != nil {
			for _, p := range response.Segment.BlobPrefixes {
				if name := deref(p.Name); len(name) > len(prefix) {
					names = append(names, name)
				}
			}
		}
		if err := pages.add(deref(response.NextMarker), len(names)); err != nil {
			return nil, err
		}
	}
	return names, nil
}
