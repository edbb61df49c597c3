package backend

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"
)

func get(t *testing.T, name string) Backend {
	t.Helper()
	var all Backends
	t.Cleanup(all.Close)
	b, err := all.Get(t.Context(), name)
	require.NoError(t, err)
	again, err := all.Get(t.Context(), name)
	require.NoError(t, err)
	require.Same(t, b, again)
	return b
}

func needs(t *testing.T, name string) {
	t.Helper()
	if name == Azurite && testing.Short() {
		t.Skip("needs Azurite: left out by -short")
	}
}

func open(t *testing.T, c Container) *container.Client {
	t.Helper()
	options := &container.ClientOptions{ClientOptions: c.Options}
	var client *container.Client
	var err error
	if c.Key == nil {
		client, err = container.NewClientWithNoCredential(c.URL, options)
	} else {
		client, err = container.NewClientWithSharedKeyCredential(c.URL, c.Key, options)
	}
	require.NoError(t, err)
	return client
}

func list(t *testing.T, client *container.Client, prefix string) (names []string, pages int) {
	t.Helper()
	pager := client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{
		Prefix: &prefix, Include: container.ListBlobsInclude{Metadata: true},
	})
	for pager.More() {
		page, err := pager.NextPage(context.Background())
		require.NoError(t, err)
		pages++
		for _, item := range page.Segment.BlobItems {
			require.Equal(t, "me", *item.Metadata["ownerid"])
			names = append(names, *item.Name)
		}
	}
	return names, pages
}

// Every back end answers the requests of a store alike.
func TestAnswers(t *testing.T) {
	for _, name := range []string{InProcess, TLS, Azurite} {
		t.Run(name, func(t *testing.T) {
			needs(t, name)
			ctx, b := context.Background(), get(t, name)
			c, err := b.Container(ctx)
			require.NoError(t, err)
			client := open(t, c)
			before := b.Traffic().Requests

			fresh := client.NewBlockBlobClient("ns/" + AbsentHub + "1/group/checkpoint/0")
			_, err = fresh.SetMetadata(ctx, nil, nil)
			require.True(t, bloberror.HasCode(err, bloberror.BlobNotFound), "%v", err)
			_, err = fresh.GetProperties(ctx, nil)
			require.True(t, bloberror.HasCode(err, bloberror.BlobNotFound), "%v", err)
			created, err := fresh.Upload(ctx, streaming.NopCloser(bytes.NewReader(nil)), nil)
			require.NoError(t, err)
			require.NotNil(t, created.ETag)

			there := client.NewBlockBlobClient("ns/hub/group/ownership/0")
			_, err = there.Upload(ctx, streaming.NopCloser(bytes.NewReader(nil)), nil)
			require.NoError(t, err)
			value := "me"
			one, err := there.SetMetadata(ctx, map[string]*string{"ownerid": &value}, nil)
			require.NoError(t, err)
			other, err := there.SetMetadata(ctx, map[string]*string{"ownerid": &value}, &blob.SetMetadataOptions{
				AccessConditions: &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: one.ETag}},
			})
			require.NoError(t, err)
			require.NotEqual(t, *one.ETag, *other.ETag)
			require.NotNil(t, other.LastModified)
			properties, err := there.GetProperties(ctx, nil)
			require.NoError(t, err)
			require.NotEmpty(t, properties.Metadata)
			require.Equal(t, int64(7), b.Traffic().Requests-before)
		})
	}
}

func TestFill(t *testing.T) {
	for _, c := range []struct {
		name         string
		blobs, pages int
	}{{InProcess, 6000, 2}, {TLS, 5, 1}, {Azurite, 5, 1}} {
		t.Run(c.name, func(t *testing.T) {
			needs(t, c.name)
			b := get(t, c.name)
			into, err := b.Container(t.Context())
			require.NoError(t, err)
			require.NoError(t, b.Fill(t.Context(), into, "ns/hub/group/ownership/", c.blobs, map[string]string{"ownerid": "me"}))
			client := open(t, into)
			names, pages := list(t, client, "ns/hub/group/ownership/")
			require.Equal(t, c.pages, pages)
			require.Len(t, names, c.blobs)
			require.Contains(t, names, "ns/hub/group/ownership/4")
			names, _ = list(t, client, "ns/other/group/ownership/")
			require.Empty(t, names)
		})
	}
}

// The requests are written to the connections by hand, as a client may dial once more when it is slow.
func TestTLSCountsConnectionsAndWaits(t *testing.T) {
	b := get(t, TLS)
	c, err := b.Container(t.Context())
	require.NoError(t, err)
	address := strings.TrimSuffix(strings.TrimPrefix(c.URL, "https://"), "/c")
	const latency = 20 * time.Millisecond
	require.NoError(t, b.SetLatency(latency))
	for dialled := range int64(2) {
		conn, err := tls.Dial("tcp", address, nil)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		answers := bufio.NewReader(conn)
		for sent := range int64(3) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, c.URL+"/b", nil)
			require.NoError(t, err)
			begin := time.Now()
			require.NoError(t, req.Write(conn))
			resp, err := http.ReadResponse(answers, req)
			require.NoError(t, err)
			require.GreaterOrEqual(t, time.Since(begin), latency)
			require.Equal(t, http.StatusOK, resp.StatusCode)
			require.Equal(t, Traffic{Requests: 3*dialled + sent + 1, Dialled: dialled + 1}, b.Traffic())
		}
	}
}

func TestLatencyOnlyOverTLS(t *testing.T) {
	b := get(t, InProcess)
	require.NoError(t, b.SetLatency(0))
	require.Error(t, b.SetLatency(time.Millisecond))
	require.Error(t, new(realService).SetLatency(time.Millisecond))
}

func TestUnknownBackend(t *testing.T) {
	_, err := new(Backends).Get(t.Context(), "cloud")
	require.ErrorContains(t, err, `"cloud"`)
}
