package backend

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/bench/internal/parallel"
)

func start(t *testing.T, name string) Backend {
	t.Helper()
	b, err := New(context.Background(), name)
	require.NoError(t, err)
	t.Cleanup(b.Close)
	return b
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
			if name == Azurite && testing.Short() {
				t.Skip("needs Azurite: left out by -short")
			}
			ctx, b := context.Background(), start(t, name)
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
	for _, name := range []string{InProcess, TLS, Azurite} {
		t.Run(name, func(t *testing.T) {
			if name == Azurite && testing.Short() {
				t.Skip("needs Azurite: left out by -short")
			}
			ctx, b := context.Background(), start(t, name)
			c, err := b.Container(ctx)
			require.NoError(t, err)
			require.NoError(t, b.Fill(ctx, c, "ns/hub/group/ownership/", 5, map[string]string{"ownerid": "me"}))
			client := open(t, c)
			names, pages := list(t, client, "ns/hub/group/ownership/")
			require.Equal(t, 1, pages)
			require.Len(t, names, 5)
			require.Contains(t, names, "ns/hub/group/ownership/4")
			names, _ = list(t, client, "ns/other/group/ownership/")
			require.Empty(t, names)
		})
	}
}

func TestLongListsHavePages(t *testing.T) {
	ctx, b := context.Background(), start(t, InProcess)
	c, err := b.Container(ctx)
	require.NoError(t, err)
	require.NoError(t, b.Fill(ctx, c, "ns/hub/group/ownership/", 6000, map[string]string{"ownerid": "me"}))
	names, pages := list(t, open(t, c), "ns/hub/group/ownership/")
	require.Equal(t, 2, pages)
	require.Len(t, names, 6000)
}

func TestTLSCountsConnectionsAndWaits(t *testing.T) {
	ctx, b := context.Background(), start(t, TLS)
	c, err := b.Container(ctx)
	require.NoError(t, err)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 8
	c.Options.Transport = &http.Client{Transport: transport}
	client := open(t, c)
	const latency = 100 * time.Millisecond // enough for all to dial
	require.NoError(t, b.SetLatency(latency))
	round := func() {
		errs := make([]error, 8)
		parallel.Do(8, 8, func(i int) {
			_, errs[i] = client.NewBlobClient("b"+strconv.Itoa(i)).GetProperties(ctx, nil)
		})
		for _, err := range errs {
			require.NoError(t, err)
		}
	}
	begin := time.Now()
	round()
	require.GreaterOrEqual(t, time.Since(begin), latency)
	require.Equal(t, Traffic{Requests: 8, Dialled: 8}, b.Traffic())
	round()
	require.Equal(t, Traffic{Requests: 16, Dialled: 8}, b.Traffic(), "they are used again")
	transport.CloseIdleConnections()
	round()
	require.Equal(t, Traffic{Requests: 24, Dialled: 16}, b.Traffic())
}

func TestLatencyOnlyOverTLS(t *testing.T) {
	b := start(t, InProcess)
	require.NoError(t, b.SetLatency(0))
	require.Error(t, b.SetLatency(time.Millisecond))
	require.Error(t, new(realService).SetLatency(time.Millisecond))
}

func TestUnknownBackend(t *testing.T) {
	_, err := New(context.Background(), "cloud")
	require.ErrorContains(t, err, `"cloud"`)
}
