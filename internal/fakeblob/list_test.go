package fakeblob_test

import (
	"io"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/fakeblob"
)

func TestListXML(t *testing.T) {
	s := fakeblob.New()
	s.SetClock(func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) })
	s.Put("p/a", map[string]string{"ownerid": "", "k": "<&>"})
	s.Put("p/b", nil)
	s.Put("q", nil)
	resp, err := roundTrip(t, t.Context(), s, "GET",
		s.URL()+"?comp=list&restype=container&prefix=p%2F&include=metadata&maxresults=7", nil)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	const properties = `<Content-Length>0</Content-Length><Content-Type>application/octet-stream</Content-Type>` +
		`<Content-Encoding /><Content-Language /><Content-CRC64 /><Content-MD5>1B2M2Y8AsgTpgAmY7PhCfg==</Content-MD5>` +
		`<Cache-Control /><Content-Disposition /><BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier>` +
		`<AccessTierInferred>true</AccessTierInferred><LeaseStatus>unlocked</LeaseStatus>` +
		`<LeaseState>available</LeaseState><ServerEncrypted>true</ServerEncrypted></Properties>`
	const times = `<Creation-Time>Fri, 02 Jan 2026 03:04:05 GMT</Creation-Time>` +
		`<Last-Modified>Fri, 02 Jan 2026 03:04:05 GMT</Last-Modified>`
	require.Equal(t, "\ufeff"+`<?xml version="1.0" encoding="utf-8"?>`+
		`<EnumerationResults ServiceEndpoint="https://account.blob.core.windows.net/" ContainerName="c">`+
		`<Prefix>p/</Prefix><MaxResults>7</MaxResults><Blobs>`+
		`<Blob><Name>p/a</Name><Properties>`+times+`<Etag>0x1</Etag>`+properties+
		`<Metadata><k>&lt;&amp;&gt;</k><ownerid /></Metadata><OrMetadata /></Blob>`+
		`<Blob><Name>p/b</Name><Properties>`+times+`<Etag>0x2</Etag>`+properties+
		`<Metadata /><OrMetadata /></Blob>`+
		`</Blobs><NextMarker /></EnumerationResults>`, string(body))
}

func TestListThroughClient(t *testing.T) {
	s := fakeblob.New()
	c, ctx := once(s), t.Context()
	s.Put("p/1", map[string]string{"ownerid": "", "k": " é&\t"})
	s.Put("p/0", nil)
	s.Put("p/odd\x01", map[string]string{"not-valid": "v"})
	s.PutDirectory("p")
	s.Lease("p/0")

	pages, err := c.pages(ctx, "p")
	require.NoError(t, err)
	require.Equal(t, [][]string{{"p", "p/0", "p/1", "p/odd\x01"}}, namesIn(pages), "in order, the directory too")
	items := pages[0].Segment.BlobItems
	require.Equal(t, metadataOf("hdi_isfolder", "true"), items[0].Metadata)
	require.Empty(t, items[1].Metadata)
	require.Equal(t, "locked", string(*items[1].Properties.LeaseStatus))
	require.Equal(t, metadataOf("ownerid", "", "k", " é&\t"), items[2].Metadata)
	require.Equal(t, "0x1", string(*items[2].Properties.ETag), "no quotes")
	require.Equal(t, metadataOf("x-ms-invalid-name", "not-valid"), items[3].Metadata)

	pages, err = c.pages(ctx, "p/")
	require.NoError(t, err)
	require.Len(t, pages[0].Segment.BlobItems, 3, "no directory")

	t.Run("without metadata", func(t *testing.T) {
		page, err := c.client.NewListBlobsFlatPager(nil).NextPage(ctx)
		require.NoError(t, err)
		require.Nil(t, page.Segment.BlobItems[2].Metadata)
	})
}

func TestPaging(t *testing.T) {
	s := fakeblob.New()
	c, ctx := once(s), t.Context()
	list := func() [][]string {
		pages, err := c.pages(ctx, "")
		require.NoError(t, err)
		return namesIn(pages)
	}
	require.Equal(t, [][]string{{}}, list())
	for _, name := range []string{"c", "a", "b"} {
		s.Put(name, nil)
	}
	s.SetPageSize(2)
	require.Equal(t, [][]string{{"a", "b"}, {"c"}}, list())
	s.SetPageSize(3)
	require.Equal(t, [][]string{{"a", "b", "c"}}, list())

	s.SetPageSize(2)
	s.SetEmptyPages(true)
	require.Equal(t, [][]string{{}, {"a", "b"}, {}, {"c"}}, list())
	s.SetEmptyPages(false)

	t.Run("maxresults lowers the page size", func(t *testing.T) {
		pager := c.client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{MaxResults: to.Ptr(int32(1))})
		page, err := pager.NextPage(ctx)
		require.NoError(t, err)
		require.Len(t, page.Segment.BlobItems, 1)
		require.NotEmpty(t, *page.NextMarker)
	})
	t.Run("a page begins at its marker, whatever was deleted", func(t *testing.T) {
		pager := c.client.NewListBlobsFlatPager(nil)
		_, err := pager.NextPage(ctx)
		require.NoError(t, err)
		s.Delete("c")
		s.Put("d", nil)
		page, err := pager.NextPage(ctx)
		require.NoError(t, err)
		require.Equal(t, [][]string{{"d"}}, namesIn([]container.ListBlobsFlatResponse{page}))
	})
	for _, query := range []string{"marker=made-up", "maxresults=0", "maxresults=x"} {
		t.Run(query, func(t *testing.T) {
			resp, err := roundTrip(t, ctx, s, "GET", s.URL()+"?comp=list&restype=container&"+query, nil)
			require.NoError(t, err)
			require.Equal(t, 400, resp.StatusCode)
		})
	}
}
