package ops_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
	"github.com/ea947076/checkpointstore/ops"
)

// check returns what was found, without what is measured: how long requests took.
func check(t *testing.T, client *container.Client, options *ops.CheckOptions) string {
	t.Helper()
	findings, err := ops.Check(ctx, client, options)
	require.NoError(t, err)
	var b strings.Builder
	for _, f := range findings {
		if f.Name == "latency" {
			writes, _, measured := strings.Cut(f.Detail, ": half within ")
			require.True(t, measured, f.Detail)
			fmt.Fprintf(&b, "measured latency: %s\n", writes)
			continue
		}
		fmt.Fprintf(&b, "%s %s: %s", f.Severity, f.Name, f.Detail)
		if f.Severity == ops.SeverityProblem || f.Severity == ops.SeverityWarning {
			require.NotEmpty(t, f.Do, "%s", f.Name)
			fmt.Fprintf(&b, "; %s", f.Do)
		}
		b.WriteString("\n")
	}
	return b.String()
}

const healthy = `ok container: it is there
ok clock: within 5s of the service's
unknown hierarchical namespace: the service did not say
ok permissions: read, write and list are there
ok conditional requests: the service keeps If-Match and If-None-Match
measured latency: 20 writes
ok versioning: it is off
ok soft delete: it is off
`

func TestCheckOnAzurite(t *testing.T) {
	client := azuriteContainer(t)
	// Azurite does not say whether it has a hierarchical namespace, which it has not.
	require.Equal(t, healthy+"ok spellings: no consumer group of 0 has records under two spellings\n",
		check(t, client, &ops.CheckOptions{Store: blobStore(t, client, nil)}))
	page, err := client.NewListBlobsFlatPager(nil).NextPage(ctx)
	require.NoError(t, err)
	require.Empty(t, page.Segment.BlobItems, "the probe is removed")

	withSAS := func(p sas.ContainerPermissions) string {
		u, err := client.GetSASURL(p, time.Now().Add(time.Hour), nil)
		require.NoError(t, err)
		limited, err := container.NewClientWithNoCredential(u, nil)
		require.NoError(t, err)
		found := check(t, limited, nil)
		require.NotContains(t, found, "sig=")
		return found
	}
	found := withSAS(sas.ContainerPermissions{Read: true, List: true})
	require.Contains(t, found, `problem permissions: to create a blob that is not there`)
	require.Contains(t, found, `the credential needs "write"`)
	require.NotContains(t, found, "is left")
	found = withSAS(sas.ContainerPermissions{Read: true, Write: true, Create: true, List: true})
	require.Contains(t, found, "ok permissions")
	require.Contains(t, found, "warning cleaning up")
}

// altering is a client of the fake service whose answers are altered on their way.
func altering(service *fakeblob.Service, alter func(*http.Request, *http.Response)) *container.Client {
	return service.Client(func(o *container.ClientOptions) {
		o.PerRetryPolicies = append(o.PerRetryPolicies, policyFunc(func(req *policy.Request) (*http.Response, error) {
			resp, err := req.Next()
			if err == nil {
				alter(req.Raw(), resp)
			}
			return resp, err
		}))
	})
}

type policyFunc func(*policy.Request) (*http.Response, error)

func (f policyFunc) Do(req *policy.Request) (*http.Response, error) { return f(req) }

func TestCheckFinds(t *testing.T) {
	var service *fakeblob.Service // of the case
	nothing := func(*http.Request, *http.Response) {}
	forbidden := func(m faults.Matcher) func(t *testing.T) {
		return func(*testing.T) { service.Inject(faults.Forbidden().On(m)) }
	}
	blob := faults.NameHas("checkpointstore-check-")
	for name, c := range map[string]struct {
		before func(t *testing.T)
		alter  func(*http.Request, *http.Response)
		found  []string
		not    []string
		left   bool
	}{
		"nothing": {nil, nothing, []string{"ok permissions", "ok conditional requests", "ok versioning", "ok soft delete", "unknown hierarchical namespace"}, []string{"problem", "warning"}, false},
		"no right to write": {forbidden(faults.OpIs(faults.PutBlob)), nothing,
			[]string{`problem permissions: to create a blob`, `needs "write"`}, []string{"ok permissions", `needs "read"`, `needs "list"`, "conditional"}, false},
		"no right at all": {forbidden(faults.OpIs(faults.PutBlob, faults.GetProperties, faults.ListBlobs, faults.DeleteBlob)), nothing,
			[]string{"ok clock", `needs "write"`, `needs "read"`, `needs "list"`}, []string{"ok permissions"}, false},
		"no right to change": {forbidden(faults.OpIs(faults.SetMetadata)), nothing, []string{`problem permissions: to write it on its ETag`}, []string{"ok permissions"}, false},
		"no right to read":   {forbidden(faults.All(blob, faults.OpIs(faults.GetProperties))), nothing, []string{`problem permissions: to read it`, `needs "read"`}, []string{"ok permissions"}, false},
		"no right to list":   {forbidden(faults.OpIs(faults.ListBlobs)), nothing, []string{`problem permissions: to list it`, `needs "list"`, "unknown soft delete"}, []string{"ok permissions"}, false},
		"no right to delete": {forbidden(faults.OpIs(faults.DeleteBlob)), nothing, []string{"ok permissions", "warning cleaning up", "delete"}, []string{"soft delete"}, true},
		"a service in trouble": {func(*testing.T) {
			service.Inject(faults.Status(500, "InternalError").On(faults.OpIs(faults.SetMetadata)))
		}, nothing, []string{"problem requests: to write it on its ETag (If-Match): the service answers 500 InternalError"}, []string{"ok conditional"}, false},
		"a clock that is off": {func(*testing.T) {
			time.Sleep(time.Second / 4) // no request is near the end of a second, where the service's clock jumps
			service.SetClock(func() time.Time { return time.Now().Add(time.Hour) })
		}, nothing, []string{"warning clock: this machine's clock is 1h0m0s behind the service's; synchronise it"}, nil, false},
		"no clock": {nil, func(_ *http.Request, resp *http.Response) { resp.Header.Del("Date") }, []string{"unknown clock"}, []string{"warning"}, false},
		"versioning": {nil, func(req *http.Request, resp *http.Response) {
			if req.Method == http.MethodPut {
				resp.Header.Set("X-Ms-Version-Id", "2026-11-21T12:00:00.0000000Z")
			}
		}, []string{"warning versioning: it is on"}, []string{"ok versioning"}, false},
		"soft delete": {nil, func(req *http.Request, resp *http.Response) {
			if strings.Contains(req.URL.RawQuery, "deleted") {
				name := req.URL.Query().Get("prefix")
				resp.Body = io.NopCloser(bytes.NewReader(fmt.Appendf(nil, `<EnumerationResults><Blobs><Blob><Name>%s</Name><Deleted>true</Deleted></Blob></Blobs></EnumerationResults>`, name)))
			}
		}, []string{"warning soft delete: it is on"}, []string{"ok soft delete"}, false},
		"a hierarchical namespace": {nil, func(req *http.Request, resp *http.Response) {
			if req.URL.Query().Get("comp") == "properties" {
				*resp = http.Response{StatusCode: 200, Request: req, Header: http.Header{"X-Ms-Is-Hns-Enabled": {"true"}}, Body: http.NoBody}
			}
		}, []string{"warning hierarchical namespace: it is on"}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service = fakeblob.New()
				if c.before != nil {
					c.before(t)
				}
				found := check(t, altering(service, c.alter), nil)
				for _, text := range c.found {
					require.Contains(t, found, text)
				}
				for _, text := range c.not {
					require.NotContains(t, found, text)
				}
				require.Equal(t, c.left, len(service.Names()) > 0, "the probe is removed")
			})
		})
	}
}

func TestCheckMeasuresTheLatency(t *testing.T) {
	for latency, want := range map[time.Duration]ops.Finding{
		50 * time.Millisecond: {Name: "latency", Severity: ops.SeverityOK, Detail: "20 writes: half within 100ms, 99% within 100ms"},
		501 * time.Millisecond: {
			Name: "latency", Severity: ops.SeverityWarning, Detail: "20 writes: half within 1.002s, 99% within 1.002s",
			Do: "use an account in the consumers' region, and look for throttling in its metrics",
		},
	} {
		t.Run(latency.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := fakeblob.New()
				service.Inject(faults.Latency(latency, latency).On(faults.OpIs(faults.SetMetadata))) // there and back
				findings, err := ops.Check(ctx, service.Client(), nil)
				require.NoError(t, err)
				require.Contains(t, findings, want)
			})
		})
	}
}

// TestCheckFindsAServiceThatIgnoresConditions strips them on the way.
func TestCheckFindsAServiceThatIgnoresConditions(t *testing.T) {
	for header, says := range map[string]string{
		"If-None-Match": "problem conditional requests: to create it once more: must be refused with 409 or 412, but it was carried out",
		"If-Match":      "problem conditional requests: to write it on an ETag of before: must be refused with 409 or 412, but it was carried out",
	} {
		t.Run(header, func(t *testing.T) {
			service := fakeblob.New()
			client := service.Client(func(o *container.ClientOptions) {
				o.PerRetryPolicies = append(o.PerRetryPolicies, policyFunc(func(req *policy.Request) (*http.Response, error) {
					delete(req.Raw().Header, header)
					req.Raw().Header.Del(header)
					return req.Next()
				}))
			})
			found := check(t, client, nil)
			require.Contains(t, found, says)
			require.Equal(t, 1, strings.Count(found, "problem"), "%s", found)
			require.Empty(t, service.Names())
		})
	}
}

func TestCheckWithoutAContainer(t *testing.T) {
	service := fakeblob.New()
	service.DeleteContainer()
	require.Equal(t, "problem container: the service answers 404 ContainerNotFound; create the container, and check its name and the account's\n", check(t, service.Client(), nil))
	service = fakeblob.New()
	service.Inject(faults.RefuseConnection())
	require.Contains(t, check(t, service.Client(), nil), "connection refused; check the account's name, the network")
}

func TestCheckRemovesItsBlobWhenItIsCancelled(t *testing.T) {
	for _, op := range []faults.Op{faults.PutBlob, faults.SetMetadata, faults.ListBlobs} {
		service := fakeblob.New()
		ended, cancel := context.WithCancel(ctx)
		service.Inject(faults.RunAfter(cancel).On(faults.OpIs(op)).Once())
		_, err := ops.Check(ended, service.Client(), nil)
		require.ErrorIs(t, err, context.Canceled)
		require.Empty(t, service.Names())
	}
}

func TestCheckFindsTwoSpellings(t *testing.T) {
	for name, c := range map[string]struct {
		lower, typed string // owners
		want         string
	}{
		"both live": {"alice", "bob", "problem spellings: partitions have live owners that do not see each other, under ns.servicebus.windows.net/hub/$Default (1) and ns.servicebus.windows.net/hub/$default (1)"},
		"one live":  {"alice", "", "warning spellings: ns.servicebus.windows.net/hub/$default: records under several spellings, with live owners under ns.servicebus.windows.net/hub/$default (1)"},
		"other":     {"", "bob", "with live owners under ns.servicebus.windows.net/hub/$Default (1)"},
		"none":      {"", "", "records under several spellings, without live owners"},
	} {
		for _, naming := range []checkpointstore.BlobNaming{checkpointstore.BlobNamingLowerCase, checkpointstore.BlobNamingVerbatim} {
			t.Run(name+", "+string(naming), func(t *testing.T) {
				service := fakeblob.New()
				service.Put(lowerPrefix+"ownership/0", map[string]string{"ownerid": c.lower})
				service.Put(typedPrefix+"ownership/1", map[string]string{"ownerid": c.typed})
				store := blobStore(t, service.Client(), &checkpointstore.BlobCheckpointStoreOptions{BlobNaming: naming})
				require.Contains(t, check(t, service.Client(), &ops.CheckOptions{Store: store}), c.want)
			})
		}
	}
	t.Run("one spelling", func(t *testing.T) {
		service := fakeblob.New()
		service.Put(typedPrefix+"ownership/1", map[string]string{"ownerid": ""})
		require.Contains(t, check(t, service.Client(), &ops.CheckOptions{Store: blobStore(t, service.Client(), nil)}),
			"ok spellings: no consumer group of 1 has records under two spellings")
	})
}
