package fakeblob_test

import (
	"context"
	"net"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
)

func TestTranscript(t *testing.T) {
	const blob = "ns.example/hub/$default/ownership/0"
	s := fakeblob.New()
	s.SetPageSize(1)
	o := &container.ClientOptions{ClientOptions: policy.ClientOptions{Transport: s}}
	o.Retry.RetryDelay = time.Millisecond
	client, err := container.NewClientWithNoCredential(s.URL()+"?sv=2024&sig=secret", o)
	require.NoError(t, err)
	c, ctx := caller{client}, t.Context()

	_, _ = c.set(ctx, blob, ifMatch("0x9"), "ownerid", "a")
	_, _ = c.put(ctx, blob, ifNoneMatch("*"), "sequencenumber", "1", "ownerid", "é \"b\"")
	_, _ = c.put(ctx, blob, ifNoneMatch("*"), "ownerid", "")
	_, _ = c.set(ctx, blob, ifMatch(`"0x1"`), "ownerid", "a")
	_, _ = c.put(ctx, "with space", nil)
	_, _ = c.head(ctx, blob, nil)
	_, _ = c.head(ctx, "absent", nil)
	_, _ = c.pages(ctx, "ns.example/hub/")
	_, _ = c.pages(ctx, "")
	_, _ = c.delete(ctx, blob, nil)
	_, _ = client.Create(ctx, nil)
	_, _ = client.GetProperties(ctx, nil)
	s.Inject(faults.LoseResponse().Once())
	_, err = client.NewBlobClient("x").Delete(ctx, nil)
	requireStatus(t, err, 404, "BlobNotFound")

	require.Equal(t, strings.TrimPrefix(`
PUT  /c/ns.example/hub/$default/ownership/0 ?comp=metadata  if-match=0x9  ownerid="a" -> 404 BlobNotFound
PUT  /c/ns.example/hub/$default/ownership/0  if-none-match=*  ownerid="é \"b\"" sequencenumber="1" -> 201 etag="0x1"
PUT  /c/ns.example/hub/$default/ownership/0  if-none-match=*  ownerid="" -> 409 BlobAlreadyExists
PUT  /c/ns.example/hub/$default/ownership/0 ?comp=metadata  if-match="0x1"  ownerid="a" -> 200 etag="0x2"
PUT  "/c/with space" -> 201 etag="0x3"
HEAD /c/ns.example/hub/$default/ownership/0 -> 200 etag="0x2"
HEAD /c/absent -> 404 BlobNotFound
GET  /c ?comp=list&restype=container&prefix=ns.example/hub/&include=metadata -> 200 blobs=1
GET  /c ?comp=list&restype=container&prefix=&include=metadata -> 200 blobs=1 next="next!with space"
GET  /c ?comp=list&restype=container&prefix=&marker="next!with space"&include=metadata -> 200 blobs=1
DELETE /c/ns.example/hub/$default/ownership/0 -> 202
PUT  /c ?restype=container -> 409 ContainerAlreadyExists
GET  /c ?restype=container -> 200 etag="0xC"
DELETE /c/x -> 404 BlobNotFound dropped
DELETE /c/x -> 404 BlobNotFound
`, "\n"), s.Transcript())
	require.Equal(t, 15, s.Requests())
	require.Equal(t, 3, s.Count(faults.PutBlob))
	require.Equal(t, 2, s.Count(faults.SetMetadata))
	require.Equal(t, 2, s.Count(faults.GetProperties))
	require.Equal(t, 3, s.Count(faults.DeleteBlob))
	require.Equal(t, 3, s.Count(faults.ListBlobs))
	require.Equal(t, 1, s.Count(faults.CreateContainer))
	require.Equal(t, 1, s.Count(faults.GetContainerProperties))
	require.Equal(t, 0, s.Count(faults.Unsupported))

	s.Reset()
	require.Empty(t, s.Transcript())
	require.Zero(t, s.Requests())
	require.Zero(t, s.Count(faults.PutBlob))
	require.Zero(t, s.Peak())
	require.Equal(t, []string{"with space"}, s.Names(), "the blobs stay")
}

func TestRecordingOff(t *testing.T) {
	s := fakeblob.New()
	s.SetRecording(false)
	_, err := once(s).put(t.Context(), "a", nil)
	require.NoError(t, err)
	require.Empty(t, s.Transcript())
	require.Equal(t, 1, s.Requests())
	s.SetRecording(true)
	_, err = once(s).head(t.Context(), "a", nil)
	require.NoError(t, err)
	require.Equal(t, "HEAD /c/a -> 200 etag=\"0x1\"\n", s.Transcript())
}

func TestPeakAndPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fakeblob.New()
		c := once(s)
		const n = 5
		remove := s.Inject(faults.HangWithoutApplying().Before(func() { time.Sleep(time.Second) }))
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		for range n {
			done.Go(func() { _, _ = c.head(ctx, "a", nil) })
		}
		synctest.Wait()
		require.Equal(t, strings.Repeat("HEAD /c/a -> pending\n", n), s.Transcript())
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, strings.Repeat("HEAD /c/a -> hung\n", n), s.Transcript())
		remove()
		_, _ = c.head(ctx, "b", nil)
		require.Equal(t, n+1, s.Peak())
		s.Reset()
		require.Equal(t, n, s.Peak(), "those still in flight")
		cancel()
		done.Wait()
		s.Reset()
		_, _ = c.head(t.Context(), "b", nil)
		require.Equal(t, 1, s.Peak())
	})
}

// A request that fails before it starts leaves no trace. Its error is that of net/http.
func TestContextDoneBefore(t *testing.T) {
	s := fakeblob.New()
	ctx, cancel := context.WithCancel(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		GetConn: func(string) { t.Error("asked for a connection") },
	}))
	cancel()
	const query = "?sv=1&sig=secret"
	_, err := roundTrip(t, ctx, s, "DELETE", s.URL()+"/a"+query, nil)
	require.Equal(t, &url.Error{Op: "Delete", URL: s.URL() + "/a" + query, Err: context.Canceled}, err)
	require.Zero(t, s.Requests())
	require.Empty(t, s.Transcript())
}

func TestHosts(t *testing.T) {
	const secondary = "account-secondary.blob.core.windows.net"
	s := fakeblob.New()
	s.Put("a", nil)
	var asked, had int
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		GetConn: func(string) { asked++ },
		GotConn: func(httptrace.GotConnInfo) { had++ },
	})
	head := func() (err error) {
		_, err = roundTrip(t, ctx, s, "HEAD", "https://"+secondary+"/c/a", nil)
		return err
	}
	var lookup *net.DNSError
	require.ErrorAs(t, head(), &lookup)
	require.Equal(t, [2]int{1, 0}, [2]int{asked, had})
	s.ServeSecondary(secondary)
	require.NoError(t, head())
	require.Equal(t, [2]int{2, 1}, [2]int{asked, had})
	s.Inject(faults.RefuseConnection().On(faults.Host(secondary)))
	require.ErrorIs(t, head(), syscall.ECONNREFUSED)
	_, err := once(s).head(ctx, "a", nil)
	require.NoError(t, err)
	require.Equal(t, "HEAD /c/a -> no such host\n"+
		"HEAD "+secondary+"/c/a -> 200 etag=\"0x1\"\n"+
		"HEAD "+secondary+"/c/a -> refused\n"+
		"HEAD /c/a -> 200 etag=\"0x1\"\n", s.Transcript())
}
