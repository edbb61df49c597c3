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
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/ea947076/checkpointstore/internal/layout"
	"github.com/ea947076/checkpointstore/internal/listing"
)

// Lists. azblob signs, sends, retries and pages them. Most of a list's cost is
// decoding, so a client that the store built decodes with the policy
// [decodeLists]; a client that was handed in uses azblob's decoder.

// These limits end a list that a broken service never ends: five million blobs,
// or 128 times the records of an event hub with 1,024 partitions, which is the most
// that the service offers.
const (
	maxPages   = 1000
	maxRecords = 128 << 10
)

// page is where the entries of one list go.
type page struct {
	scope   layout.Scope // as the names of the blobs spell it
	prefix  string       // what is listed
	parents []string     // the prefixes whose direct children are records
	records []blobState
	kept    int       // how many of them are from earlier pages
	date    time.Time // the service's clock at the first page

	// foreign is the name of a blob that no store wrote and why, or nil.
	foreign     []byte
	foreignness error
}

// pageKey finds the page in the context of its request.
type pageKey struct{}

// list returns the records of a scope: List Blobs, all pages. It returns each
// partition once, and only records that the store's own operations could have
// written: see [page.add] and [listing.Decode].
func (s *BlobCheckpointStore) list(ctx context.Context, scope layout.Scope, kind layout.Kind) ([]blobState, error) {
	prefix := scope.Prefix(kind)
	p := page{scope: scope, prefix: prefix, parents: []string{prefix}, records: make([]blobState, 0, s.listed.Load())}
	if err := s.listPages(ctx, &p); err != nil {
		return nil, err
	}
	s.listed.Store(int64(len(p.records)))
	return newestOfEach(p.records), nil
}

// listPages sends the requests of a list.
func (s *BlobCheckpointStore) listPages(ctx context.Context, p *page) error {
	pager := s.client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{
		Prefix:  &p.prefix,
		Include: container.ListBlobsInclude{Metadata: true},
	})
	var pages markers
	for pager.More() {
		next, err := s.nextPage(ctx, pager, p)
		if err != nil {
			return err
		}
		p.kept = len(p.records)
		if err := pages.add(next, len(p.records)); err != nil {
			return err
		}
	}
	if p.foreign != nil && s.foreign.first(p.prefix) {
		s.settings.Logger.LogAttrs(ctx, slog.LevelWarn,
			"skipping a blob whose name no partition can have: no checkpoint store wrote it, so move it to another container; further such blobs with this prefix are skipped without a warning",
			slog.String("blob", oneLine(string(p.foreign))), slog.String("reason", oneLine(p.foreignness.Error())))
	}
	return nil
}

// markers are the continuation markers of a list, of which one is kept at a time.
type markers struct {
	pages int
	kept  string
}

// add takes the marker that follows a page, empty after the last one, and how many
// records there are up to there. It returns an error if the list does not end.
func (m *markers) add(next string, records int) error {
	m.pages++
	if next != "" && (next == m.kept || m.pages == maxPages || records > maxRecords) {
		return fmt.Errorf("the service's list does not end: page %d continues at %s; check the container URL, and any proxy on the way to the service", m.pages, layout.Quote(next))
	}
	if m.pages&(m.pages-1) == 0 { // a power of two: markers in a cycle of any length come back to one of them
		m.kept = next
	}
	return nil
}

// nextPage reads a page and returns the marker of the next one. If the store's own
// decoder does not understand the page, azblob decodes it.
func (s *BlobCheckpointStore) nextPage(ctx context.Context, pager *runtime.Pager[container.ListBlobsFlatResponse], p *page) (marker string, err error) {
	if s.decodesLists {
		response, err := observed(context.WithValue(ctx, pageKey{}, p), pager.NextPage)
		if !errors.Is(err, listing.ErrUnknown) {
			return deref(response.NextMarker), err
		}
		s.settings.Logger.LogAttrs(ctx, slog.LevelInfo, "the list is not written as expected; requesting it again for azblob to decode",
			slog.String("prefix", p.prefix), slog.String("reason", describe(s.secrets(), err)))
	}
	raw := &http.Response{}
	response, err := observed(policy.WithCaptureResponse(ctx, &raw), pager.NextPage)
	if err == nil {
		err = checkRoot(raw)
	}
	if err != nil {
		if raw.StatusCode == http.StatusOK && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			err = notAList(err)
		}
		return "", err
	}
	p.dated(raw)
	p.records = p.records[:p.kept]
	if response.Segment != nil {
		for _, item := range response.Segment.BlobItems {
			if item != nil && item.Name != nil && isCurrent(item) {
				p.add(entryOf(item))
			}
		}
	}
	return deref(response.NextMarker), nil
}

// checkRoot refuses bodies that azblob accepts as an empty list: an empty body, and
// XML with any root element. The body is still in memory after azblob decoded it.
func checkRoot(raw *http.Response) error {
	body, err := runtime.Payload(raw)
	if err != nil {
		return err
	}
	return listing.CheckRoot(body)
}

// notAList is the error of a response with status 200 that is not a list.
func notAList(err error) error {
	return fmt.Errorf("the response is not a complete list of blobs: check the container URL, and any proxy on the way to the service: %w", err)
}

// isCurrent reports whether an entry that azblob decoded is the current state of a
// blob, by the rules of [listing.Decode].
func isCurrent(item *container.BlobItem) bool {
	switch {
	case deref(item.Deleted), deref(item.HasVersionsOnly), deref(item.Snapshot) != "":
		return false
	case deref(item.VersionID) != "" && item.IsCurrentVersion != nil && !*item.IsCurrentVersion:
		return false
	}
	return item.Properties == nil || !strings.EqualFold(deref(item.Properties.ResourceType), listing.Directory)
}

// entryOf converts an entry that azblob decoded.
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

func deref[T any](p *T) (value T) {
	if p != nil {
		value = *p
	}
	return value
}

// add keeps an entry that is a record. It leaves out directory stubs, names below a
// partition, and names that no partition can have.
func (p *page) add(b *listing.Blob) {
	prefix, id, child := p.partitionOf(b.Name)
	if !child || b.Values.IsDirectory() {
		return
	}
	if err := p.scope.CheckPartition(id); err != nil {
		if p.foreign == nil {
			p.foreign, p.foreignness = slices.Clone(b.Name), err
		}
		return
	}
	p.records = append(p.records, blobState{
		prefix:       prefix,
		partitionID:  id,
		values:       b.Values,
		etag:         layout.ETag(string(b.ETag)),
		lastModified: b.LastModified,
	})
}

// partitionOf takes a blob's name apart.
func (p *page) partitionOf(name []byte) (prefix, partitionID string, child bool) {
	for _, prefix := range p.parents {
		if id, child := layout.PartitionID(prefix, name); child {
			return prefix, id, true
		}
	}
	return "", "", false
}

// dated keeps the service's time of the first response.
func (p *page) dated(resp *http.Response) {
	if !p.date.IsZero() {
		return
	}
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		p.date = at.UTC()
	}
}

// newestOfEach returns one record for each partition: the one that was modified
// last. Of several with the same time it keeps the last in the slice. It reuses the
// slice.
func newestOfEach(records []blobState) []blobState {
	if isAscending(records) {
		return records
	}
	at := make(map[string]int, len(records))
	kept := records[:0]
	for _, r := range records {
		i, known := at[r.partitionID]
		switch {
		case !known:
			at[r.partitionID] = len(kept)
			kept = append(kept, r)
		case !r.lastModified.Before(kept[i].lastModified):
			kept[i] = r
		}
	}
	return kept
}

// isAscending reports whether no partition can be there twice, which is so for
// nearly every list, because the service sorts by name.
func isAscending(records []blobState) bool {
	for i := 1; i < len(records); i++ {
		if records[i-1].partitionID >= records[i].partitionID {
			return false
		}
	}
	return true
}

// decodeLists is a policy for every try of a request. It decodes the body of a List
// Blobs response into the request's page, if that has one. It replaces the body by
// one with the marker alone, which is all that azblob needs to request the next
// page. A body that ends too early is an error of the try, which azcore retries.
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
	p.dated(resp)
	p.records = p.records[:p.kept]
	marker, err := listing.Decode(resp.Body, p.add)
	_ = resp.Body.Close()
	switch {
	case errors.Is(err, listing.ErrUnknown):
		return nil, &notRetriable{err}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, notAList(err)
	case err != nil:
		return nil, fmt.Errorf("reading the list: %w", err)
	}
	resp.Body, err = emptyList(marker)
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

// foreignNames remembers the prefixes under which a foreign blob was logged. The
// zero value is empty.
type foreignNames struct {
	mu     sync.Mutex
	logged map[string]bool
}

// maxForeignNames limits that memory. When it is full, the store forgets all
// prefixes and may log them once more.
const maxForeignNames = 1000

// first reports whether this is the first call with a prefix.
func (f *foreignNames) first(prefix string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.logged[prefix] {
		return false
	}
	if f.logged == nil || len(f.logged) == maxForeignNames {
		f.logged = make(map[string]bool)
	}
	f.logged[prefix] = true
	return true
}
