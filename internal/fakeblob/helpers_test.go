package fakeblob_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/fakeblob"
)

// caller sends requests through azblob and returns their ETag and error.
type caller struct{ client *container.Client }

func noRetries(o *container.ClientOptions) { o.Retry.MaxRetries = -1 }

// once returns a caller that sends each request one time.
func once(s *fakeblob.Service) caller { return caller{s.Client(noRetries)} }

func ifMatch(etag string) *blob.AccessConditions {
	return &blob.AccessConditions{
		ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: to.Ptr(azcore.ETag(etag))},
	}
}

func ifNoneMatch(etag string) *blob.AccessConditions {
	return &blob.AccessConditions{
		ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETag(etag))},
	}
}

func metadataOf(pairs ...string) map[string]*string {
	m := map[string]*string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = &pairs[i+1]
	}
	return m
}

func (c caller) put(
	ctx context.Context, name string, conditions *blob.AccessConditions, metadata ...string,
) (string, error) {
	r, err := c.client.NewBlockBlobClient(name).Upload(ctx, nil, &blockblob.UploadOptions{
		Metadata: metadataOf(metadata...), AccessConditions: conditions,
	})
	return etagText(r.ETag), err
}

func (c caller) set(
	ctx context.Context, name string, conditions *blob.AccessConditions, metadata ...string,
) (string, error) {
	r, err := c.client.NewBlobClient(name).SetMetadata(ctx, metadataOf(metadata...), &blob.SetMetadataOptions{
		AccessConditions: conditions,
	})
	return etagText(r.ETag), err
}

func (c caller) head(ctx context.Context, name string, conditions *blob.AccessConditions) (string, error) {
	r, err := c.client.NewBlobClient(name).GetProperties(ctx, &blob.GetPropertiesOptions{AccessConditions: conditions})
	return etagText(r.ETag), err
}

func (c caller) delete(ctx context.Context, name string, conditions *blob.AccessConditions) (string, error) {
	_, err := c.client.NewBlobClient(name).Delete(ctx, &blob.DeleteOptions{AccessConditions: conditions})
	return "", err
}

// pages lists every page, with metadata.
func (c caller) pages(ctx context.Context, prefix string) ([]container.ListBlobsFlatResponse, error) {
	pager := c.client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{
		Prefix: &prefix, Include: container.ListBlobsInclude{Metadata: true},
	})
	var pages []container.ListBlobsFlatResponse
	for pager.More() {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return pages, err
		}
		pages = append(pages, page)
	}
	return pages, nil
}

func namesIn(pages []container.ListBlobsFlatResponse) [][]string {
	var all [][]string
	for _, page := range pages {
		names := []string{}
		for _, item := range page.Segment.BlobItems {
			names = append(names, *item.Name)
		}
		all = append(all, names)
	}
	return all
}

func etagText(etag *azcore.ETag) string {
	if etag == nil {
		return ""
	}
	return string(*etag)
}

// requireStatus checks an error's status and code; status 0 means no error.
func requireStatus(t *testing.T, err error, status int, code string) {
	t.Helper()
	if status == 0 {
		require.NoError(t, err)
		return
	}
	var re *azcore.ResponseError
	require.ErrorAs(t, err, &re)
	require.Equal(t, status, re.StatusCode)
	require.Equal(t, code, re.ErrorCode)
}

// roundTrip sends a request made by hand, past azblob.
func roundTrip(
	t *testing.T, ctx context.Context, s *fakeblob.Service, method, url string, header map[string]string,
) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	require.NoError(t, err)
	for name, value := range header {
		req.Header[name] = []string{value}
	}
	return s.Do(req)
}
