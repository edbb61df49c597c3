package checkpointstore_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
)

// newStoreOfClient is a store over a client that was handed in, with the options
// of newFakeStore.
func newStoreOfClient(t testing.TB, service *fake.Service, options *checkpointstore.BlobCheckpointStoreOptions) *checkpointstore.BlobCheckpointStore {
	t.Helper()
	var o checkpointstore.BlobCheckpointStoreOptions
	if options != nil {
		o = *options
	}
	client := service.Client(func(c *container.ClientOptions) {
		*c = o.ClientOptions
		c.Transport = service
		if c.Retry.RetryDelay == 0 {
			c.Retry = policy.RetryOptions{RetryDelay: time.Millisecond, MaxRetryDelay: 2 * time.Millisecond, TryTimeout: 7 * time.Second}
		}
	})
	o.ClientOptions = container.ClientOptions{}
	store, err := checkpointstore.NewBlobCheckpointStore(client, &o)
	require.NoError(t, err)
	return store
}

// changing is a transport that changes the n-th list answer of a service, from 1
// on: another body, and the length that it says it has.
type changing struct {
	service *fake.Service
	change  func(n int, body []byte) (changed io.Reader, length int64)
	lists   atomic.Int32
}

func (c *changing) Do(req *http.Request) (*http.Response, error) {
	resp, err := c.service.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK || req.URL.Query().Get("comp") != "list" {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	changed, length := c.change(int(c.lists.Add(1)), body)
	resp.Body, resp.ContentLength = io.NopCloser(changed), length
	return resp, nil
}

// changed opens a store whose lists are changed, and the log of it.
func changed(t *testing.T, service *fake.Service, change func(n int, body []byte) (io.Reader, int64)) (*checkpointstore.BlobCheckpointStore, *changing, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	transport := &changing{service: service, change: change}
	store, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(service.URL(), &checkpointstore.BlobCheckpointStoreOptions{
		ClientOptions: container.ClientOptions{ClientOptions: policy.ClientOptions{Transport: transport, Retry: policy.RetryOptions{RetryDelay: time.Millisecond, MaxRetryDelay: 2 * time.Millisecond}}},
		Logger:        slog.New(slog.NewTextHandler(&log, nil)),
	})
	require.NoError(t, err)
	return store, transport, &log
}

func known(body []byte) (io.Reader, int64) { return bytes.NewReader(body), int64(len(body)) }

// withOwners has n partitions that are owned.
func withOwners(t *testing.T, n int) *fake.Service {
	t.Helper()
	service := fake.New()
	won, err := newFakeStore(t, service, nil).ClaimOwnership(t.Context(), claims(group, "a", n), nil)
	require.NoError(t, err)
	require.Len(t, won, n)
	return service
}

func requireOwners(t *testing.T, store *checkpointstore.BlobCheckpointStore, n int) {
	t.Helper()
	list, err := store.ListOwnership(t.Context(), namespace, hub, group, nil)
	require.NoError(t, err)
	ids := make(map[string]bool)
	for _, o := range list {
		require.Equal(t, "a", o.OwnerID)
		require.NotNil(t, o.ETag)
		require.False(t, o.LastModifiedTime.IsZero())
		ids[o.PartitionID] = true
	}
	require.Len(t, list, n)
	require.Len(t, ids, n, "each of them once")
}

// What the store does not understand, azblob decodes: the page is asked for once
// more, and a line in the log says so.
func TestListThatOnlyAzblobUnderstands(t *testing.T) {
	service := withOwners(t, 5)
	service.SetPageSize(2)
	store, transport, log := changed(t, service, func(n int, body []byte) (io.Reader, int64) {
		if n == 2 || n == 3 { // the second page, both times
			body = bytes.Replace(body, []byte("<Blobs>"), []byte("<!-- new --><Blobs>"), 1)
		}
		return known(body)
	})
	requireOwners(t, store, 5)
	require.EqualValues(t, 4, transport.lists.Load(), "three pages, one of them twice")
	require.Equal(t, 1, strings.Count(log.String(), "for azblob to decode"))
}

// What neither understands is an error, not an empty list.
func TestListThatNobodyUnderstands(t *testing.T) {
	for name, c := range map[string]struct {
		body  string
		lists int
	}{
		"HTML":          {"<html><body><br></body></html>", 2},
		"text":          {"upstream unavailable", 4}, // all tries: a list may begin behind it
		"a bad time":    {`<EnumerationResults><Blobs><Blob><Name>x</Name><Properties><Last-Modified>soon</Last-Modified></Properties></Blob></Blobs></EnumerationResults>`, 2},
		"not its end":   {`<EnumerationResults><Blobs></Blob></EnumerationResults>`, 2},
		"other letters": {`<?xml version="1.0" encoding="utf-16"?><EnumerationResults/>`, 2},
	} {
		t.Run(name, func(t *testing.T) {
			store, transport, _ := changed(t, withOwners(t, 1), func(int, []byte) (io.Reader, int64) { return known([]byte(c.body)) })
			list, err := store.ListOwnership(t.Context(), namespace, hub, group, nil)
			require.Error(t, err)
			require.Nil(t, list)
			require.EqualValues(t, c.lists, transport.lists.Load())
		})
	}
}

// A body that is cut is read again, and nothing of the first try stays.
func TestListCutShort(t *testing.T) {
	for name, cut := range map[string]func(body []byte) (io.Reader, int64){
		"and ended as if it were whole": func(body []byte) (io.Reader, int64) { return known(body[:2*len(body)/3]) },
		"by the connection": func(body []byte) (io.Reader, int64) {
			return io.MultiReader(bytes.NewReader(body[:2*len(body)/3]), failingReader{io.ErrUnexpectedEOF}), int64(len(body))
		},
		"of unknown length": func(body []byte) (io.Reader, int64) { return bytes.NewReader(body[:len(body)-1]), -1 },
		"to nothing":        func([]byte) (io.Reader, int64) { return known(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			service := withOwners(t, 9)
			service.SetPageSize(5)
			store, transport, _ := changed(t, service, func(n int, body []byte) (io.Reader, int64) {
				if n == 1 || n == 3 {
					return cut(body)
				}
				return known(body)
			})
			requireOwners(t, store, 9)
			require.EqualValues(t, 4, transport.lists.Load())

			store, transport, _ = changed(t, service, func(_ int, body []byte) (io.Reader, int64) { return cut(body) })
			_, err := store.ListOwnership(t.Context(), namespace, hub, group, nil)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.EqualValues(t, 4, transport.lists.Load(), "all its tries")
		})
	}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// The marker of a page goes back as it came, whatever is in it.
func TestListMarkers(t *testing.T) {
	const marker = `2!8!<&">' é=;+%20`
	var asked []string
	service := withOwners(t, 1)
	store, _, _ := changed(t, service, func(n int, body []byte) (io.Reader, int64) {
		if n > 1 {
			return known(body)
		}
		var b bytes.Buffer
		b.WriteString(`<EnumerationResults><Blobs/><NextMarker>`)
		require.NoError(t, xml.EscapeText(&b, []byte(marker)))
		b.WriteString(`</NextMarker></EnumerationResults>`)
		return known(b.Bytes())
	})
	service.Inject(fake.Fault{Match: func(req *http.Request) bool {
		asked = append(asked, req.URL.Query().Get("marker"))
		query := req.URL.Query()
		query.Del("marker") // which the service did not give
		req.URL.RawQuery = query.Encode()
		return false
	}})
	requireOwners(t, store, 1)
	require.Equal(t, []string{"", marker}, asked)
}

// A list that goes round, or on without end, is an error.
func TestListWithoutEnd(t *testing.T) {
	records := strings.Repeat(`<Blob><Name>`+ownershipPrefix+`0</Name></Blob>`, 400_000)
	for name, c := range map[string]struct {
		blobs  string
		marker func(n int) string
		lists  int
	}{
		"the same marker":         {"", func(int) string { return "m" }, 2},
		"always another page":     {"", func(n int) string { return fmt.Sprint(n) }, 1000},
		"more than 1 << 20 blobs": {records, func(n int) string { return fmt.Sprint(n) }, 3},
	} {
		t.Run(name, func(t *testing.T) {
			service := fake.New()
			service.Inject(fake.Fault{Action: fake.Answer, Status: 200, ContentType: "application/xml", Body: " "})
			store, transport, _ := changed(t, service, func(n int, _ []byte) (io.Reader, int64) {
				return known([]byte(`<EnumerationResults><Blobs>` + c.blobs + `</Blobs><NextMarker>` + c.marker(n) + `</NextMarker></EnumerationResults>`))
			})
			_, err := store.ListOwnership(t.Context(), namespace, hub, group, nil)
			require.ErrorContains(t, err, "does not end")
			require.EqualValues(t, c.lists, transport.lists.Load())
		})
	}
}

// endless is a body of entries without end.
type endless struct{ read *atomic.Int64 }

func (e endless) Read(p []byte) (int, error) {
	const entry = `<Blob><Name>another/x</Name></Blob>`
	if e.read.Load() == 0 {
		e.read.Add(1)
		return copy(p, "<EnumerationResults><Blobs>"), nil
	}
	n := 0
	for len(p)-n >= len(entry) {
		n += copy(p[n:], entry)
	}
	if n == 0 { // no room for one: white space
		n = copy(p, " ")
	}
	e.read.Add(int64(n))
	return n, nil
}

// No answer makes the store read without end, and such an answer is not asked
// for again.
func TestAnswersWithoutEnd(t *testing.T) {
	const max = 64 << 20
	for name, call := range map[string]func(context.Context, *checkpointstore.BlobCheckpointStore) error{
		"a list": func(ctx context.Context, s *checkpointstore.BlobCheckpointStore) error {
			_, err := s.ListOwnership(ctx, namespace, hub, group, nil)
			return err
		},
		"a claim": func(ctx context.Context, s *checkpointstore.BlobCheckpointStore) error {
			_, err := s.ClaimOwnership(ctx, claims(group, "a", 1), nil)
			return err
		},
	} {
		for _, length := range []int64{-1, max + 1} {
			t.Run(fmt.Sprintf("%s of length %d", name, length), func(t *testing.T) {
				var read atomic.Int64
				var requests atomic.Int32
				store, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(fake.New().URL(), &checkpointstore.BlobCheckpointStoreOptions{
					ClientOptions: container.ClientOptions{ClientOptions: policy.ClientOptions{Transport: transportFunc(func(req *http.Request) (*http.Response, error) {
						requests.Add(1)
						status := map[string]int{http.MethodGet: 200, http.MethodPut: 201, http.MethodHead: 404}[req.Method]
						return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(endless{&read}), ContentLength: length, Request: req}, nil
					})}},
				})
				require.NoError(t, err)
				err = call(t.Context(), store)
				require.ErrorContains(t, err, "more than 67108864 bytes")
				require.LessOrEqual(t, read.Load(), int64(2*(max+1)), "one answer, and that of the read which decides about a claim")
				require.LessOrEqual(t, requests.Load(), int32(2))
			})
		}
	}
}

// The caller's policies see what the service sent.
func TestListsAndPoliciesOfTheCaller(t *testing.T) {
	service := withOwners(t, 3)
	var seen []byte
	store := newFakeStore(t, service, &checkpointstore.BlobCheckpointStoreOptions{ClientOptions: container.ClientOptions{ClientOptions: policy.ClientOptions{
		PerRetryPolicies: []policy.Policy{policyOf(func(req *policy.Request) (*http.Response, error) {
			resp, err := req.Next()
			if err == nil {
				body, rerr := io.ReadAll(resp.Body)
				seen, resp.Body, err = body, io.NopCloser(bytes.NewReader(body)), rerr
			}
			return resp, err
		})},
	}}})
	requireOwners(t, store, 3)
	require.Equal(t, 3, bytes.Count(seen, []byte("<Blob>")))
}

type policyOf func(*policy.Request) (*http.Response, error)

func (f policyOf) Do(req *policy.Request) (*http.Response, error) { return f(req) }

// A list allocates less than a tenth of what it does with azblob's decoder.
func TestListAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	service := withOwners(t, 1024)
	service.SetRecording(false)
	body := listBody(t, service)
	answer := transportFunc(func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: req}, nil
	})
	built, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(service.URL(), &checkpointstore.BlobCheckpointStoreOptions{ClientOptions: container.ClientOptions{ClientOptions: policy.ClientOptions{Transport: answer}}})
	require.NoError(t, err)
	client, err := container.NewClientWithNoCredential(service.URL(), &container.ClientOptions{ClientOptions: policy.ClientOptions{Transport: answer}})
	require.NoError(t, err)
	handed, err := checkpointstore.NewBlobCheckpointStore(client, nil)
	require.NoError(t, err)
	allocations := func(store *checkpointstore.BlobCheckpointStore) float64 {
		return testing.AllocsPerRun(5, func() {
			list, err := store.ListOwnership(context.Background(), namespace, hub, group, nil)
			if err != nil || len(list) != 1024 {
				t.Fatal(len(list), err)
			}
		})
	}
	require.Less(t, 10*allocations(built), allocations(handed))
}

// listBody is the service's answer to a list of all.
func listBody(t *testing.T, service *fake.Service) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, service.URL()+"?comp=list&restype=container&include=metadata", nil)
	require.NoError(t, err)
	resp, err := service.Do(req)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return body
}
