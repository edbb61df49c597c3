package otel

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// Policy returns a pipeline policy that counts the requests to the storage service in
// checkpointstore.storage.requests, and times them in
// checkpointstore.storage.request.duration. Add it to PerRetryPolicies of the client's
// options, so that every try counts:
//
//	checkpointstore.BlobCheckpointStoreOptions{ClientOptions: container.ClientOptions{
//		ClientOptions: azcore.ClientOptions{PerRetryPolicies: []policy.Policy{otel.Policy(nil)}},
//	}}
//
// Attributes: operation, which is the service's name for it, such as "ListBlobs";
// http.response.status_code; server.address, the host. error.type is set if there was
// no response, and for a status of 400 and above, but for those that a store expects:
// 404, 409 and 412. A list of several pages is several requests.
func Policy(options *Options) policy.Policy {
	t := newTelemetry(options)
	return &storagePolicy{
		requests: instrument(t.meter.Int64Counter("checkpointstore.storage.requests", metric.WithUnit("{request}"),
			metric.WithDescription("Requests to the storage service, retries included."))),
		duration: instrument(t.meter.Float64Histogram("checkpointstore.storage.request.duration", metric.WithUnit("s"),
			metric.WithDescription("Time until the storage service has responded."), metric.WithExplicitBucketBoundaries(durations...))),
	}
}

type storagePolicy struct {
	requests metric.Int64Counter
	duration metric.Float64Histogram
	sets     sync.Map // of storageRequest to metric.MeasurementOption
}

// storageRequest are the attributes of a request.
type storageRequest struct {
	operation, host, errorType string
	status                     int
}

// Do implements [policy.Policy].
func (p *storagePolicy) Do(req *policy.Request) (*http.Response, error) {
	ctx, raw := req.Raw().Context(), req.Raw()
	r := storageRequest{operation: operationOf(raw), host: raw.URL.Hostname()}
	begun := time.Now()
	resp, err := req.Next()
	took := time.Since(begun)
	if err != nil {
		r.errorType = errorType(err)
	} else {
		r.status, r.errorType = resp.StatusCode, storageErrorType(resp)
	}
	with := p.setOf(r)
	p.requests.Add(ctx, 1, with)
	p.duration.Record(ctx, took.Seconds(), with)
	return resp, err
}

// storageErrorType is error.type of a response, empty for one that is no error.
func storageErrorType(resp *http.Response) string {
	switch {
	case resp.StatusCode < 400:
		return ""
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusConflict, resp.StatusCode == http.StatusPreconditionFailed:
		return ""
	}
	if code := resp.Header.Get("x-ms-error-code"); code != "" {
		return code
	}
	return strconv.Itoa(resp.StatusCode)
}

func (p *storagePolicy) setOf(r storageRequest) metric.MeasurementOption {
	if set, found := p.sets.Load(r); found {
		return set.(metric.MeasurementOption)
	}
	attributes := []attribute.KeyValue{operationKey.String(r.operation), semconv.ServerAddress(r.host)}
	if r.status != 0 {
		attributes = append(attributes, semconv.HTTPResponseStatusCode(r.status))
	}
	if r.errorType != "" {
		attributes = append(attributes, semconv.ErrorTypeKey.String(r.errorType))
	}
	set := measuredWith(attributes)
	p.sets.Store(r, set)
	return set
}

// operationOf returns the storage service's name of a request's operation, as it
// stands in the service's own metrics.
func operationOf(req *http.Request) string {
	query := req.URL.Query()
	restype, comp := query.Get("restype"), query.Get("comp")
	switch req.Method + " " + restype + " " + comp {
	case "GET container list":
		return "ListBlobs"
	case "GET container ", "HEAD container ":
		return "GetContainerProperties"
	case "PUT container ":
		return "CreateContainer"
	case "HEAD  ":
		return "GetBlobProperties"
	case "GET  ":
		return "GetBlob"
	case "PUT  ":
		return "PutBlob"
	case "PUT  metadata":
		return "SetBlobMetadata"
	case "DELETE  ":
		return "DeleteBlob"
	case "GET service properties":
		return "GetBlobServiceProperties"
	case "GET account properties", "HEAD account properties":
		return "GetAccountInformation"
	}
	return "_OTHER"
}
