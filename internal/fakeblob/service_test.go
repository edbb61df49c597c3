package fakeblob_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/fakeblob"
)

// Each case starts with the blob "present", whose ETag is "0x1", and the leased blob "leased", ETag "0x2".
func TestConditions(t *testing.T) {
	both := ifMatch(`"0x1"`)
	both.ModifiedAccessConditions.IfNoneMatch = ifNoneMatch("*").ModifiedAccessConditions.IfNoneMatch
	const put, set, head, del = "put", "set", "head", "delete"
	for _, tc := range []struct {
		op, blob  string
		condition string // "" none, "both", or "if-match=…", "if-none-match=…"
		status    int    // 0: success
		code      string
	}{
		{put, "absent", "", 0, ""},
		{put, "absent", "if-none-match=*", 0, ""},
		{put, "absent", `if-match="0x1"`, 412, "ConditionNotMet"},
		{put, "absent", "if-match=*", 412, "ConditionNotMet"},
		{put, "present", "", 0, ""},
		{put, "present", "if-none-match=*", 409, "BlobAlreadyExists"},
		{put, "present", `if-none-match="0x1"`, 412, "ConditionNotMet"},
		{put, "present", `if-none-match="0x9"`, 0, ""},
		{put, "present", `if-match="0x1"`, 0, ""},
		{put, "present", "if-match=0x1", 0, ""},
		{put, "present", "if-match=*", 0, ""},
		{put, "present", `if-match="0x9"`, 412, "ConditionNotMet"},
		{put, "present", "both", 400, "MultipleConditionHeadersNotSupported"},
		{put, "leased", "", 412, "LeaseIdMissing"},
		{put, "leased", "if-none-match=*", 412, "LeaseIdMissing"},
		{put, "leased", `if-match="0x2"`, 412, "LeaseIdMissing"},

		{set, "absent", "", 404, "BlobNotFound"},
		{set, "absent", `if-match="0x1"`, 404, "BlobNotFound"},
		{set, "absent", "if-none-match=*", 404, "BlobNotFound"},
		{set, "present", "", 0, ""},
		{set, "present", "if-none-match=*", 0, ""},
		{set, "present", `if-match="0x1"`, 0, ""},
		{set, "present", "if-match=0x1", 0, ""},
		{set, "present", `if-match="0x9"`, 412, "ConditionNotMet"},
		{set, "present", `if-none-match="0x1"`, 412, "ConditionNotMet"},
		{set, "present", "both", 400, "MultipleConditionHeadersNotSupported"},
		{set, "leased", "", 412, "LeaseIdMissing"},
		{set, "leased", `if-match="0x2"`, 412, "LeaseIdMissing"},

		{head, "absent", "", 404, "BlobNotFound"},
		{head, "absent", `if-match="0x1"`, 404, "BlobNotFound"},
		{head, "present", "", 0, ""},
		{head, "present", `if-match="0x9"`, 412, "ConditionNotMet"},
		{head, "present", `if-none-match="0x1"`, 304, "ConditionNotMet"},
		{head, "leased", "", 0, ""},

		{del, "absent", "", 404, "BlobNotFound"},
		{del, "present", "", 0, ""},
		{del, "present", `if-match="0x9"`, 412, "ConditionNotMet"},
		{del, "leased", "", 412, "LeaseIdMissing"},
	} {
		t.Run(fmt.Sprintf("%s %s %s", tc.op, tc.blob, tc.condition), func(t *testing.T) {
			s := fakeblob.New()
			s.Put("present", map[string]string{"old": "1"})
			s.Put("leased", nil)
			s.Lease("leased")
			before, existed := s.Get(tc.blob)

			var condition *blob.AccessConditions
			if tc.condition == "both" {
				condition = both
			} else if etag, ok := strings.CutPrefix(tc.condition, "if-match="); ok {
				condition = ifMatch(etag)
			} else if etag, ok := strings.CutPrefix(tc.condition, "if-none-match="); ok {
				condition = ifNoneMatch(etag)
			}
			c, ctx := once(s), t.Context()
			var etag string
			var err error
			switch tc.op {
			case put:
				etag, err = c.put(ctx, tc.blob, condition, "new", "2")
			case set:
				etag, err = c.set(ctx, tc.blob, condition, "new", "2")
			case head:
				etag, err = c.head(ctx, tc.blob, condition)
			case del:
				etag, err = c.delete(ctx, tc.blob, condition)
			}
			requireStatus(t, err, tc.status, tc.code)

			after, exists := s.Get(tc.blob)
			switch {
			case tc.status != 0 || tc.op == head:
				require.Equal(t, existed, exists)
				require.Equal(t, before, after)
			case tc.op == del:
				require.False(t, exists)
			default:
				require.Equal(t, `"0x3"`, etag)
				require.Equal(t, etag, after.ETag)
				require.Equal(t, map[string]string{"new": "2"}, after.Metadata)
			}
		})
	}
}

func TestMissingContainer(t *testing.T) {
	s := fakeblob.New()
	s.Put("present", nil)
	s.DeleteContainer()
	c, ctx := once(s), t.Context()

	_, err := c.put(ctx, "present", ifNoneMatch("*"))
	requireStatus(t, err, 404, "ContainerNotFound")
	_, err = c.set(ctx, "present", ifMatch("0x1"))
	requireStatus(t, err, 404, "ContainerNotFound")
	_, err = c.head(ctx, "present", nil)
	requireStatus(t, err, 404, "ContainerNotFound")
	_, err = c.delete(ctx, "present", nil)
	requireStatus(t, err, 404, "ContainerNotFound")
	_, err = c.pages(ctx, "")
	requireStatus(t, err, 404, "ContainerNotFound")
	_, err = c.client.GetProperties(ctx, nil)
	requireStatus(t, err, 404, "ContainerNotFound")
	require.Panics(t, func() { s.Put("present", nil) })

	_, err = c.client.Create(ctx, nil)
	require.NoError(t, err)
	require.Empty(t, s.Names())
	_, err = c.client.Create(ctx, nil)
	requireStatus(t, err, 409, "ContainerAlreadyExists")
	r, err := c.client.GetProperties(ctx, nil)
	require.NoError(t, err)
	require.NotNil(t, r.ETag)
	require.NotNil(t, r.LastModified)
}

func TestAnotherContainerIsMissing(t *testing.T) {
	s := fakeblob.New()
	o := &container.ClientOptions{}
	o.Transport = s
	client, err := container.NewClientWithNoCredential(s.URL()+"x", o)
	require.NoError(t, err)
	_, err = caller{client}.put(t.Context(), "a", nil)
	requireStatus(t, err, 404, "ContainerNotFound")
}

func TestMetadata(t *testing.T) {
	s := fakeblob.New()
	c, ctx := once(s), t.Context()
	_, err := c.put(ctx, "a", nil, "ownerid", "", "clientIdentifier", "x")
	require.NoError(t, err)
	b, _ := s.Get("a")
	require.Equal(t, map[string]string{"ownerid": "", "clientIdentifier": "x"}, b.Metadata, "names as sent")

	t.Run("headers come back canonical, as through net/http", func(t *testing.T) {
		r, err := c.client.NewBlobClient("a").GetProperties(ctx, nil)
		require.NoError(t, err)
		require.Equal(t, metadataOf("Ownerid", "", "Clientidentifier", "x"), r.Metadata)
		require.Equal(t, `"0x1"`, string(*r.ETag))
		require.Equal(t, int64(0), *r.ContentLength)
	})
	t.Run("outer spaces are lost on the way, as through net/http", func(t *testing.T) {
		_, err := c.set(ctx, "a", nil, "k", " v ")
		require.NoError(t, err)
		b, _ := s.Get("a")
		require.Equal(t, map[string]string{"k": "v"}, b.Metadata, "replaced, not merged")
	})
	t.Run("a name that is no identifier", func(t *testing.T) {
		_, err := c.set(ctx, "a", nil, "not-valid", "v")
		requireStatus(t, err, 400, "InvalidMetadata")
	})
	t.Run("a line break does not reach the service", func(t *testing.T) {
		requests := s.Requests()
		_, err := c.set(ctx, "a", nil, "k", "v\nw")
		require.ErrorContains(t, err, "invalid header field value")
		require.Equal(t, requests, s.Requests())
	})
}

func TestTimes(t *testing.T) {
	s := fakeblob.New()
	at := time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)
	s.SetClock(func() time.Time { return at })
	c, ctx := once(s), t.Context()
	_, err := c.put(ctx, "a", nil)
	require.NoError(t, err)
	at = at.Add(time.Minute)
	_, err = c.set(ctx, "a", nil)
	require.NoError(t, err)

	r, err := c.client.NewBlobClient("a").GetProperties(ctx, nil)
	require.NoError(t, err)
	require.Equal(t, "2026-01-02T03:05:05Z", r.LastModified.Format(time.RFC3339Nano))
	require.Equal(t, "2026-01-02T03:04:05Z", r.CreationTime.Format(time.RFC3339Nano))
	require.Equal(t, "2026-01-02T03:05:05Z", r.Date.Format(time.RFC3339Nano))

	s.SetLastModified("a", at.Add(time.Hour))
	pages, err := c.pages(ctx, "")
	require.NoError(t, err)
	item := pages[0].Segment.BlobItems[0]
	require.Equal(t, "2026-01-02T04:05:05Z", item.Properties.LastModified.Format(time.RFC3339Nano))
	require.Equal(t, "0x2", string(*item.Properties.ETag), "the ETag stays")
}

func TestErrorResponses(t *testing.T) {
	s := fakeblob.New()
	s.SetClock(func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) })
	for _, tc := range []struct{ method, body string }{
		{http.MethodHead, ""},
		{http.MethodDelete, "\ufeff<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>BlobNotFound</Code><Message>" +
			"The specified blob does not exist.&#xA;RequestId:00000000-0000-0000-0000-000000000002&#xA;" +
			"Time:2026-01-02T03:04:05.0000000Z</Message></Error>"},
	} {
		resp, err := roundTrip(t, t.Context(), s, tc.method, s.URL()+"/a", map[string]string{
			"x-ms-version": "2020-10-02", "x-ms-client-request-id": "mine",
		})
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, tc.body, string(body))
		require.Equal(t, 404, resp.StatusCode)
		require.Equal(t, "BlobNotFound", resp.Header.Get("x-ms-error-code"))
		require.Equal(t, "2020-10-02", resp.Header.Get("x-ms-version"))
		require.Equal(t, "mine", resp.Header.Get("x-ms-client-request-id"))
		require.NotEmpty(t, resp.Header.Get("x-ms-request-id"))
		require.Equal(t, "Fri, 02 Jan 2026 03:04:05 GMT", resp.Header.Get("Date"))
	}
}

func TestUnsupported(t *testing.T) {
	s := fakeblob.New()
	s.Put("a", nil)
	for name, tc := range map[string]struct {
		method, path string
		header       map[string]string
	}{
		"download":       {"GET", "/a", nil},
		"lease":          {"PUT", "/a?comp=lease", nil},
		"lease id":       {"PUT", "/a?comp=metadata", map[string]string{"x-ms-lease-id": "x"}},
		"time condition": {"HEAD", "/a", map[string]string{"If-Modified-Since": "x"}},
		"page blob":      {"PUT", "/b", map[string]string{"x-ms-blob-type": "PageBlob"}},
		"list blob":      {"GET", "/a?restype=container&comp=list", nil},
		"snapshot":       {"PUT", "/a?comp=metadata&snapshot=x", nil},
		"list if":        {"GET", "?restype=container&comp=list", map[string]string{"If-Match": "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := roundTrip(t, t.Context(), s, tc.method, s.URL()+tc.path, tc.header)
			require.NoError(t, err)
			require.Equal(t, 501, resp.StatusCode)
			require.Equal(t, fakeblob.CodeUnsupported, resp.Header.Get("x-ms-error-code"))
		})
	}
	t.Run("content", func(t *testing.T) {
		req, err := http.NewRequest("PUT", s.URL()+"/b", strings.NewReader("text"))
		require.NoError(t, err)
		req.Header.Set("x-ms-blob-type", "BlockBlob")
		resp, err := s.Do(req)
		require.NoError(t, err)
		require.Equal(t, 501, resp.StatusCode)
	})
	require.Equal(t, []string{"a"}, s.Names())
}

func TestPutWithoutBlobType(t *testing.T) {
	s := fakeblob.New()
	resp, err := roundTrip(t, t.Context(), s, "PUT", s.URL()+"/a", nil)
	require.NoError(t, err)
	require.Equal(t, 400, resp.StatusCode)
	require.Equal(t, "MissingRequiredHeader", resp.Header.Get("x-ms-error-code"))
}

func TestDirectAccess(t *testing.T) {
	s := fakeblob.New()
	metadata := map[string]string{"k": "v"}
	require.Equal(t, `"0x1"`, s.Put("b", metadata))
	require.Equal(t, `"0x2"`, s.PutDirectory("a"))
	metadata["k"] = "changed"
	b, ok := s.Get("b")
	require.True(t, ok)
	require.Equal(t, "v", b.Metadata["k"], "copied in")
	b.Metadata["k"] = "changed"
	b, _ = s.Get("b")
	require.Equal(t, "v", b.Metadata["k"], "copied out")
	require.Equal(t, []string{"a", "b"}, s.Names())
	a, _ := s.Get("a")
	require.Equal(t, map[string]string{"hdi_isfolder": "true"}, a.Metadata)

	s.Lease("b")
	b, _ = s.Get("b")
	require.True(t, b.Leased)
	_, err := once(s).set(t.Context(), "b", nil)
	requireStatus(t, err, 412, "LeaseIdMissing")
	s.Break("b")
	_, err = once(s).set(t.Context(), "b", ifMatch(b.ETag))
	require.NoError(t, err, "a lease does not change the ETag")

	s.Delete("b")
	s.Delete("b")
	_, ok = s.Get("b")
	require.False(t, ok)
	require.Panics(t, func() { s.Lease("b") })
	require.Panics(t, func() { s.Break("b") })
	require.Panics(t, func() { s.SetLastModified("b", time.Now()) })
	require.Equal(t, 2, s.Requests(), "those sent through the client")
}
