package fakeblob_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/fakeblob"
)

func TestListLevel(t *testing.T) {
	s := fakeblob.New()
	for _, name := range []string{"a", "a-b/1", "a/b/1", "a/b/2", "a/c", "a/d/", "b/1"} {
		s.Put(name, nil)
	}
	for prefix, want := range map[string][]string{
		"":     {"a", "a-b/...", "a/...", "b/..."},
		"a":    {"a", "a-b/...", "a/..."},
		"a/":   {"a/b/...", "a/c", "a/d/..."},
		"a/b/": {"a/b/1", "a/b/2"},
		"c":    nil,
	} {
		for _, size := range []int{0, 1, 2} {
			t.Run(fmt.Sprintf("%q in pages of %d", prefix, size), func(t *testing.T) {
				s.SetPageSize(size)
				var got []string
				pager := s.Client().NewListBlobsHierarchyPager("/", &container.ListBlobsHierarchyOptions{Prefix: to.Ptr(prefix)})
				for pager.More() {
					page, err := pager.NextPage(context.Background())
					require.NoError(t, err)
					entries := 0
					for _, b := range page.Segment.BlobItems {
						got = append(got, *b.Name)
						entries++
					}
					for _, p := range page.Segment.BlobPrefixes {
						got = append(got, *p.Name+"...")
						entries++
					}
					if size > 0 {
						require.LessOrEqual(t, entries, size)
					}
				}
				require.ElementsMatch(t, want, got)
			})
		}
	}
}
