package checkpointstore

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/ea947076/checkpointstore/internal/layout"
	"github.com/ea947076/checkpointstore/internal/listing"
)

// Lists. azblob signs, sends, retries and pages them. Decoding them is most of
// what they cost, so in a client that the store built [decodeLists] does that; a
// client of the caller's keeps azblob's decoder.

// What ends a list that a broken service never ends: five million blobs, or one
// million records.
const (
	maxPages   = 1000
	maxRecords = 1 << 20
)

// page is where the entries of one list go.
type page struct {
	prefix  string
	records []blobState
	kept    int // how many of them are from the pages before
}

// pageKey finds the page in the context of its request.
type pageKey struct{}

// list reads the direct children of a prefix: List Blobs, all pages. Directory
// stubs are left out.
func (s *BlobCheckpointStore) list(ctx context.Context, prefix string) ([]blobState, error) {
	p := page{prefix: prefix}
	pager := s.client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{
		Prefix:  &prefix,
		Include: container.ListBlobsInclude{Metadata: true},
	})
	var marker string
	for n := 1; pager.More(); n++ {
		answer, err := s.next(ctx, pager, &p)
		if err != nil {
			return nil, err
		}
		p.kept = len(p.records)
		next := deref(answer.NextMarker)
		if next != "" && (next == marker || n == maxPages || len(p.records) > maxRecords) {
			return nil, fmt.Errorf("the service's list does not end: page %d goes on at %s", n, layout.Quote(next))
		}
		marker = next
	}
	return p.records, nil
}

// next reads a page, by azblob's decoder if the store's does not understand it.
func (s *BlobCheckpointStore) next(ctx context.Context, pager *runtime.Pager[container.ListBlobsFlatResponse], p *page) (container.ListBlobsFlatResponse, error) {
	if s.decodesLists {
		answer, err := observed(context.WithValue(ctx, pageKey{}, p), pager.NextPage)
		if !errors.Is(err, listing.ErrUnknown) {
			return answer, err
		}
		s.settings.Logger.LogAttrs(ctx, slog.LevelInfo, "the list is asked for once more, for azblob to decode",
			slog.String("prefix", p.prefix), slog.String("reason", describe(s.secrets(), err)))
	}
	answer, err := observed(ctx, pager.NextPage)
	if err != nil || answer.Segment == nil {
		return answer, err
	}
	p.records = p.records[:p.kept]
	for _, item := range answer.Segment.BlobItems {
		if item != nil && item.Name != nil {
			p.add(entryOf(item))
		}
	}
	return answer, nil
}

// entryOf is an entry as azblob decoded it.
func entryOf(item *container.BlobItem) *listing.Blob {
	b := &listing.Blob{Name: []byte(*item.Name), Values: layout.ValuesOf(item.Metadata)}
	if item.Properties != nil && item.Properties.ETag != nil {
		b.ETag = []byte(*item.Properties.ETag)
	}
	if item.Properties != nil && item.Properties.LastModified != nil {
		b.LastModified = item.Properties.LastModified.UTC()
	}
	return b
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// add keeps an entry that is a record.
func (p *page) add(b *listing.Blob) {
	id, child := layout.PartitionID(p.prefix, b.Name)
	if !child || b.Values.IsDirectory() {
		return
	}
	p.records = append(p.records, blobState{
		prefix:       p.prefix,
		partitionID:  id,
		values:       b.Values,
		etag:         layout.ETag(string(b.ETag)),
		lastModified: b.LastModified,
	})
}

// decodeLists is a policy for every try of a request. It decodes the body of a
// List Blobs answer into the request's page, if that has one, and hands on an
// answer that is empty but for the marker, which is all that azblob needs to ask
// for the next page. A body that ends too early is an error of the try, which is
// then made again.
func decodeLists(req *policy.Request) (*http.Response, error) {
	p, ok := req.Raw().Context().Value(pageKey{}).(*page)
	if !ok {
		return req.Next()
	}
	runtime.SkipBodyDownload(req)
	resp, err := req.Next()
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	p.records = p.records[:p.kept]
	marker, err := listing.Decode(resp.Body, p.add)
	_ = resp.Body.Close()
	if errors.Is(err, listing.ErrUnknown) {
		return nil, &notRetriable{err}
	}
	if err != nil {
		return nil, fmt.Errorf("reading the list: %w", err)
	}
	resp.Body, err = emptyList(marker)
	if err == nil {
		_, err = runtime.Payload(resp) // azcore keeps the try's deadline until the body is in memory
	}
	return resp, err
}

// emptyList is a List Blobs body with a marker and nothing else.
func emptyList(marker string) (io.ReadCloser, error) {
	if marker == "" {
		return http.NoBody, nil
	}
	var b bytes.Buffer
	b.WriteString("<EnumerationResults><NextMarker>")
	err := xml.EscapeText(&b, []byte(marker))
	b.WriteString("</NextMarker></EnumerationResults>")
	return io.NopCloser(&b), err
}
