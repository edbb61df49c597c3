package fakeblob

import (
	"bytes"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const azurePageSize = 5000

// The markers that listings hand out: the name of the first blob of the page behind a word. "full" says that the
// empty page before it has been sent. Clients must treat them as opaque.
const (
	markerNext = "next!"
	markerFull = "full!"
)

// list answers List Blobs. The caller holds s.mu.
func (s *Service) list(c *call) *reply {
	prefix, marker := c.query.Get("prefix"), c.query.Get("marker")
	size, ok := s.sizeOfPage(c.query)
	if !ok {
		return refusal(400, codeInvalidQueryValue)
	}
	from, sentEmpty := strings.CutPrefix(marker, markerFull)
	if !sentEmpty {
		if from, ok = strings.CutPrefix(marker, markerNext); !ok && marker != "" {
			return refusal(400, codeInvalidQueryValue)
		}
	}
	var names []string
	for name := range s.blobs {
		if strings.HasPrefix(name, prefix) && name >= from {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if delimiter := c.query.Get("delimiter"); delimiter != "" {
		return s.listLevel(c.query, names, delimiter, size)
	}

	next := ""
	switch {
	case s.emptyPages && !sentEmpty:
		names, next = nil, markerFull+from
	case len(names) > size:
		names, next = names[:size], markerNext+names[size]
	}
	r := &reply{status: 200, contentType: "application/xml", body: s.page(c.query, names, next)}
	r.note = "blobs=" + strconv.Itoa(len(names))
	if next != "" {
		r.note += " next=" + plain(next)
	}
	return r
}

func (s *Service) sizeOfPage(query url.Values) (size int, ok bool) {
	size = azurePageSize
	if s.pageSize > 0 {
		size = min(size, s.pageSize)
	}
	if asked := query.Get("maxresults"); asked != "" {
		n, err := strconv.Atoi(asked)
		if err != nil || n < 1 {
			return 0, false
		}
		size = min(size, n)
	}
	return size, true
}

func (s *Service) page(query url.Values, names []string, next string) []byte {
	withMetadata := slices.Contains(strings.Split(query.Get("include"), ","), "metadata")
	var b bytes.Buffer
	b.WriteString(xmlStart + `<EnumerationResults ServiceEndpoint="https://` + primaryHost + `/" ContainerName="` +
		containerName + `">`)
	for _, echo := range [...]struct{ parameter, name string }{
		{"prefix", "Prefix"}, {"marker", "Marker"}, {"maxresults", "MaxResults"},
	} {
		if value := query.Get(echo.parameter); value != "" {
			element(&b, echo.name, value)
		}
	}
	if len(names) == 0 {
		b.WriteString("<Blobs />")
	} else {
		b.WriteString("<Blobs>")
		for _, name := range names {
			writeBlob(&b, name, s.blobs[name], withMetadata)
		}
		b.WriteString("</Blobs>")
	}
	element(&b, "NextMarker", next)
	b.WriteString("</EnumerationResults>")
	return b.Bytes()
}

func writeBlob(b *bytes.Buffer, name string, blob *blob, withMetadata bool) {
	b.WriteString("<Blob>")
	if validXML(name) {
		element(b, "Name", name)
	} else {
		b.WriteString(`<Name Encoded="true">` + url.PathEscape(name) + "</Name>")
	}
	state, status := blob.lease()
	b.WriteString("<Properties>")
	element(b, "Creation-Time", httpTime(blob.created))
	element(b, "Last-Modified", httpTime(blob.lastModified))
	element(b, "Etag", strings.Trim(blob.etag, `"`))
	b.WriteString("<Content-Length>0</Content-Length><Content-Type>application/octet-stream</Content-Type>" +
		"<Content-Encoding /><Content-Language /><Content-CRC64 />" +
		"<Content-MD5>1B2M2Y8AsgTpgAmY7PhCfg==</Content-MD5><Cache-Control /><Content-Disposition />" +
		"<BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier><AccessTierInferred>true</AccessTierInferred>")
	element(b, "LeaseStatus", status)
	element(b, "LeaseState", state)
	b.WriteString("<ServerEncrypted>true</ServerEncrypted></Properties>")
	if withMetadata {
		writeMetadata(b, blob.metadata)
	}
	b.WriteString("<OrMetadata /></Blob>")
}

func writeMetadata(b *bytes.Buffer, metadata map[string]string) {
	if len(metadata) == 0 {
		b.WriteString("<Metadata />")
		return
	}
	b.WriteString("<Metadata>")
	for _, name := range slices.Sorted(maps.Keys(metadata)) {
		if validMetadataName(name) {
			element(b, name, metadata[name])
		} else {
			element(b, "x-ms-invalid-name", name)
		}
	}
	b.WriteString("</Metadata>")
}

// validXML tells whether a name can stand in XML as it is.
func validXML(name string) bool {
	return utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == '\uFFFE' || r == '\uFFFF'
	})
}
