package fakeblob_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/fakeblob"
)

// Each case puts the blob "a" once, with one fault and without retries.
func TestFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		fault   fakeblob.Fault
		status  int
		code    string
		is      error
		applied bool
		hooks   int64
		line    string
	}{
		"status": {
			fault: fakeblob.Status(500, "InternalError"), status: 500, code: "InternalError", hooks: 1,
			line: "500 InternalError",
		},
		"status without code": {
			fault: fakeblob.Status(412, ""), status: 412, hooks: 1, line: "412",
		},
		"status with body": {
			fault: fakeblob.StatusWithBody(502, "text/html", "<html>bad gateway</html>"), status: 502, hooks: 1,
			line: "502",
		},
		"busy": {
			fault: fakeblob.Busy(0), status: 503, code: "ServerBusy", hooks: 1, line: "503 ServerBusy",
		},
		"forbidden": {
			fault: fakeblob.Forbidden(), status: 403, code: "AuthorizationPermissionMismatch", hooks: 1,
			line: "403 AuthorizationPermissionMismatch",
		},
		"authentication": {
			fault: fakeblob.AuthenticationFailed("detail"), status: 403, code: "AuthenticationFailed", hooks: 1,
			line: "403 AuthenticationFailed",
		},
		"apply then status": {
			fault: fakeblob.ApplyThenStatus(500, "InternalError"), status: 500, code: "InternalError",
			applied: true, hooks: 1, line: `201 etag="0x1" answered 500 InternalError`,
		},
		"refuse": {
			fault: fakeblob.RefuseConnection(), is: syscall.ECONNREFUSED, line: "refused",
		},
		"reset": {
			fault: fakeblob.ResetConnection(), is: syscall.ECONNRESET, hooks: 1, line: "dropped",
		},
		"lose response": {
			fault: fakeblob.LoseResponse(), is: io.ErrUnexpectedEOF, applied: true, hooks: 1,
			line: `201 etag="0x1" dropped`,
		},
		"strip": {
			fault: fakeblob.WithoutHeaders("ETag", "Last-Modified"), applied: true, hooks: 1,
			line: `201 etag="0x1" stripped ETag,Last-Modified`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := fakeblob.New()
			s.Inject(tc.fault)
			var h hooks
			_, err := once(s).put(h.in(t.Context()), "a", nil)
			if tc.is != nil {
				require.ErrorIs(t, err, tc.is)
				var ue *url.Error
				require.ErrorAs(t, err, &ue)
				require.Equal(t, "Put", ue.Op)
				require.Equal(t, s.URL()+"/a", ue.URL)
			} else {
				requireStatus(t, err, tc.status, tc.code)
			}
			_, applied := s.Get("a")
			require.Equal(t, tc.applied, applied)
			h.require(t, tc.hooks)
			require.Equal(t, int(tc.hooks), s.Requests(), "counted as the hooks are")
			require.Equal(t, "PUT  /c/a -> "+tc.line+"\n", s.Transcript())
		})
	}
}

func TestHang(t *testing.T) {
	for name, tc := range map[string]struct {
		fault   fakeblob.Fault
		applied bool
		line    string
	}{
		"before": {fakeblob.HangWithoutApplying(), false, "hung"},
		"after":  {fakeblob.HangAfterApplying(), true, `201 etag="0x1" hung`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := fakeblob.New()
				s.Inject(tc.fault)
				var h hooks
				ctx, cancel := context.WithCancel(h.in(t.Context()))
				done := make(chan error, 1)
				go func() {
					_, err := once(s).put(ctx, "a", nil)
					done <- err
				}()
				synctest.Wait() // until the request hangs: a context that ends before that cancels it instead
				require.Empty(t, done)
				cancel()
				require.ErrorIs(t, <-done, context.Canceled)
				_, applied := s.Get("a")
				require.Equal(t, tc.applied, applied)
				h.require(t, 1)
				require.Equal(t, "PUT  /c/a -> "+tc.line+"\n", s.Transcript())
			})
		})
	}
}

// The client's own deadline per try ends a hang, and the next try goes through.
func TestHangEndsWithTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fakeblob.New()
		s.Inject(fakeblob.HangAfterApplying().Once())
		c := caller{s.Client(func(o *container.ClientOptions) { o.Retry.TryTimeout = 20 * time.Millisecond })}
		_, err := c.put(t.Context(), "a", ifNoneMatch("*"))
		requireStatus(t, err, 409, "BlobAlreadyExists")
		require.Equal(t, 2, s.Requests())
	})
}

func TestContextErrors(t *testing.T) {
	const query = "?sv=1&sig=secret"
	t.Run("done before", func(t *testing.T) {
		s := fakeblob.New()
		var h hooks
		ctx, cancel := context.WithCancel(h.in(t.Context()))
		cancel()
		_, err := roundTrip(t, ctx, s, "DELETE", s.URL()+"/a"+query, nil)
		require.Equal(t, &url.Error{Op: "Delete", URL: s.URL() + "/a" + query, Err: context.Canceled}, err)
		h.require(t, 0)
		require.Zero(t, s.Requests())
		require.Empty(t, s.Transcript())
	})
	t.Run("in latency", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := fakeblob.New()
			s.Put("a", nil)
			s.SetLatency(time.Hour)
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			_, err := roundTrip(t, ctx, s, "DELETE", s.URL()+"/a"+query, nil)
			require.Equal(t, &url.Error{Op: "Delete", URL: s.URL() + "/a" + query, Err: context.DeadlineExceeded}, err)
			var ue *url.Error
			require.True(t, errors.As(err, &ue) && ue.Timeout())
			require.Equal(t, []string{"a"}, s.Names())
			require.Equal(t, "DELETE /c/a -> cancelled\n", s.Transcript())
		})
	})
	t.Run("in Before", func(t *testing.T) {
		s := fakeblob.New()
		ctx, cancel := context.WithCancel(t.Context())
		s.Inject(fakeblob.RunBefore(cancel))
		_, err := once(s).put(ctx, "a", nil)
		require.ErrorIs(t, err, context.Canceled)
		require.Empty(t, s.Names())
		require.Equal(t, "PUT  /c/a -> cancelled\n", s.Transcript())
	})
	t.Run("in After", func(t *testing.T) {
		s := fakeblob.New()
		ctx, cancel := context.WithCancel(t.Context())
		s.Inject(fakeblob.RunAfter(cancel))
		_, err := once(s).put(ctx, "a", nil)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, []string{"a"}, s.Names())
		require.Equal(t, "PUT  /c/a -> 201 etag=\"0x1\" cancelled\n", s.Transcript())
	})
}

func TestLatencyLetsRequestsThrough(t *testing.T) {
	s := fakeblob.New()
	s.SetLatency(time.Millisecond)
	_, err := once(s).put(t.Context(), "a", nil)
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, s.Names())
}

// A lost response makes azcore try again, and the second try meets the first one's effect.
func TestRetryAfterLostResponse(t *testing.T) {
	s := fakeblob.New()
	s.Inject(fakeblob.LoseResponse().Once())
	var h hooks
	_, err := caller{s.Client()}.put(h.in(t.Context()), "a", ifNoneMatch("*"))
	requireStatus(t, err, 409, "BlobAlreadyExists")
	h.require(t, 2)
	require.Equal(t, "PUT  /c/a  if-none-match=* -> 201 etag=\"0x1\" dropped\n"+
		"PUT  /c/a  if-none-match=* -> 409 BlobAlreadyExists\n", s.Transcript())
}

// Another writer comes between a request's arrival and its effect, and between its effect and its response.
func TestInterleaving(t *testing.T) {
	s := fakeblob.New()
	c, ctx := once(s), t.Context()
	s.Put("a", nil)
	s.Inject(fakeblob.RunBefore(func() {
		_, err := c.set(ctx, "a", nil, "by", "other")
		require.NoError(t, err)
	}).On(fakeblob.OpIs(fakeblob.SetMetadata)).Once())
	_, err := c.set(ctx, "a", ifMatch("0x1"), "by", "me")
	requireStatus(t, err, 412, "ConditionNotMet")

	s.Inject(fakeblob.RunAfter(func() { s.Put("a", map[string]string{"by": "other"}) }).Once())
	etag, err := c.set(ctx, "a", ifMatch("0x2"), "by", "me")
	require.NoError(t, err)
	require.Equal(t, `"0x3"`, etag)
	b, _ := s.Get("a")
	require.Equal(t, `"0x4"`, b.ETag)
	require.Equal(t, "other", b.Metadata["by"])
}

func TestRetryAfter(t *testing.T) {
	for name, tc := range map[string]struct {
		d      time.Duration
		header string
		value  string
	}{
		"seconds":      {2 * time.Second, "Retry-After", "2"},
		"milliseconds": {1500 * time.Millisecond, "x-ms-retry-after-ms", "1500"},
	} {
		t.Run(name, func(t *testing.T) {
			s := fakeblob.New()
			s.Inject(fakeblob.Busy(tc.d))
			resp, err := roundTrip(t, t.Context(), s, "HEAD", s.URL()+"/a", nil)
			require.NoError(t, err)
			require.Equal(t, tc.value, resp.Header.Get(tc.header))
		})
	}
}

func TestAnswerBodies(t *testing.T) {
	s := fakeblob.New()
	send := func(f fakeblob.Fault) (http.Header, string) {
		s.Inject(f.Once())
		resp, err := roundTrip(t, t.Context(), s, "DELETE", s.URL()+"/a", nil)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.Header, string(body)
	}
	_, body := send(fakeblob.AuthenticationFailed("line one\nline two"))
	require.Contains(t, body, "<AuthenticationErrorDetail>line one&#xA;line two</AuthenticationErrorDetail>")

	header, body := send(fakeblob.StatusWithBody(502, "text/html", "<html>"))
	require.Equal(t, "<html>", body)
	require.Equal(t, "text/html", header.Get("Content-Type"))
	require.Empty(t, header.Get("x-ms-error-code"))
	require.NotEmpty(t, header.Get("Date"))

	_, body = send(fakeblob.Status(500, ""))
	require.Empty(t, body)
}

func TestStripHeaders(t *testing.T) {
	s := fakeblob.New()
	s.Inject(fakeblob.WithoutHeaders("etag", "last-modified"))
	s.Put("a", nil)
	r, err := once(s).client.NewBlobClient("a").GetProperties(t.Context(), nil)
	require.NoError(t, err)
	require.Nil(t, r.ETag)
	require.Nil(t, r.LastModified)
	require.NotNil(t, r.Date)
}

func TestFaultLifetime(t *testing.T) {
	s := fakeblob.New()
	c, ctx := once(s), t.Context()
	codes := func(n int) (all []string) {
		for range n {
			_, err := c.head(ctx, "a", nil)
			var re *azcore.ResponseError
			require.ErrorAs(t, err, &re)
			all = append(all, re.ErrorCode)
		}
		return all
	}
	first := fakeblob.Status(500, "First").Limit(2)
	s.Inject(first)
	remove := s.Inject(fakeblob.Status(500, "Second"))
	require.Equal(t, []string{"First", "First", "Second", "Second"}, codes(4))
	remove()
	remove()
	require.Equal(t, []string{"BlobNotFound"}, codes(1))
	s.Inject(first)
	require.Equal(t, []string{"First", "First", "BlobNotFound"}, codes(3), "a fault is a value: used twice, it counts twice")
}

func TestMatchers(t *testing.T) {
	request := func(method, url string) *http.Request {
		req, err := http.NewRequest(method, "https://h"+url, nil)
		require.NoError(t, err)
		return req
	}
	put := request("PUT", "/c/ns/0")
	set := request("PUT", "/c/ns/0?comp=metadata&sig=s")
	list := request("GET", "/c?restype=container&comp=list&prefix=ns/")
	for name, tc := range map[string]struct {
		m    fakeblob.Matcher
		want [3]bool // put, set, list
	}{
		"Method":   {fakeblob.Method("PUT"), [3]bool{true, true, false}},
		"OpIs one": {fakeblob.OpIs(fakeblob.SetMetadata), [3]bool{false, true, false}},
		"OpIs two": {fakeblob.OpIs(fakeblob.PutBlob, fakeblob.ListBlobs), [3]bool{true, false, true}},
		"BlobIs":   {fakeblob.BlobIs("ns/0"), [3]bool{true, true, false}},
		"BlobIs 1": {fakeblob.BlobIs("ns"), [3]bool{false, false, false}},
		"BlobIs 2": {fakeblob.BlobIs(""), [3]bool{false, false, false}},
		"NameHas":  {fakeblob.NameHas("ns/"), [3]bool{true, true, false}},
		"Host":     {fakeblob.Host("h"), [3]bool{true, true, true}},
		"Host 1":   {fakeblob.Host("other"), [3]bool{false, false, false}},
		"Nth":      {fakeblob.Nth(2, fakeblob.Method("PUT")), [3]bool{false, true, false}},
		"Nth any":  {fakeblob.Nth(3, nil), [3]bool{false, false, true}},
		"All":      {fakeblob.All(fakeblob.Method("PUT"), fakeblob.OpIs(fakeblob.PutBlob)), [3]bool{true, false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tc.want, [3]bool{tc.m(put), tc.m(set), tc.m(list)})
		})
	}
}

// A matcher sees the requests that other faults take, so that Nth counts the requests of a test and not what is left.
func TestNthCountsAllRequests(t *testing.T) {
	s := fakeblob.New()
	s.Inject(fakeblob.Status(500, "First").Once())
	s.Inject(fakeblob.Status(500, "Second").On(fakeblob.Nth(2, nil)))
	c, ctx := once(s), t.Context()
	for _, code := range []string{"First", "Second"} {
		_, err := c.head(ctx, "a", nil)
		requireStatus(t, err, 500, code)
	}
	_, err := c.head(ctx, "a", nil)
	requireStatus(t, err, 404, "BlobNotFound")
}

func TestHosts(t *testing.T) {
	const secondary = "account-secondary.blob.core.windows.net"
	s := fakeblob.New()
	s.Put("a", nil)
	o := &container.ClientOptions{ClientOptions: policy.ClientOptions{Transport: s}}
	o.Retry.MaxRetries = -1
	client, err := container.NewClientWithNoCredential("https://"+secondary+"/c", o)
	require.NoError(t, err)

	var h hooks
	_, err = caller{client}.head(h.in(t.Context()), "a", nil)
	require.ErrorContains(t, err, "no such host")
	h.require(t, 0)
	s.ServeSecondary(secondary)
	_, err = caller{client}.head(h.in(t.Context()), "a", nil)
	require.NoError(t, err)
	s.Inject(fakeblob.RefuseConnection().On(fakeblob.Host(secondary)))
	_, err = caller{client}.head(h.in(t.Context()), "a", nil)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	_, err = once(s).head(t.Context(), "a", nil)
	require.NoError(t, err)
	require.Equal(t, "HEAD /c/a -> no such host\n"+
		"HEAD "+secondary+"/c/a -> 200 etag=\"0x1\"\n"+
		"HEAD "+secondary+"/c/a -> refused\n"+
		"HEAD /c/a -> 200 etag=\"0x1\"\n", s.Transcript())
}
