package test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
	"github.com/ea947076/checkpointstore/otel"
)

// requests are the counts of a metric of [otel.Policy] by operation, status and
// error.type, after a check of the other attributes.
func (r *recorded) requests(host string) map[string]float64 {
	r.t.Helper()
	points := func(name string) map[string]float64 {
		all := make(map[string]float64)
		r.each(name, func(set attribute.Set, value, _ float64) {
			values := map[attribute.Key]string{}
			for _, a := range set.ToSlice() {
				switch a.Key {
				case "server.address":
					require.Equal(r.t, host, a.Value.AsString())
				case "operation", "http.response.status_code", "error.type":
					values[a.Key] = a.Value.String()
				default:
					require.Fail(r.t, "an attribute too much", "%s: %v", name, a)
				}
			}
			all[strings.Join(strings.Fields(values["operation"]+" "+values["http.response.status_code"]+" "+values["error.type"]), " ")] = value
		})
		return all
	}
	counted := points("checkpointstore.storage.requests")
	require.Equal(r.t, counted, points("checkpointstore.storage.request.duration"), "each has a duration")
	return counted
}

// blobs returns a store on a service in memory whose requests are counted.
func blobs(t *testing.T, r *recorded, change ...func(*checkpointstore.BlobCheckpointStoreOptions)) (*checkpointstore.BlobCheckpointStore, *fakeblob.Service) {
	service := fakeblob.New()
	o := &checkpointstore.BlobCheckpointStoreOptions{}
	o.ClientOptions.PerRetryPolicies = []policy.Policy{otel.Policy(r.options)}
	for _, c := range change {
		c(o)
	}
	return blobtest.NewStore(t, service, o), service
}

// Every call of a BlobCheckpointStore sends operations that have names.
func TestOperationsOfABlobCheckpointStore(t *testing.T) {
	names := map[faults.Op]string{
		faults.PutBlob: "PutBlob", faults.SetMetadata: "SetBlobMetadata", faults.GetProperties: "GetBlobProperties", faults.DeleteBlob: "DeleteBlob",
		faults.ListBlobs: "ListBlobs", faults.CreateContainer: "CreateContainer", faults.GetContainerProperties: "GetContainerProperties",
	}
	want := map[string]map[string]float64{ // of an empty container
		"ListOwnership":    {"ListBlobs 200": 1},
		"ListCheckpoints":  {"ListBlobs 200": 1},
		"ListRecords":      {"ListBlobs 200": 1},
		"ListScopes":       {"ListBlobs 200": 1},
		"GetOwnership":     {"GetBlobProperties 404": 1},
		"GetCheckpoint":    {"GetBlobProperties 404": 1},
		"ClaimOwnership":   {"PutBlob 201": 1},
		"UpdateCheckpoint": {"GetBlobProperties 404": 1, "PutBlob 201": 1},
		"DeleteOwnership":  {"DeleteBlob 404": 1},
		"DeleteCheckpoint": {"DeleteBlob 404": 1},
		"EnsureContainer":  {"CreateContainer 409": 1},
	}
	for name, call := range blobtest.Calls() {
		t.Run(name, func(t *testing.T) {
			r := record(t)
			store, service := blobs(t, r)
			_ = call(t.Context(), store)
			got := r.requests(blobtest.PrimaryHost)
			require.Equal(t, want[name], got)
			total := 0.0
			for _, n := range got {
				total += n
			}
			require.EqualValues(t, service.Requests(), total)
			for op, operation := range names {
				n := 0.0
				for text, value := range got {
					if strings.HasPrefix(text, operation+" ") {
						n += value
					}
				}
				require.EqualValues(t, service.Count(op), n, operation)
			}
			require.Equal(t, "{request}", r.metrics()["checkpointstore.storage.requests"].Unit)
			require.Equal(t, "s", r.metrics()["checkpointstore.storage.request.duration"].Unit)
		})
	}
}

// The results that a store expects of conditional writes are no errors.
func TestRequestsOfALifeOfAPartition(t *testing.T) {
	r := record(t)
	store, _ := blobs(t, r)
	record := blobtest.ClaimOne(t, store, blobtest.Claim(blobtest.Group, "a", "0", nil))                                            // Put Blob
	record = blobtest.ClaimOne(t, store, record)                                                                                    // Set Blob Metadata
	lost, err := store.ClaimOwnership(t.Context(), []checkpointstore.Ownership{blobtest.Claim(blobtest.Group, "b", "0", nil)}, nil) // 409
	require.NoError(t, err)
	require.Empty(t, lost)
	stale := blobtest.Claim(blobtest.Group, "b", "0", blobtest.ETag(`"0x0"`)) // 412
	lost, err = store.ClaimOwnership(t.Context(), []checkpointstore.Ownership{stale}, nil)
	require.NoError(t, err)
	require.Empty(t, lost)
	require.Equal(t, map[string]float64{"PutBlob 201": 1, "SetBlobMetadata 200": 1, "PutBlob 409": 1, "SetBlobMetadata 412": 1}, r.requests(blobtest.PrimaryHost))
	require.NotNil(t, record.ETag)
}

func TestPagesOfAListAreRequests(t *testing.T) {
	r := record(t)
	store, service := blobs(t, r)
	for _, c := range blobtest.Claims(blobtest.Group, "a", 5) {
		blobtest.ClaimOne(t, store, c)
	}
	service.SetPageSize(2)
	_, err := store.ListOwnership(t.Context(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
	require.NoError(t, err)
	require.Equal(t, map[string]float64{"PutBlob 201": 5, "ListBlobs 200": 3}, r.requests(blobtest.PrimaryHost))
}

func TestEachTryOfARequestCounts(t *testing.T) {
	for name, c := range map[string]struct {
		fault faults.Fault
		want  map[string]float64
	}{
		"busy":             {faults.Status(503, "ServerBusy").Limit(2), map[string]float64{"ListBlobs 503 ServerBusy": 2, "ListBlobs 200": 1}},
		"bare":             {faults.Status(500, "").Limit(1), map[string]float64{"ListBlobs 500 500": 1, "ListBlobs 200": 1}},
		"a proxy":          {faults.StatusWithBody(502, "text/html", "<html>").Limit(1), map[string]float64{"ListBlobs 502 502": 1, "ListBlobs 200": 1}},
		"forbidden":        {faults.Forbidden(), map[string]float64{"ListBlobs 403 AuthorizationPermissionMismatch": 1}},
		"no container":     {faults.Status(404, "ContainerNotFound"), map[string]float64{"ListBlobs 404": 1}},
		"refused":          {faults.RefuseConnection().Limit(1), map[string]float64{"ListBlobs *url.Error": 1, "ListBlobs 200": 1}},
		"reset":            {faults.ResetBeforeSend().Limit(1), map[string]float64{"ListBlobs *url.Error": 1, "ListBlobs 200": 1}},
		"response is lost": {faults.LoseResponse().Limit(1), map[string]float64{"ListBlobs *url.Error": 1, "ListBlobs 200": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := record(t)
			store, service := blobs(t, r)
			service.Inject(c.fault)
			_, _ = store.ListOwnership(t.Context(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
			require.Equal(t, c.want, r.requests(blobtest.PrimaryHost))
		})
	}
}

func TestRequestsThatTakeTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := record(t)
		store, service := blobs(t, r, func(o *checkpointstore.BlobCheckpointStoreOptions) {
			o.ClientOptions.Retry = blobtest.QuickRetries()
			o.ClientOptions.Retry.TryTimeout = time.Second
		})
		service.Inject(faults.HangWithoutApplying().Limit(1))
		_, err := store.ListOwnership(t.Context(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
		require.NoError(t, err)
		require.Equal(t, map[string]float64{"ListBlobs timeout": 1, "ListBlobs 200": 1}, r.requests(blobtest.PrimaryHost))
	})
}

func TestRequestsThatTheirCallerEnds(t *testing.T) {
	r := record(t)
	store, service := blobs(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	service.Inject(faults.HangWithoutApplying().Before(cancel))
	_, err := store.ListOwnership(ctx, blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, map[string]float64{"ListBlobs canceled": 1}, r.requests(blobtest.PrimaryHost))
}

// A connection that the server closes, by sockets.
func TestRequestsOnConnectionsThatBreak(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		connection, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = connection.Close()
		}
	}))
	defer server.Close()
	r := record(t)
	pipeline := pipelineOf(r, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, -1)
	req, err := runtime.NewRequest(t.Context(), http.MethodHead, server.URL+"/container/blob?sig=c2VjcmV0")
	require.NoError(t, err)
	_, err = pipeline.Do(req)
	require.Error(t, err)
	require.Equal(t, map[string]float64{"GetBlobProperties *url.Error": 1}, r.requests("127.0.0.1"))
	r.requireWithout("c2VjcmV0")
}

// pipelineOf is an azcore pipeline with the policy.
func pipelineOf(r *recorded, transport policy.Transporter, retries int32) runtime.Pipeline {
	return runtime.NewPipeline("test", "v1", runtime.PipelineOptions{}, &policy.ClientOptions{
		PerRetryPolicies: []policy.Policy{otel.Policy(r.options)},
		Transport:        transport,
		Retry:            policy.RetryOptions{MaxRetries: retries},
	})
}

func TestNamesOfOperations(t *testing.T) {
	for request, want := range map[string]string{
		"GET /c?restype=container&comp=list&prefix=a&include=metadata": "ListBlobs",
		"GET /c?comp=list&restype=container&delimiter=/":               "ListBlobs",
		"GET /c?restype=container":                                     "GetContainerProperties",
		"HEAD /c?restype=container":                                    "GetContainerProperties",
		"PUT /c?restype=container":                                     "CreateContainer",
		"DELETE /c?restype=container":                                  "_OTHER",
		"HEAD /c/b":                                                    "GetBlobProperties",
		"HEAD /c/b?snapshot=1":                                         "GetBlobProperties",
		"GET /c/b":                                                     "GetBlob",
		"PUT /c/b":                                                     "PutBlob",
		"PUT /c/b?comp=metadata":                                       "SetBlobMetadata",
		"PUT /c/b?comp=lease":                                          "_OTHER",
		"DELETE /c/b":                                                  "DeleteBlob",
		"GET /?restype=service&comp=properties":                        "GetBlobServiceProperties",
		"GET /?restype=account&comp=properties":                        "GetAccountInformation",
		"GET /c?restype=account&comp=properties":                       "GetAccountInformation",
		"HEAD /?restype=account&comp=properties":                       "GetAccountInformation",
		"GET /?comp=list":                                              "_OTHER",
		"POST /?comp=batch":                                            "_OTHER",
		"PATCH /c/b":                                                   "_OTHER",
	} {
		t.Run(request, func(t *testing.T) {
			r := record(t)
			method, path, _ := strings.Cut(request, " ")
			separator := "?"
			if strings.Contains(path, "?") {
				separator = "&"
			}
			pipeline := pipelineOf(r, faults.TransportFunc(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(""))}, nil
			}), -1)
			req, err := runtime.NewRequest(t.Context(), method, "https://user:c2VjcmV0@account.example:10000"+path+separator+"sv=1&sig=c2VjcmV0")
			require.NoError(t, err)
			_, err = pipeline.Do(req)
			require.NoError(t, err)
			require.Equal(t, map[string]float64{want + " 200": 1}, r.requests("account.example"))
			r.requireWithout("c2VjcmV0", "/c", "?", "sig", "https")
		})
	}
}

// A request that is never sent, because there is no token, is none.
func TestRequestsThatAreNotSent(t *testing.T) {
	r := record(t)
	service := fakeblob.New()
	o := &checkpointstore.BlobCheckpointStoreOptions{}
	o.ClientOptions.PerRetryPolicies = []policy.Policy{otel.Policy(r.options)}
	o.ClientOptions.Transport, o.ClientOptions.Retry = service, blobtest.QuickRetries()
	store, err := checkpointstore.NewBlobCheckpointStoreWithTokenCredential(service.URL(), blobtest.FailingCredential{Err: errors.New("no token")}, o)
	require.NoError(t, err)
	_, err = store.ListOwnership(t.Context(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
	require.ErrorIs(t, err, checkpointstore.ErrCredential)
	require.Empty(t, r.metrics())
}

func TestResponsesAndErrorsOfRequestsPassThrough(t *testing.T) {
	r := record(t)
	failure := &net.OpError{Op: "dial", Err: errors.New("no route")}
	response := &http.Response{StatusCode: 418, Header: http.Header{"X": {"y"}}, Body: io.NopCloser(strings.NewReader("tea"))}
	fail := true
	pipeline := pipelineOf(r, faults.TransportFunc(func(*http.Request) (*http.Response, error) {
		if fail {
			return nil, failure
		}
		return response, nil
	}), -1)
	do := func() (*http.Response, error) {
		req, err := runtime.NewRequest(t.Context(), http.MethodHead, "https://account.example/c/b")
		require.NoError(t, err)
		return pipeline.Do(req)
	}
	_, err := do()
	require.ErrorIs(t, err, failure)
	fail = false
	got, err := do()
	require.NoError(t, err)
	require.Same(t, response, got)
	require.Equal(t, map[string]float64{"GetBlobProperties *net.OpError": 1, "GetBlobProperties 418 418": 1}, r.requests("account.example"))
}

func TestDurationOfRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := record(t)
		pipeline := pipelineOf(r, faults.TransportFunc(func(*http.Request) (*http.Response, error) {
			time.Sleep(3 * time.Second)
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		}), -1)
		req, err := runtime.NewRequest(t.Context(), http.MethodHead, "https://account.example/c/b")
		require.NoError(t, err)
		_, err = pipeline.Do(req)
		require.NoError(t, err)
		r.each("checkpointstore.storage.request.duration", func(_ attribute.Set, count, sum float64) {
			require.Equal(t, []float64{1, 3}, []float64{count, sum})
		})
	})
}
