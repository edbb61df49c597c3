package listing_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/layout"
	"github.com/ea947076/checkpointstore/internal/listing"
)

// responding is a transport with one response.
type responding []byte

func (body responding) Do(req *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/xml"}}, Body: io.NopCloser(bytes.NewReader(body)), Request: req,
	}, nil
}

// byAzblob is what azblob makes of a body.
func byAzblob(body []byte) (entries []entry, marker string, err error) {
	options := &container.ClientOptions{ClientOptions: policy.ClientOptions{Transport: responding(body), Retry: policy.RetryOptions{MaxRetries: -1}}}
	client, err := container.NewClientWithNoCredential("https://account.example/c", options)
	if err != nil {
		return nil, "", err
	}
	response, err := client.NewListBlobsFlatPager(nil).NextPage(context.Background())
	if err != nil {
		return nil, "", err
	}
	if response.NextMarker != nil {
		marker = *response.NextMarker
	}
	if response.Segment == nil {
		return nil, marker, nil
	}
	for _, item := range response.Segment.BlobItems {
		if item.Name == nil || !isCurrent(item) {
			continue
		}
		e := entry{name: *item.Name, values: layout.ValuesOf(item.Metadata)}
		if item.Properties != nil && item.Properties.ETag != nil {
			e.etag = string(*item.Properties.ETag)
		}
		if item.Properties != nil && item.Properties.LastModified != nil && !item.Properties.LastModified.IsZero() {
			e.modified = item.Properties.LastModified.UTC().Format("2006-01-02T15:04:05Z07:00")
		}
		entries = append(entries, e)
	}
	return entries, marker, nil
}

// isCurrent tells whether an entry is a blob as it is now.
func isCurrent(item *container.BlobItem) bool {
	is := func(b *bool) bool { return b != nil && *b }
	has := func(s *string) bool { return s != nil && *s != "" }
	old := has(item.VersionID) && item.IsCurrentVersion != nil && !*item.IsCurrentVersion
	directory := item.Properties != nil && item.Properties.ResourceType != nil && strings.EqualFold(*item.Properties.ResourceType, "directory")
	return !is(item.Deleted) && !is(item.HasVersionsOnly) && !has(item.Snapshot) && !old && !directory
}

// compare holds Decode to what azblob makes of the same body. Decode may refuse
// a body, and may take one with a property that azblob cannot read and Decode
// does not look at, as long as it is XML; what both take, they take for the same.
func compare(t *testing.T, body []byte) {
	t.Helper()
	got, marker, err := decode(bytes.NewReader(body))
	if err != nil {
		if !errors.Is(err, listing.ErrUnknown) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%q: %v is neither", body, err)
		}
		return
	}
	want, wantMarker, err := byAzblob(body)
	if err != nil {
		if err := wellFormed(body); err != nil {
			t.Fatalf("%q is not XML: %v", body, err)
		}
		return
	}
	require.Equal(t, want, got, "%q", body)
	require.Equal(t, wantMarker, marker, "%q", body)
}

func wellFormed(body []byte) error {
	for d := xml.NewDecoder(bytes.NewReader(body)); ; {
		if _, err := d.Token(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// FuzzDecode compares with azblob on any body.
func FuzzDecode(f *testing.F) {
	for _, body := range []string{
		azure, azurite, page(""), `<EnumerationResults/>`, string(bodyOf(3)),
		page(`<Blob><Name Encoded="true">a%20b+c</Name></Blob>`),
		page(`<Blob><Name Encoded="true" Encoded="false">a%20b+c</Name></Blob>`),
		page(`<Blob><Name>n</Name><Metadata><OwnerId>a</OwnerId><ownerid>b</ownerid><offset/></Metadata></Blob>`),
		page(`<Blob><Name>&lt;&#x42;&#13;</Name><Properties><Last-Modified>` + modified + `</Last-Modified><Etag>"x"</Etag></Properties></Blob>`),
		page(`<Blob><Name>n</Name><Properties><Content-Length>many</Content-Length></Properties></Blob>`),
		page(`<Blob><Name>n</Name><Metadata Encrypted="true"/><Deleted>true</Deleted></Blob><BlobPrefix><Name>x</Name></BlobPrefix>`),
		page(`<Blob><Name/><Tags><TagSet><Tag><Key>k</Key></Tag></TagSet></Tags></Blob>`),
		page(`<Blob><Name>n</Name><Snapshot>2026-01-02T03:04:05.0000000Z</Snapshot></Blob><Blob><Name>n</Name><VersionId>2026</VersionId><IsCurrentVersion/></Blob>` +
			`<Blob><Name>n</Name><HasVersionsOnly>1</HasVersionsOnly><Properties><ResourceType>Directory</ResourceType></Properties></Blob>`),
		strings.Replace(page(`<Blob><Name>n</Name></Blob>`), "<NextMarker />", "<NextMarker> a&amp;b\n</NextMarker><MaxResults>x</MaxResults>", 1),
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) { compare(t, body) })
}

// TestDecodeUnused: a property that is not used may be anything. (azblob fails
// the whole list.)
func TestDecodeUnused(t *testing.T) {
	body := page(`<Blob><Name>n</Name><Properties><Content-Length>many</Content-Length></Properties></Blob>`)
	_, _, err := byAzblob([]byte(body))
	require.Error(t, err)
	got, _, err := decode(strings.NewReader(body))
	require.NoError(t, err)
	require.Equal(t, []entry{{name: "n"}}, got)
}

// FuzzDecodeParts puts any text where the parts of an entry are.
func FuzzDecodeParts(f *testing.F) {
	f.Add("p/0", "0x8D", modified, "ownerid", "me", "2!8")
	f.Add(" &lt; ", `"x"`, "", "OwnerId", "&#65;", "&amp;")
	f.Add("a</Name><Name>b", "<", "Fri, 02 Jan 2026 03:04:05 PST", `k a="b"`, "<x/>", "")
	f.Add("é", "\r\n", "Fri,  2 Jan 2026 3:04:05 GMT", "offset/", "]]>", " ")
	f.Fuzz(func(t *testing.T, name, etag, lastModified, key, value, marker string) {
		compare(t, []byte(`<EnumerationResults><Blobs><Blob><Name>`+name+`</Name><Properties><Last-Modified>`+lastModified+`</Last-Modified><Etag>`+etag+
			`</Etag></Properties><Metadata><`+key+`>`+value+`</`+key+`></Metadata></Blob></Blobs><NextMarker>`+marker+`</NextMarker></EnumerationResults>`))
	})
}

// TestDecodeLikeAzblob compares bodies in which some tokens of a list are left
// out, said twice, or changed for others.
func TestDecodeLikeAzblob(t *testing.T) {
	tokens := regexp.MustCompile(`<[^>]*>|[^<]+`).FindAllString(azure+azurite, -1)
	tokens = append(tokens, "\r\n", " ", "&amp;", "&x;", "&#10;", "<!--x-->", "<![CDATA[x]]>", "]]>", "é", "\x00", `<Name Encoded="true">`, "<x:y>", "</x:y>", "<Blob/>", "%41+b")
	random := rand.New(rand.NewPCG(1, 2))
	understood := 0
	for range 20_000 {
		body := []string{azure, azurite, page(string(bodyOf(2)))}[random.IntN(3)]
		parts := regexp.MustCompile(`<[^>]*>|[^<]+`).FindAllString(body, -1)
		for range 1 + random.IntN(3) {
			i := random.IntN(len(parts))
			switch random.IntN(4) {
			case 0:
				parts = slices.Delete(parts, i, i+1)
			case 1:
				parts = slices.Insert(parts, i, tokens[random.IntN(len(tokens))])
			case 2:
				parts[i] = tokens[random.IntN(len(tokens))]
			case 3:
				j := random.IntN(len(parts))
				parts[i], parts[j] = parts[j], parts[i]
			}
		}
		changed := []byte(strings.Join(parts, ""))
		compare(t, changed)
		if _, _, err := decode(bytes.NewReader(changed)); err == nil {
			understood++
		}
	}
	require.Greater(t, understood, 500, "bodies that both can be compared on")
}
