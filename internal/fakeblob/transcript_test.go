package fakeblob_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/fakeblob"
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
	s.Inject(fakeblob.LoseResponse().Once())
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
	require.Equal(t, 3, s.Count(fakeblob.PutBlob))
	require.Equal(t, 2, s.Count(fakeblob.SetMetadata))
	require.Equal(t, 2, s.Count(fakeblob.GetProperties))
	require.Equal(t, 3, s.Count(fakeblob.DeleteBlob))
	require.Equal(t, 3, s.Count(fakeblob.ListBlobs))
	require.Equal(t, 1, s.Count(fakeblob.CreateContainer))
	require.Equal(t, 1, s.Count(fakeblob.GetContainerProperties))
	require.Equal(t, 0, s.Count(fakeblob.Unsupported))

	s.Reset()
	require.Empty(t, s.Transcript())
	require.Zero(t, s.Requests())
	require.Zero(t, s.Count(fakeblob.PutBlob))
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
	s := fakeblob.New()
	c := once(s)
	const n = 5
	var arrived, done sync.WaitGroup
	arrived.Add(n)
	fault := fakeblob.HangWithoutApplying()
	fault.Before = func() { arrived.Done() }
	remove := s.Inject(fault)
	ctx, cancel := context.WithCancel(t.Context())
	for range n {
		done.Go(func() { _, _ = c.head(ctx, "a", nil) })
	}
	arrived.Wait()
	remove()
	s.Inject(fakeblob.RunBefore(func() { require.Contains(t, s.Transcript(), "HEAD /c/b -> pending\n") }))
	_, _ = c.head(ctx, "b", nil)
	require.Equal(t, n+1, s.Peak())
	s.Reset()
	require.Equal(t, n, s.Peak(), "those still in flight")
	cancel()
	done.Wait()
	s.Reset()
	_, _ = c.head(t.Context(), "b", nil)
	require.Equal(t, 1, s.Peak())
}

func BenchmarkParallelSetMetadata(b *testing.B) {
	s := fakeblob.New()
	s.SetRecording(false)
	s.Put("a", nil)
	client := s.Client().NewBlobClient("a")
	metadata := metadataOf("ownerid", "a")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := client.SetMetadata(context.Background(), metadata, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}
