package checkpointstore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
)

type (
	storeOptions = checkpointstore.BlobCheckpointStoreOptions
	blobStore    = *checkpointstore.BlobCheckpointStore
)

// constructors are all of them, for the container of the fake service.
var constructors = map[string]func(testing.TB, string, storeOptions) (blobStore, error){
	"a client that is handed in": blobtest.HandIn,
	"a connection string": func(_ testing.TB, _ string, o storeOptions) (blobStore, error) {
		return checkpointstore.NewBlobCheckpointStoreFromConnectionString("DefaultEndpointsProtocol=https;AccountName=account;AccountKey="+accountKey+";EndpointSuffix=core.windows.net", "container", &o)
	},
	"a token credential": func(_ testing.TB, url string, o storeOptions) (blobStore, error) {
		return checkpointstore.NewBlobCheckpointStoreWithTokenCredential(url, token{}, &o)
	},
	"a shared key": func(t testing.TB, url string, o storeOptions) (blobStore, error) {
		return checkpointstore.NewBlobCheckpointStoreWithSharedKeyCredential(url, sharedKey(t), &o)
	},
	"no credential": func(_ testing.TB, url string, o storeOptions) (blobStore, error) {
		return checkpointstore.NewBlobCheckpointStoreWithNoCredential(url, &o)
	},
}

// opener opens a store over a transport, and the log of it.
type opener func(testing.TB, policy.Transporter) (blobStore, *bytes.Buffer)

// openers are the constructors, with no deadline but that of the test.
func openers() map[string]opener {
	all := make(map[string]opener)
	for name, construct := range constructors {
		all[name] = func(t testing.TB, transport policy.Transporter) (blobStore, *bytes.Buffer) {
			t.Helper()
			var log bytes.Buffer
			o := storeOptions{Timeout: -1, Logger: slog.New(slog.NewTextHandler(&log, nil))}
			o.ClientOptions.Transport = transport
			o.ClientOptions.Retry = policy.RetryOptions{RetryDelay: time.Millisecond, MaxRetryDelay: 2 * time.Millisecond, TryTimeout: time.Hour}
			store, err := construct(t, fake.New().URL(), o)
			require.NoError(t, err)
			return store, &log
		}
	}
	return all
}

var (
	built    = openers()["no credential"]
	handedIn = openers()["a client that is handed in"]
)

// eachDecoder runs a test with the store's own decoder and with azblob's.
func eachDecoder(t *testing.T, test func(*testing.T, opener)) {
	t.Run("built", func(t *testing.T) { test(t, built) })
	t.Run("handed in", func(t *testing.T) { test(t, handedIn) })
}

// changing is a transport that changes the n-th list response of a service, from
// 1 on: another body, and the length that it says it has.
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

// changed opens a store whose lists are changed.
func (open opener) changed(t *testing.T, service *fake.Service, change func(n int, body []byte) (io.Reader, int64)) (blobStore, *changing, *bytes.Buffer) {
	t.Helper()
	transport := &changing{service: service, change: change}
	store, log := open(t, transport)
	return store, transport, log
}

func known(body []byte) (io.Reader, int64) { return bytes.NewReader(body), int64(len(body)) }

// withOwners has n partitions that are owned.
func withOwners(t *testing.T, n int) *fake.Service {
	t.Helper()
	service := fake.New()
	won, err := blobtest.NewStore(t, service, nil).ClaimOwnership(t.Context(), blobtest.Claims(blobtest.Group, "a", n), nil)
	require.NoError(t, err)
	require.Len(t, won, n)
	return service
}

func requireOwners(t *testing.T, store *checkpointstore.BlobCheckpointStore, n int) {
	t.Helper()
	list, err := store.ListOwnership(t.Context(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
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

// What the store does not understand, azblob decodes: the page is requested once
// more, and a line in the log says so.
func TestListThatOnlyAzblobUnderstands(t *testing.T) {
	service := withOwners(t, 5)
	service.SetPageSize(2)
	store, transport, log := built.changed(t, service, func(n int, body []byte) (io.Reader, int64) {
		if n == 2 || n == 3 { // the second page, both times
			body = bytes.Replace(body, []byte("<Blobs>"), []byte("<!-- new --><Blobs>"), 1)
		}
		return known(body)
	})
	requireOwners(t, store, 5)
	require.EqualValues(t, 4, transport.lists.Load(), "three pages, one of them twice")
	require.Equal(t, 1, strings.Count(log.String(), "for azblob to decode"))
}

// Nothing of the first response stays when the page is requested once more.
func TestListThatOnlyAzblobUnderstandsHasNothingOfTheFirstResponse(t *testing.T) {
	service := withOwners(t, 3)
	service.SetPageSize(2)
	store, transport, _ := built.changed(t, service, func(n int, body []byte) (io.Reader, int64) {
		if n == 1 || n == 3 { // the first response of either page, with a partition that is gone in the second one
			gone := `<Blob><Name>` + blobtest.OwnershipPrefix + `gone</Name></Blob><!-- new --></Blobs>`
			body = bytes.Replace(body, []byte("</Blobs>"), []byte(gone), 1)
		}
		return known(body)
	})
	requireOwners(t, store, 3)
	require.EqualValues(t, 4, transport.lists.Load(), "two pages, each of them twice")
}

// listCalls are the two lists.
var listCalls = map[string]func(context.Context, blobStore) (int, error){
	"ListOwnership": func(ctx context.Context, s blobStore) (int, error) {
		list, err := s.ListOwnership(ctx, blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
		return len(list), err
	},
	"ListCheckpoints": func(ctx context.Context, s blobStore) (int, error) {
		list, err := s.ListCheckpoints(ctx, blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
		return len(list), err
	},
}

// A response that is not a list is an error that says what to look at, never an
// empty list, whoever made the client.
func TestAResponseThatIsNotAListIsAnError(t *testing.T) {
	bodies := map[string]string{
		"HTML":            "<!DOCTYPE html><html><body><br></body></html>",
		"XHTML":           `<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><body><p>Sign in</p></body></html>`,
		"an error":        `<?xml version="1.0" encoding="utf-8"?><Error><Code>ServerBusy</Code><Message>busy</Message></Error>`,
		"nothing":         "",
		"white space":     " \r\n",
		"JSON":            `{"error": "busy"}`,
		"text":            "upstream unavailable",
		"text and a list": "upstream unavailable <EnumerationResults/>",
		"a declaration":   `<?xml version="1.0" encoding="utf-8"?>`,
		"a cut list":      `<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>`,
		"not its end":     `<EnumerationResults><Blobs></Blob></EnumerationResults>`,
		"a bad time":      `<EnumerationResults><Blobs><Blob><Name>x</Name><Properties><Last-Modified>soon</Last-Modified></Properties></Blob></Blobs></EnumerationResults>`,
		"other letters":   `<?xml version="1.0" encoding="utf-16"?><EnumerationResults/>`,
	}
	for constructor, open := range openers() {
		for name, body := range bodies {
			for op, call := range listCalls {
				t.Run(constructor+"/"+name+"/"+op, func(t *testing.T) {
					store, _ := open(t, faults.TransportFunc(func(req *http.Request) (*http.Response, error) {
						return &http.Response{
							StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/xml"}},
							Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req,
						}, nil
					}))
					n, err := call(t.Context(), store)
					require.Zero(t, n)
					require.ErrorContains(t, err, "check the container URL, and any proxy")
					var failure *checkpointstore.Error
					require.ErrorAs(t, err, &failure)
					require.Nil(t, failure.Kind)
				})
			}
		}
	}
}

// So it is with a later page.
func TestALaterPageThatIsNotAListIsAnError(t *testing.T) {
	eachDecoder(t, func(t *testing.T, open opener) {
		service := withOwners(t, 5)
		service.SetPageSize(2)
		store, _, _ := open.changed(t, service, func(n int, body []byte) (io.Reader, int64) {
			if n > 1 {
				return known([]byte("<html/>"))
			}
			return known(body)
		})
		list, err := store.ListOwnership(t.Context(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
		require.ErrorContains(t, err, "check the container URL, and any proxy")
		require.Nil(t, list)
	})
}

// The page that a store does not understand is requested once more, not as often
// as one that is cut off.
func TestRequestsForAResponseThatIsNotAList(t *testing.T) {
	for body, lists := range map[string]int{"<html/>": 2, "<html><br></html>": 2, "upstream unavailable": 4, "": 4} {
		store, transport, _ := built.changed(t, withOwners(t, 1), func(int, []byte) (io.Reader, int64) { return known([]byte(body)) })
		_, err := store.ListOwnership(t.Context(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
		require.Error(t, err)
		require.EqualValues(t, lists, transport.lists.Load(), "%q", body)
	}
}

// A list that ends before its end is an error wherever it ends.
func TestAListThatIsCutAnywhereIsAnError(t *testing.T) {
	whole := listBody(t, withOwners(t, 1))
	eachDecoder(t, func(t *testing.T, open opener) {
		for length := range len(whole) {
			store, _ := open(t, faults.TransportFunc(func(req *http.Request) (*http.Response, error) {
				body, length := known(whole[:length])
				return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(body), ContentLength: length, Request: req}, nil
			}))
			ctx := policy.WithRetryOptions(t.Context(), policy.RetryOptions{MaxRetries: -1})
			list, err := store.ListOwnership(ctx, blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
			require.ErrorContains(t, err, "check the container URL, and any proxy", "%q", whole[:length])
			require.Nil(t, list)
		}
	})
}

// A deadline or a cancelled context that ends a list is no reason to look for a
// proxy.
func TestAListThatIsEndedFromHereIsNotAProxysFault(t *testing.T) {
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
		t.Run(cause.Error(), func(t *testing.T) {
			eachDecoder(t, func(t *testing.T, open opener) {
				store, _, _ := open.changed(t, withOwners(t, 1), func(int, []byte) (io.Reader, int64) { return failingReader{cause}, -1 })
				ctx := policy.WithRetryOptions(t.Context(), policy.RetryOptions{MaxRetries: -1})
				_, err := store.ListOwnership(ctx, blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
				require.ErrorIs(t, err, cause)
				require.NotContains(t, err.Error(), "proxy")
			})
		})
	}
}

// A store that builds its client requests a cut page again, and nothing of the
// first try stays. With azcore's own retries, that is so if the connection was cut.
func TestListCutShort(t *testing.T) {
	cutAt := func(body []byte) []byte { // with a partition that is gone when the page is read again
		gone := `<Blob><Name>` + blobtest.OwnershipPrefix + `gone</Name></Blob></Blobs>`
		return bytes.Replace(body, []byte("</Blobs>"), []byte(gone), 1)[:len(body)-len("</EnumerationResults>")]
	}
	for name, c := range map[string]struct {
		cut     func(body []byte) (io.Reader, int64)
		byAzure bool // azcore requests it again by itself
	}{
		"and ended as if it were whole": {func(body []byte) (io.Reader, int64) { return known(cutAt(body)) }, false},
		"by the connection": {func(body []byte) (io.Reader, int64) {
			return io.MultiReader(bytes.NewReader(cutAt(body)), failingReader{io.ErrUnexpectedEOF}), int64(len(body))
		}, true},
		"by another error": {func(body []byte) (io.Reader, int64) {
			return io.MultiReader(bytes.NewReader(cutAt(body)), failingReader{errors.New("reset")}), int64(len(body))
		}, true},
		"of unknown length": {func(body []byte) (io.Reader, int64) { return bytes.NewReader(body[:len(body)-1]), -1 }, false},
		"to nothing":        {func([]byte) (io.Reader, int64) { return known(nil) }, false},
	} {
		test := func(open opener, retried bool) func(t *testing.T) {
			return func(t *testing.T) {
				service := withOwners(t, 9)
				service.SetPageSize(5)
				if retried {
					store, transport, _ := open.changed(t, service, func(n int, body []byte) (io.Reader, int64) {
						if n == 1 || n == 3 {
							return c.cut(body)
						}
						return known(body)
					})
					requireOwners(t, store, 9)
					require.EqualValues(t, 4, transport.lists.Load(), "two pages, each of them twice")
				}
				store, transport, _ := open.changed(t, service, func(_ int, body []byte) (io.Reader, int64) { return c.cut(body) })
				list, err := store.ListOwnership(t.Context(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
				require.Error(t, err)
				require.Nil(t, list)
				require.EqualValues(t, map[bool]int{true: 4, false: 1}[retried], transport.lists.Load(), "all its tries")
			}
		}
		t.Run(name+"/built", test(built, true))
		t.Run(name+"/handed in", test(handedIn, c.byAzure))
	}
}

// A refusal is not a proxy's fault either.
func TestAListThatIsRefusedIsNotAProxysFault(t *testing.T) {
	eachDecoder(t, func(t *testing.T, open opener) {
		service := fake.New()
		service.Inject(faults.Forbidden())
		store, _ := open(t, service)
		_, err := store.ListOwnership(t.Context(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
		require.ErrorIs(t, err, checkpointstore.ErrNotAuthorized)
		var failure *checkpointstore.Error
		require.ErrorAs(t, err, &failure)
		require.NotContains(t, failure.Err.Error(), "proxy")
	})
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// The marker of a page goes back as it came, whatever is in it.
func TestListMarkers(t *testing.T) {
	const marker = `2!8!<&">' é=;+%20`
	eachDecoder(t, func(t *testing.T, open opener) {
		var asked []string
		service := withOwners(t, 1)
		store, _, _ := open.changed(t, service, func(n int, body []byte) (io.Reader, int64) {
			if n > 1 {
				return known(body)
			}
			var b bytes.Buffer
			b.WriteString(`<EnumerationResults><Blobs/><NextMarker>`)
			require.NoError(t, xml.EscapeText(&b, []byte(marker)))
			b.WriteString(`</NextMarker></EnumerationResults>`)
			return known(b.Bytes())
		})
		service.Inject(faults.Fault{Match: func(req *http.Request) bool {
			asked = append(asked, req.URL.Query().Get("marker"))
			query := req.URL.Query()
			query.Del("marker") // which the service did not give
			req.URL.RawQuery = query.Encode()
			return false
		}})
		requireOwners(t, store, 1)
		require.Equal(t, []string{"", marker}, asked)
	})
}

// A list that loops or does not end is an error.
func TestListWithoutEnd(t *testing.T) {
	const limit = 128 << 10
	records := func(n int) string {
		return strings.Repeat(`<Blob><Name>`+blobtest.OwnershipPrefix+`0</Name></Blob>`, n)
	}
	number := func(n int) string { return fmt.Sprint(n) }
	for name, c := range map[string]struct {
		open    opener
		blobs   string
		markers func(n int) string
		lists   int
		ends    bool
	}{
		"the same marker":             {built, "", func(int) string { return "m" }, 2, false},
		"the same marker, azblob":     {handedIn, "", func(int) string { return "m" }, 2, false},
		"markers that take turns":     {built, "", func(n int) string { return number(n % 2) }, 4, false},
		"a cycle of seven pages":      {built, "", func(n int) string { return number(n % 7) }, 15, false},
		"a cycle later on":            {built, "", func(n int) string { return number(min(n, 20)) }, 33, false},
		"always another page":         {built, "", number, 1000, false},
		"always another page, azblob": {handedIn, "", number, 1000, false},
		"the thousandth page is last": {built, "", func(n int) string { return strings.Repeat("m", n%1000) }, 1000, true},
		"more than 128 << 10 records": {built, records(limit/2 + 1), number, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			service := fake.New()
			service.Inject(faults.StatusWithBody(200, "application/xml", " "))
			store, transport, _ := c.open.changed(t, service, func(n int, _ []byte) (io.Reader, int64) {
				blobs := c.blobs
				if c.ends && n == c.lists {
					blobs = ""
				}
				return known([]byte(`<EnumerationResults><Blobs>` + blobs + `</Blobs><NextMarker>` + c.markers(n) + `</NextMarker></EnumerationResults>`))
			})
			_, err := store.ListOwnership(t.Context(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
			require.EqualValues(t, c.lists, transport.lists.Load())
			if c.ends {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, "does not end")
		})
	}
}

// entries puts entries in front of those of a list.
func entries(text string) func(int, []byte) (io.Reader, int64) {
	return func(_ int, body []byte) (io.Reader, int64) {
		return known(bytes.Replace(body, []byte("<Blobs>"), []byte("<Blobs>"+text), 1))
	}
}

// Snapshots, versions that are not current, deleted blobs and directories are not records.
func TestListsHaveTheCurrentBlobs(t *testing.T) {
	const nine = `<Name>` + blobtest.OwnershipPrefix + `9</Name><Metadata><ownerid>a</ownerid></Metadata>`
	const properties = `<Last-Modified>Fri, 02 Jan 2026 03:04:05 GMT</Last-Modified><Etag>0x9</Etag>`
	for name, c := range map[string]struct {
		element, property string
		current           bool
	}{
		"a snapshot":                      {nine + `<Snapshot>2026-01-02T03:04:05.1234567Z</Snapshot>`, "", false},
		"an old version":                  {nine + `<VersionId>2026</VersionId><IsCurrentVersion>false</IsCurrentVersion>`, "", false},
		"a deleted blob":                  {nine + `<Deleted>true</Deleted>`, "", false},
		"a deleted blob with versions":    {nine + `<HasVersionsOnly>true</HasVersionsOnly>`, "", false},
		"a directory by its ResourceType": {nine, `<ResourceType>directory</ResourceType>`, false},
		"a directory by its metadata":     {strings.Replace(nine, `<ownerid>`, `<hdi_isfolder>true</hdi_isfolder><ownerid>`, 1), "", false},
		"a blob without a name":           {"", "", false},
		"the current version":             {nine + `<VersionId>2026</VersionId><IsCurrentVersion>true</IsCurrentVersion>`, "", true},
		"a version, not told":             {nine + `<VersionId>2026</VersionId>`, "", true},
		"not deleted":                     {nine + `<Deleted>false</Deleted><HasVersionsOnly>false</HasVersionsOnly>`, "", true},
		"empty elements":                  {nine + `<Snapshot/><VersionId/><IsCurrentVersion/><Deleted/>`, "", true},
		"another ResourceType":            {nine, `<ResourceType>file</ResourceType>`, true},
	} {
		t.Run(name, func(t *testing.T) {
			eachDecoder(t, func(t *testing.T, open opener) {
				store, _, _ := open.changed(t, withOwners(t, 2), entries(`<Blob>`+c.element+`<Properties>`+properties+c.property+`</Properties></Blob>`))
				requireOwners(t, store, map[bool]int{false: 2, true: 3}[c.current])
			})
		})
	}
}

// A partition that is listed more than once is returned once, as it was modified
// last, on whatever page that is.
func TestListsHaveEachPartitionOnce(t *testing.T) {
	entry := func(id, etag, modified string) string {
		return `<Blob><Name>` + blobtest.OwnershipPrefix + id + `</Name><Properties><Last-Modified>Fri, 02 Jan 2026 03:04:` + modified + ` GMT</Last-Modified><Etag>` + etag +
			`</Etag></Properties><Metadata><ownerid>a</ownerid></Metadata></Blob>`
	}
	pages := []string{
		entry("0", "0x1", "01") + entry("0", "0x2", "03") + entry("0", "0x3", "02") + entry("1", "0x4", "01") + entry("1", "0x5", "01"),
		entry("1", "0x6", "00") + entry("3", "0x7", "01") + entry("2", "0x8", "01"),
	}
	eachDecoder(t, func(t *testing.T, open opener) {
		service := fake.New()
		service.Inject(faults.StatusWithBody(200, "application/xml", " "))
		store, _, _ := open.changed(t, service, func(n int, _ []byte) (io.Reader, int64) {
			marker := ""
			if n == 1 {
				marker = "m"
			}
			return known([]byte(`<EnumerationResults><Blobs>` + pages[n-1] + `</Blobs><NextMarker>` + marker + `</NextMarker></EnumerationResults>`))
		})
		list, err := store.ListOwnership(t.Context(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
		require.NoError(t, err)
		got := make(map[string]string)
		for _, o := range list {
			got[o.PartitionID] = string(*o.ETag)
		}
		require.Len(t, list, 4)
		require.Equal(t, map[string]string{"0": `"0x2"`, "1": `"0x5"`, "2": `"0x8"`, "3": `"0x7"`}, got)
	})
}

// foreignIDs are names that no claim and no update takes.
var foreignIDs = []string{"bad.", ".", " before", "after ", `back\slash`, "control\x01", "delete\x7f", "tab\tinside", "\u0085", "\u00a0"}

// What a list returns can be claimed or updated. Blobs with other names are left
// out, and the log says so once for each prefix.
func TestListsLeaveOutNamesThatNoPartitionHas(t *testing.T) {
	eachDecoder(t, func(t *testing.T, open opener) {
		service := withOwners(t, 2)
		service.Put(blobtest.CheckpointPrefix+"0", blobtest.Position(500))
		for _, id := range foreignIDs {
			service.Put(blobtest.OwnershipPrefix+id, map[string]string{"ownerid": "a"})
			service.Put(blobtest.CheckpointPrefix+id, blobtest.Position(7))
		}
		store, log := open(t, service)
		for range 2 {
			requireOwners(t, store, 2)
			list, err := store.ListOwnership(t.Context(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
			require.NoError(t, err)
			won, err := store.ClaimOwnership(t.Context(), list, nil)
			require.NoError(t, err)
			require.Len(t, won, 2, "all that is listed can be claimed")
		}
		require.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log)
		require.Contains(t, log.String(), blobtest.OwnershipPrefix+" before", "the first in the list")

		log.Reset()
		for range 2 {
			checkpoints, err := store.ListCheckpoints(t.Context(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
			require.NoError(t, err)
			require.Len(t, checkpoints, 1)
			require.NoError(t, store.UpdateCheckpoint(t.Context(), checkpoints[0], nil))
		}
		require.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log)
		require.Contains(t, log.String(), blobtest.CheckpointPrefix+" before")
	})
}

// Each of those names is refused by a claim; a name is left out if and only if it
// is.
func TestForeignNamesAreThoseThatClaimsRefuse(t *testing.T) {
	service := fake.New()
	store, _ := built(t, service)
	for _, id := range foreignIDs {
		_, err := store.ClaimOwnership(t.Context(), []checkpointstore.Ownership{blobtest.Claim(blobtest.Group, "a", id, nil)}, nil)
		require.ErrorIs(t, err, checkpointstore.ErrInvalidArgument, "%q", id)
	}
	odd := []string{"a b", "a.b", ".a", "é", "a\u00a0b", "%2F", strings.Repeat("x", 500)}
	for _, id := range odd {
		blobtest.ClaimOne(t, store, blobtest.Claim(blobtest.Group, "a", id, nil))
	}
	requireOwners(t, store, len(odd))
}

// The memory of what was logged is bounded: beyond 1000 prefixes, the log may
// repeat itself.
func TestTheMemoryOfForeignNamesIsBounded(t *testing.T) {
	service := fake.New()
	service.SetRecording(false)
	store, log := built(t, service)
	warned := func(n int) bool {
		log.Reset()
		_, err := store.ListOwnership(t.Context(), blobtest.Namespace, blobtest.Hub, fmt.Sprint(n), nil)
		require.NoError(t, err)
		return strings.Contains(log.String(), "level=WARN")
	}
	for n := range 1001 {
		name := fmt.Sprintf("ns.example/hub/%d/ownership/bad.", n)
		service.Put(name, nil)
		require.True(t, warned(n), n)
		require.False(t, warned(n), n)
		service.Delete(name)
	}
	service.Put("ns.example/hub/0/ownership/bad.", nil)
	require.True(t, warned(0), "forgotten")
}

// No response makes the store read without end, and such a response is not
// requested again.
func TestResponsesWithoutEnd(t *testing.T) {
	const max = 64 << 20
	entry := []byte(`<Blob><Name>another/` + strings.Repeat("x", 1000) + `</Name></Blob>`)
	for _, name := range []string{"ListOwnership", "ClaimOwnership"} {
		for _, length := range []int64{-1, max + 1} {
			t.Run(fmt.Sprintf("%s of length %d", name, length), func(t *testing.T) {
				read, requests := 0, 0
				store, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(fake.New().URL(), &checkpointstore.BlobCheckpointStoreOptions{
					Timeout: -1, // the response ends it, however slow the machine is
					ClientOptions: container.ClientOptions{ClientOptions: policy.ClientOptions{Retry: policy.RetryOptions{TryTimeout: time.Hour}, Transport: faults.TransportFunc(func(req *http.Request) (*http.Response, error) {
						requests++
						body := io.MultiReader(strings.NewReader("<EnumerationResults><Blobs>"), &repeating{entry, 0})
						status := map[string]int{http.MethodGet: 200, http.MethodPut: 201, http.MethodHead: 404}[req.Method]
						return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(counted{body, &read}), ContentLength: length, Request: req}, nil
					})}},
				})
				require.NoError(t, err)
				err = blobtest.Calls()[name](t.Context(), store)
				require.ErrorContains(t, err, "more than 67108864 bytes")
				require.LessOrEqual(t, read, 2*(max+1), "one response, and that of the read which decides about a claim")
				require.LessOrEqual(t, requests, 2)
			})
		}
	}
}

// The caller's policies see what the service sent.
func TestListsAndPoliciesOfTheCaller(t *testing.T) {
	service := withOwners(t, 3)
	var seen []byte
	store := blobtest.NewStore(t, service, &checkpointstore.BlobCheckpointStoreOptions{ClientOptions: container.ClientOptions{ClientOptions: policy.ClientOptions{
		PerRetryPolicies: []policy.Policy{policyFunc(func(req *policy.Request) (*http.Response, error) {
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

// closing counts the bodies that are closed.
type closing struct {
	io.Reader
	closed *atomic.Int32
}

func (c closing) Close() error {
	c.closed.Add(1)
	return nil
}

// Every body is closed, whatever becomes of it, so that its connection is free.
func TestBodiesOfListsAreClosed(t *testing.T) {
	whole := listBody(t, withOwners(t, 3))
	for name, body := range map[string][]byte{"a list": whole, "a cut list": whole[:len(whole)/2], "HTML": []byte("<html/>")} {
		t.Run(name, func(t *testing.T) {
			var sent, closed atomic.Int32
			store, _ := built(t, faults.TransportFunc(func(req *http.Request) (*http.Response, error) {
				sent.Add(1)
				return &http.Response{
					StatusCode: http.StatusOK, Header: http.Header{}, Request: req,
					Body: closing{bytes.NewReader(body), &closed}, ContentLength: int64(len(body)),
				}, nil
			}))
			_, err := store.ListOwnership(t.Context(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
			require.Equal(t, name == "a list", err == nil)
			require.Equal(t, sent.Load(), closed.Load())
		})
	}
}

// A list is decoded as it arrives: its body is not kept.
func TestBodiesOfListsAreNotKept(t *testing.T) {
	const size = 16 << 20
	entry := []byte(`<Blob><Name>another/x</Name></Blob>`)
	body := slices.Concat([]byte(`<EnumerationResults><Blobs>`), bytes.Repeat(entry, size/len(entry)), []byte(`</Blobs><NextMarker/></EnumerationResults>`))
	store, _ := built(t, faults.TransportFunc(func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: req}, nil
	}))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	list, err := store.ListOwnership(t.Context(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	require.Empty(t, list)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(size/4))
}

// A list allocates less than a tenth of what it does with azblob's decoder.
func TestListAllocations(t *testing.T) {
	service := withOwners(t, 256)
	service.SetRecording(false)
	body := listBody(t, service)
	respond := faults.TransportFunc(func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: req}, nil
	})
	built, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(service.URL(), &checkpointstore.BlobCheckpointStoreOptions{ClientOptions: container.ClientOptions{ClientOptions: policy.ClientOptions{Transport: respond}}})
	require.NoError(t, err)
	client, err := container.NewClientWithNoCredential(service.URL(), &container.ClientOptions{ClientOptions: policy.ClientOptions{Transport: respond}})
	require.NoError(t, err)
	handed, err := checkpointstore.NewBlobCheckpointStore(client, nil)
	require.NoError(t, err)
	allocations := func(store *checkpointstore.BlobCheckpointStore) float64 {
		return testing.AllocsPerRun(2, func() {
			list, err := store.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
			if err != nil || len(list) != 256 {
				t.Fatal(len(list), err)
			}
		})
	}
	require.Less(t, 10*allocations(built), allocations(handed))
}

// listBody is the service's response to a list of all.
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

// TestRecordsOfEveryPackageInOneContainer puts what every other package writes,
// the odd ones too, beside each other: one list reads them all, and every
// partition can be claimed.
func TestRecordsOfEveryPackageInOneContainer(t *testing.T) {
	service := fake.New()
	files, err := filepath.Glob(filepath.Join("testdata", "metadata", "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	want := make(map[string]map[string]any) // by partition
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var all struct {
			Records []struct {
				Kind     string
				Metadata map[string]string
				Want     map[string]any
			}
		}
		require.NoError(t, json.Unmarshal(text, &all))
		for _, r := range all.Records {
			if r.Kind == "directory" {
				continue
			}
			id := fmt.Sprint(len(want))
			service.Put("ns.example/hub/group/"+r.Kind+"/"+id, r.Metadata)
			want[id] = r.Want
		}
	}
	store := blobtest.NewStore(t, service, nil)
	owners, err := store.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
	require.NoError(t, err)
	for i, o := range owners {
		require.Equal(t, want[o.PartitionID]["ownerID"], o.OwnerID)
		owners[i].OwnerID = "me"
	}
	won, err := store.ClaimOwnership(context.Background(), owners, nil)
	require.NoError(t, err)
	require.Len(t, won, len(owners))

	checkpoints, err := store.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
	require.NoError(t, err)
	require.Equal(t, len(want), len(owners)+len(checkpoints))
	for _, c := range checkpoints {
		w := want[c.PartitionID]
		require.Equal(t, w["offset"] == nil, c.Offset == nil)
		if c.Offset != nil {
			require.Equal(t, w["offset"], *c.Offset)
		}
		require.Equal(t, w["sequenceNumber"] == nil, c.SequenceNumber == nil)
		if c.SequenceNumber != nil {
			require.InDelta(t, w["sequenceNumber"], float64(*c.SequenceNumber), 0)
		}
		require.NoError(t, store.UpdateCheckpoint(context.Background(), blobtest.Checkpoint(blobtest.Group, c.PartitionID, math.MaxInt64), nil), "any record can be written over")
	}
}

// TestAListWithHolesInIt reads a list in which the service leaves out what it may
// not: nothing of it is taken for granted.
func TestAListWithHolesInIt(t *testing.T) {
	const xml = `<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>` +
		`<Blob><Properties /></Blob>` +
		`<Blob><Name>` + blobtest.CheckpointPrefix + `0</Name></Blob>` +
		`<Blob><Name>` + blobtest.CheckpointPrefix + `1</Name><Properties /><Metadata><sequencenumber>7</sequencenumber></Metadata></Blob>` +
		`</Blobs><NextMarker /></EnumerationResults>`
	service := fake.New()
	service.Put(blobtest.CheckpointPrefix+"1", blobtest.Position(7))
	store := blobtest.NewStore(t, service, nil)
	remove := service.Inject(faults.StatusWithBody(200, "application/xml", xml))
	all, err := store.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
	require.NoError(t, err)
	require.Len(t, all, 2)
	owners, err := store.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
	require.NoError(t, err)
	require.Empty(t, owners)
	remove()

	service.Reset()
	require.NoError(t, store.UpdateCheckpoint(context.Background(), blobtest.Checkpoint(blobtest.Group, "1", 8), nil))
	require.Equal(t, 1, service.Count(faults.GetProperties), "a state without an ETag is no baseline")
	require.Equal(t, 2, service.Requests())

	service.Inject(faults.StatusWithBody(200, "application/xml", `<?xml version="1.0" encoding="utf-8"?><EnumerationResults />`))
	all, err = store.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
	require.NoError(t, err)
	require.Empty(t, all)
}
