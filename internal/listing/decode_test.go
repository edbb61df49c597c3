package listing_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/layout"
	"github.com/ea947076/checkpointstore/internal/listing"
)

// entry is a blob as it was listed, in text.
type entry struct {
	name, etag, modified string
	values               layout.Values
}

const modified = "Fri, 02 Jan 2026 03:04:05 GMT"

// decode returns a page that Decode understands.
func decode(body io.Reader) (entries []entry, marker string, err error) {
	marker, err = listing.Decode(body, func(b *listing.Blob) {
		e := entry{name: string(b.Name), etag: string(b.ETag), values: b.Values}
		if !b.LastModified.IsZero() {
			e.modified = b.LastModified.Format("2006-01-02T15:04:05Z07:00")
		}
		entries = append(entries, e)
	})
	return entries, marker, err
}

// values are metadata with those keys.
func values(pairs ...string) layout.Values {
	m := layout.Metadata{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = &pairs[i+1]
	}
	return layout.ValuesOf(m)
}

// page is a body with those entries.
func page(entries string) string {
	return `<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="https://a.example/" ContainerName="c">` +
		`<Prefix>p/</Prefix><Blobs>` + entries + `</Blobs><NextMarker /></EnumerationResults>`
}

// azure and azurite are bodies in the form in which the two send them.
const (
	azure = "\uFEFF" + `<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="https://account.blob.core.windows.net/" ContainerName="checkpoints">` +
		`<Prefix>ns/hub/group/ownership/</Prefix><Blobs><Blob><Name>ns/hub/group/ownership/0</Name><Properties><Creation-Time>Thu, 01 Jan 2026 03:04:05 GMT</Creation-Time>` +
		`<Last-Modified>` + modified + `</Last-Modified><Etag>0x8DE49A1F2B3C4D5</Etag><Content-Length>0</Content-Length><Content-Type>application/octet-stream</Content-Type>` +
		`<Content-Encoding /><Content-Language /><Content-CRC64 /><Content-MD5>1B2M2Y8AsgTpgAmY7PhCfg==</Content-MD5><Cache-Control /><Content-Disposition />` +
		`<BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier><AccessTierInferred>true</AccessTierInferred><LeaseStatus>unlocked</LeaseStatus>` +
		`<LeaseState>available</LeaseState><ServerEncrypted>true</ServerEncrypted></Properties><Metadata><ownerid>a &amp; b</ownerid></Metadata><OrMetadata /></Blob></Blobs>` +
		`<NextMarker>2!92!MDAwMDI4IW5z</NextMarker></EnumerationResults>`

	azurite = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?><EnumerationResults ServiceEndpoint="http://127.0.0.1:10000/devstoreaccount1" ContainerName="c">` +
		`<Prefix>ns/hub/group/ownership/</Prefix><Marker/><MaxResults>5000</MaxResults><Delimiter/><Blobs><Blob><Name>ns/hub/group/ownership/0</Name><Properties>` +
		`<Creation-Time>` + modified + `</Creation-Time><Last-Modified>` + modified + `</Last-Modified><Etag>0x1C5F5A2B3C4D5E0</Etag><Content-Length>0</Content-Length>` +
		`<Content-MD5>1B2M2Y8AsgTpgAmY7PhCfg==</Content-MD5></Properties><Metadata><ownerid/></Metadata></Blob></Blobs><NextMarker/></EnumerationResults>`
)

func TestDecode(t *testing.T) {
	const at = "2026-01-02T03:04:05Z"
	for name, c := range map[string]struct {
		body   string
		want   []entry
		marker string
	}{
		"as Azure sends it":   {azure, []entry{{"ns/hub/group/ownership/0", "0x8DE49A1F2B3C4D5", at, values("ownerid", "a & b")}}, "2!92!MDAwMDI4IW5z"},
		"as Azurite sends it": {azurite, []entry{{"ns/hub/group/ownership/0", "0x1C5F5A2B3C4D5E0", at, values("ownerid", "")}}, ""},
		"no blobs":            {`<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>`, nil, ""},
		"no list":             {`<EnumerationResults/>`, nil, ""},
		"white space":         {" \n<EnumerationResults a='1'\tb=\"2\" >\r\n <Blobs >\n<Blob> <Name>n</Name > </Blob>\n</Blobs></EnumerationResults >\n", []entry{{name: "n"}}, ""},
		"a name with spaces":  {page(`<Blob><Name> a  b </Name></Blob>`), []entry{{name: " a  b "}}, ""},
		"an encoded name":     {page(`<Blob><Name Encoded="true">a%20b%2Fc+d%EF%BF%BE</Name></Blob>`), []entry{{name: "a b/c d\uFFFE"}}, ""},
		"a plain name":        {page(`<Blob><Name Encoded="false">a%20b</Name></Blob>`), []entry{{name: "a%20b"}}, ""},
		"an empty name":       {page(`<Blob><Name /></Blob>`), []entry{{}}, ""},
		"no name":             {page(`<Blob><Properties><Etag>0x1</Etag></Properties></Blob><Blob/>`), nil, ""},
		"references":          {page(`<Blob><Name>&lt;&gt;&amp;&apos;&quot;&#65;&#x42;&#xe9;&#x1F600;</Name></Blob>`), []entry{{name: "<>&'\"ABé😀"}}, ""},
		"text beyond ASCII":   {page(`<Blob><Name>é😀` + "\uFFFD" + `</Name></Blob>`), []entry{{name: "é😀\uFFFD"}}, ""},
		"all metadata": {page(`<Blob><Name>n</Name><Metadata><sequencenumber>1</sequencenumber><Offset>2</Offset><ownerId>o</ownerId><hdi_isfolder>true</hdi_isfolder><x-y.z_1>3</x-y.z_1></Metadata></Blob>`),
			[]entry{{name: "n", values: values("sequencenumber", "1", "offset", "2", "ownerid", "o", "hdi_isfolder", "true")}}, ""},
		"a key twice":               {page(`<Blob><Name>n</Name><Metadata><OwnerId>a</OwnerId><ownerid>b</ownerid></Metadata></Blob>`), []entry{{name: "n", values: values("ownerid", "b")}}, ""},
		"encrypted metadata":        {page(`<Blob><Name>n</Name><Metadata Encrypted="true" /></Blob>`), []entry{{name: "n"}}, ""},
		"elements of later times":   {page(`<New><Blob><Name>x</Name></Blob></New><Blob><Tags><TagSet><Tag><Key>k</Key></Tag></TagSet></Tags><Name>n</Name><New a="1">text<b/>more</New></Blob>`), []entry{{name: "n"}}, ""},
		"a marker with a reference": {`<EnumerationResults><NextMarker>a&amp;b</NextMarker></EnumerationResults>`, nil, "a&b"},
		"two blobs, two times": {page(`<Blob><Name>a</Name><Properties><Last-Modified>` + modified + `</Last-Modified></Properties></Blob>` +
			`<Blob><Name>b</Name><Properties><Last-Modified>Fri, 02 Jan 2026 03:04:06 GMT</Last-Modified></Properties></Blob><Blob><Name>c</Name><Properties><Last-Modified/></Properties></Blob>`),
			[]entry{{name: "a", modified: at}, {name: "b", modified: "2026-01-02T03:04:06Z"}, {name: "c"}}, ""},
		"a snapshot":     {page(`<Blob><Name>a</Name><Snapshot>2026-01-02T03:04:05.1234567Z</Snapshot></Blob><Blob><Name>a</Name></Blob>`), []entry{{name: "a"}}, ""},
		"no snapshot":    {page(`<Blob><Name>a</Name><Snapshot/></Blob>`), []entry{{name: "a"}}, ""},
		"deleted":        {page(`<Blob><Name>a</Name><Deleted>true</Deleted></Blob><Blob><Name>b</Name></Blob>`), []entry{{name: "b"}}, ""},
		"not deleted":    {page(`<Blob><Name>a</Name><Deleted>false</Deleted></Blob><Blob><Name>b</Name><Deleted/></Blob>`), []entry{{name: "a"}, {name: "b"}}, ""},
		"versions only":  {page(`<Blob><Name>a</Name><VersionId>v1</VersionId><HasVersionsOnly>true</HasVersionsOnly></Blob><Blob><Name>b</Name></Blob>`), []entry{{name: "b"}}, ""},
		"an old version": {page(`<Blob><Name>a</Name><VersionId>v1</VersionId><IsCurrentVersion>false</IsCurrentVersion></Blob><Blob><Name>b</Name></Blob>`), []entry{{name: "b"}}, ""},
		"the version":    {page(`<Blob><Name>a</Name><VersionId>v1</VersionId><IsCurrentVersion>true</IsCurrentVersion></Blob>`), []entry{{name: "a"}}, ""},
		"a version":      {page(`<Blob><Name>a</Name><VersionId>v1</VersionId></Blob>`), []entry{{name: "a"}}, ""},
		"no version":     {page(`<Blob><Name>a</Name><VersionId/><IsCurrentVersion>false</IsCurrentVersion></Blob>`), []entry{{name: "a"}}, ""},
		"a directory":    {page(`<Blob><Name>a</Name><Properties><ResourceType>directory</ResourceType></Properties></Blob><Blob><Name>b</Name></Blob>`), []entry{{name: "b"}}, ""},
		"a Directory":    {page(`<Blob><Name>a</Name><Properties><ResourceType>Directory</ResourceType></Properties></Blob>`), nil, ""},
		"a file":         {page(`<Blob><Name>a</Name><Properties><ResourceType>file</ResourceType></Properties></Blob>`), []entry{{name: "a"}}, ""},
		"two reasons":    {page(`<Blob><Name>a</Name><Snapshot>s</Snapshot><Deleted>false</Deleted></Blob><Blob><Name>a</Name><Deleted>true</Deleted><HasVersionsOnly>false</HasVersionsOnly><Properties><ResourceType>file</ResourceType></Properties></Blob>`), nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for how, body := range map[string]io.Reader{
				"at once":                strings.NewReader(c.body),
				"byte by byte":           iotest.OneByteReader(strings.NewReader(c.body)),
				"with the last byte EOF": iotest.DataErrReader(strings.NewReader(c.body)),
			} {
				got, marker, err := decode(body)
				require.NoError(t, err, how)
				require.Equal(t, c.want, got, how)
				require.Equal(t, c.marker, marker, how)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, body := range map[string]string{
		"not XML":               "Service unavailable <br>",
		"HTML":                  "<html><body>proxy</body></html>",
		"another root":          `<Error><Code>x</Code></Error>`,
		"a prefix":              `<a:EnumerationResults xmlns:a="b"></a:EnumerationResults>`,
		"another encoding":      `<?xml version="1.0" encoding="utf-16"?><EnumerationResults/>`,
		"a later XML":           `<?xml version="1.1"?><EnumerationResults/>`,
		"a document type":       `<!DOCTYPE x><EnumerationResults/>`,
		"an entity":             page(`<Blob><Name>&custom;</Name></Blob>`),
		"a reference to NUL":    page(`<Blob><Name>&#0;</Name></Blob>`),
		"a reference to half":   page(`<Blob><Name>&#xD800;</Name></Blob>`),
		"a reference too far":   page(`<Blob><Name>&#x110000;</Name></Blob>`),
		"a reference, signed":   page(`<Blob><Name>&#-1;</Name></Blob>`),
		"an unended reference":  page(`<Blob><Name>a & b</Name></Blob>`),
		"a comment":             page(`<!-- x -->`),
		"character data":        page(`<Blob><Name><![CDATA[x]]></Name></Blob>`),
		"its end in text":       page(`<Blob><Name>]]></Name></Blob>`),
		"an instruction":        page(`<?x y?>`),
		"a wrong end":           page(`<Blob><Name>n</Nam></Blob>`),
		"an end too many":       page(`</Blob>`),
		"an element in text":    page(`<Blob><Name>a<b/></Name></Blob>`),
		"text between":          page(`text`),
		"text behind":           page(``) + "text",
		"another list behind":   page(``) + page(``),
		"a control character":   page("<Blob><Name>\x01</Name></Blob>"),
		"a control in skipped":  page("<Blob><Other>\x01</Other></Blob>"),
		"no UTF-8":              page("<Blob><Name>\xff</Name></Blob>"),
		"U+FFFE":                page("<Blob><Name>\uFFFE</Name></Blob>"),
		"a line break":          page("<Blob><Name>a\r\nb</Name></Blob>"),
		"an empty tag":          page(`<>`),
		"a digit first":         page(`<1/>`),
		"a name beyond ASCII":   page(`<Blob><Metadata><é>1</é></Metadata></Blob>`),
		"an attribute, bare":    page(`<Blob a=b/>`),
		"an attribute, open":    page(`<Blob a="b/>`),
		"an attribute, alone":   page(`<Blob a/>`),
		"spaces around =":       page(`<Blob a = "b"/>`),
		"attributes, joined":    page(`<Blob a="b"c="d"/>`),
		"a reference in one":    page(`<Blob a="&lt;"/>`),
		"a bad encoded name":    page(`<Blob><Name Encoded="true">%zz</Name></Blob>`),
		"two Encodeds":          page(`<Blob><Name Encoded="true" Encoded="false">a%20b</Name></Blob>`),
		"another Encoded":       page(`<Blob><Name Encoded="1">a</Name></Blob>`),
		"a bad time":            page(`<Blob><Properties><Last-Modified>yesterday</Last-Modified></Properties></Blob>`),
		"another zone":          page(`<Blob><Properties><Last-Modified>Fri, 02 Jan 2026 03:04:05 PST</Last-Modified></Properties></Blob>`),
		"two names":             page(`<Blob><Name>a</Name><Name>b</Name></Blob>`),
		"two ETags":             page(`<Blob><Properties><Etag>a</Etag><Etag>b</Etag></Properties></Blob>`),
		"two times":             page(`<Blob><Properties><Last-Modified/><Last-Modified/></Properties></Blob>`),
		"two Properties":        page(`<Blob><Properties/><Properties/></Blob>`),
		"two Metadata":          page(`<Blob><Metadata/><Metadata/></Blob>`),
		"two Snapshots":         page(`<Blob><Snapshot/><Snapshot/></Blob>`),
		"two VersionIds":        page(`<Blob><VersionId/><VersionId/></Blob>`),
		"two IsCurrentVersions": page(`<Blob><IsCurrentVersion/><IsCurrentVersion/></Blob>`),
		"two Deleteds":          page(`<Blob><Deleted/><Deleted/></Blob>`),
		"two HasVersionsOnlys":  page(`<Blob><HasVersionsOnly/><HasVersionsOnly/></Blob>`),
		"two ResourceTypes":     page(`<Blob><Properties><ResourceType/><ResourceType/></Properties></Blob>`),
		"a truth value":         page(`<Blob><Name>a</Name><Deleted>perhaps</Deleted></Blob>`),
		"two Blobs":             `<EnumerationResults><Blobs/><Blobs/></EnumerationResults>`,
		"two NextMarkers":       `<EnumerationResults><NextMarker/><NextMarker/></EnumerationResults>`,
		"too deep":              page(strings.Repeat("<a>", 40) + strings.Repeat("</a>", 40)),
		"metadata in metadata":  page(`<Blob><Metadata><ownerid>1<offset>2</offset></ownerid></Metadata></Blob>`),
		"a slash before >":      page(`<Blob / >`),
		"a text beyond 128 KiB": page(`<Blob><Name>` + strings.Repeat("a", 128<<10) + `</Name></Blob>`),
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := decode(strings.NewReader(body))
			require.ErrorIs(t, err, listing.ErrUnknown)
			require.Less(t, len(err.Error()), 200, "a text of bounded length")
		})
	}
}

func TestCheckRoot(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want error
	}{
		"as Azure sends it":   {azure, nil},
		"as Azurite sends it": {azurite, nil},
		"with a comment":      {"<!-- x --> " + `<EnumerationResults/>`, nil},
		"nothing":             {"", io.ErrUnexpectedEOF},
		"no element":          {`<?xml version="1.0"?> `, io.ErrUnexpectedEOF},
		"HTML":                {"<!DOCTYPE html><html><body/></html>", listing.ErrUnknown},
		"an error":            {`<?xml version="1.0"?><Error><Code>x</Code></Error>`, listing.ErrUnknown},
		"text":                {"busy", listing.ErrUnknown},
		"text before":         {"busy <EnumerationResults/>", listing.ErrUnknown},
		"not XML":             {"<<", listing.ErrUnknown},
		"a long root":         {"<" + strings.Repeat("a", 1000) + "/>", listing.ErrUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			err := listing.CheckRoot([]byte(c.body))
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, c.want)
			require.Less(t, len(err.Error()), 200, "a text of bounded length")
		})
	}
}

// A body that is cut is never taken for a list, wherever the cut is.
func TestDecodeCutShort(t *testing.T) {
	for _, body := range []string{azure, azurite} {
		for i := range len(body) {
			_, _, err := decode(strings.NewReader(body[:i]))
			require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%q", body[:i])
			require.NotErrorIs(t, err, listing.ErrUnknown)
		}
	}
}

func TestDecodeErrorOfTheBody(t *testing.T) {
	broken := errors.New("connection reset")
	for _, at := range []int{0, 10, 200, len(azure) - 1} {
		_, _, err := decode(io.MultiReader(strings.NewReader(azure[:at]), iotest.ErrReader(broken)))
		require.ErrorIs(t, err, broken)
	}
	_, _, err := decode(stuck{})
	require.ErrorIs(t, err, io.ErrNoProgress)
}

// stuck is a reader that gives nothing and never ends.
type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

// Texts up to the limit pass, wherever in the buffer they begin.
func TestDecodeLongText(t *testing.T) {
	for _, length := range []int{16<<10 - 1, 16 << 10, 16<<10 + 1, 64 << 10, 128<<10 - 1} {
		name := strings.Repeat("n", length)
		got, _, err := decode(iotest.HalfReader(strings.NewReader(page(`<Blob><Name>` + name + `</Name></Blob>`))))
		require.NoError(t, err, length)
		require.Equal(t, []entry{{name: name}}, got)
	}
}

// bodyOf has n ownership records.
func bodyOf(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `<Blob><Name>ns.servicebus.windows.net/hub/group/ownership/%d</Name><Properties><Creation-Time>%s</Creation-Time><Last-Modified>%s</Last-Modified>`+
			`<Etag>0x8DE49A1F2B3C%03X</Etag><Content-Length>0</Content-Length><Content-Type>application/octet-stream</Content-Type><Content-Encoding /><Content-Language />`+
			`<Content-CRC64 /><Content-MD5>1B2M2Y8AsgTpgAmY7PhCfg==</Content-MD5><Cache-Control /><Content-Disposition /><BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier>`+
			`<AccessTierInferred>true</AccessTierInferred><LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState><ServerEncrypted>true</ServerEncrypted></Properties>`+
			`<Metadata><ownerid>4f7b0a5c-8f0e-4f43-9a43-%012d</ownerid></Metadata><OrMetadata /></Blob>`, i, modified, modified, i%4096, i)
	}
	return []byte(page(b.String()))
}

// The memory that a page takes does not grow with its blobs: what is kept of them
// is for add to say.
func TestDecodeKeepsNothing(t *testing.T) {
	blobs := 0
	allocations := func(body []byte) float64 {
		return testing.AllocsPerRun(10, func() {
			_, err := listing.Decode(bytes.NewReader(body), func(*listing.Blob) { blobs++ })
			require.NoError(t, err)
		})
	}
	few, many := allocations(bodyOf(10)), allocations(bodyOf(1000))
	require.Equal(t, 11*(10+1000), blobs)
	require.Less(t, many-few, 1000.0, "one allocation for each blob, its owner, and a few as buffers grow")
}

// BenchmarkDecode:
//
//	go test -run '^$' -bench Decode -benchmem ./internal/listing
func BenchmarkDecode(b *testing.B) {
	body := bodyOf(1024)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := listing.Decode(bytes.NewReader(body), func(*listing.Blob) {}); err != nil {
			b.Fatal(err)
		}
	}
}
