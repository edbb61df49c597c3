package fakeblob

import (
	"bytes"
	"net/url"
	"strconv"
	"strings"
)

// listLevel answers List Blobs with a delimiter: of the given names, those without the delimiter behind the prefix as
// blobs, and what the others have up to it as prefixes, each once. A page counts both. The caller holds s.mu.
func (s *Service) listLevel(query url.Values, names []string, delimiter string, size int) *reply {
	prefix := query.Get("prefix")
	var entries bytes.Buffer
	count, next, last := 0, "", ""
	for _, name := range names {
		behind, _, deeper := strings.Cut(name[len(prefix):], delimiter)
		below := prefix + behind + delimiter
		if deeper && below == last {
			continue
		}
		if count == size {
			next = markerNext + name
			break
		}
		count++
		if !deeper {
			writeBlob(&entries, name, s.blobs[name], false)
			continue
		}
		last = below
		entries.WriteString("<BlobPrefix>")
		element(&entries, "Name", below)
		entries.WriteString("</BlobPrefix>")
	}
	var b bytes.Buffer
	b.WriteString(xmlStart + `<EnumerationResults ServiceEndpoint="https://` + primaryHost + `/" ContainerName="` +
		containerName + `">`)
	element(&b, "Prefix", prefix)
	element(&b, "Delimiter", delimiter)
	b.WriteString("<Blobs>" + entries.String() + "</Blobs>")
	element(&b, "NextMarker", next)
	b.WriteString("</EnumerationResults>")
	return &reply{status: 200, contentType: "application/xml", body: b.Bytes(), note: "entries=" + strconv.Itoa(count)}
}
