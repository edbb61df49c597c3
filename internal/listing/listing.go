// Package listing decodes the responses to List Blobs as far as a checkpoint store
// needs them: the name, ETag, time and metadata of each blob, and the marker of the
// next page. It reads a body as it arrives and does not keep it.
//
// The format is that of "List Blobs" in the REST reference of Blob Storage. The
// decoder understands a part of XML, and reads that part exactly as azblob does.
// For everything else it returns [ErrUnknown], so that the caller can use azblob's
// decoder instead.
package listing

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ea947076/checkpointstore/internal/layout"
)

// ErrUnknown means that this package does not understand the body.
// It may still be a list.
var ErrUnknown = errors.New("not the XML of a blob list as it is known")

// rootElement is the root of a blob list.
const rootElement = "EnumerationResults"

// Directory is the ResourceType of a directory, in any case, on accounts with a
// hierarchical namespace.
const Directory = "directory"

// Blob is one entry of a list. Its slices are valid only until the function that
// it is passed to returns.
type Blob struct {
	Name         []byte
	ETag         []byte        // without quotes; empty if there is none
	LastModified time.Time     // UTC; zero if there is none
	Values       layout.Values // the metadata
}

// Decode reads a page to its end, calls add for each blob in the order of the page,
// and returns the marker of the next page, or "" after the last one.
//
// It skips entries without a name, and entries that are not the current state of a
// blob: snapshots, deleted blobs, blobs of which only versions are left, versions
// that are marked as not current, and directories that ResourceType marks.
//
// Errors: [io.ErrUnexpectedEOF] for a body that ends before the list does,
// [ErrUnknown], and the errors of body. After an error, the caller must discard the
// blobs that were added.
//
// Decode allocates a buffer of 16 KiB, which grows up to 128 KiB for long texts.
// Longer texts are [ErrUnknown].
func Decode(body io.Reader, add func(*Blob)) (nextMarker string, err error) {
	d := decoder{lexer: lexer{from: body, buf: make([]byte, firstBuffer)}, add: add, name: []byte{}}
	if err := d.prolog(); err != nil {
		return "", err
	}
	root, err := d.tag()
	switch {
	case err != nil:
		return "", err
	case string(root.name) != rootElement:
		return "", unknown("the root element %.40q", root.name)
	}
	if err := d.each((*decoder).inResults); err != nil {
		return "", err
	}
	return d.nextMarker, d.epilog()
}

// CheckRoot returns an error for a body whose root element is not that of a blob
// list: [io.ErrUnexpectedEOF] if it has none, [ErrUnknown] if it has another or is
// not XML. It checks nothing else. Other decoders accept any root element.
func CheckRoot(body []byte) error {
	for d := xml.NewDecoder(bytes.NewReader(body)); ; {
		token, err := d.Token()
		switch {
		case err == io.EOF:
			return io.ErrUnexpectedEOF
		case err != nil:
			return unknown("%v", err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			if t.Name.Local != rootElement {
				return unknown("the root element %.40q", t.Name.Local)
			}
			return nil
		case xml.CharData:
			if len(bytes.TrimLeft(bytes.TrimPrefix(t, []byte("\uFEFF")), space)) > 0 {
				return unknown("text before the list")
			}
		}
	}
}

func unknown(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnknown}, args...)...)
}

// decoder knows the elements. A method named in… reads one child of that element,
// after its start.
type decoder struct {
	lexer
	add        func(*Blob)
	nextMarker string
	seen       element

	blob       Blob
	name, etag []byte // where the blob's slices are, from one blob to the next; never nil for a name
	modified   []byte // the text of the last time that was parsed, and
	modifiedAt time.Time

	// What the blob is instead of a blob as it is now, if not only a version: a
	// snapshot, a deleted one, a directory. A version is left out if it is marked
	// as not current.
	leftOut, version, notCurrent bool
}

// An element that may not come again in the same parent: which one counts would
// be a guess.
type element uint

const (
	blobsElement element = 1 << iota
	nextMarkerElement
	nameElement
	propertiesElement
	metadataElement
	etagElement
	lastModifiedElement
	resourceTypeElement
	snapshotElement
	deletedElement
	versionIDElement
	isCurrentVersionElement
	hasVersionsOnlyElement

	ofResults = blobsElement | nextMarkerElement // all others are of a blob
)

func (d *decoder) once(e element) error {
	if d.seen&e != 0 {
		return unknown("an element that comes twice")
	}
	d.seen |= e
	return nil
}

// each reads the children of an element whose start has been read, and its end.
func (d *decoder) each(child func(*decoder, tag) error) error {
	for {
		t, err := d.tag()
		if err != nil || t.kind == end {
			return err
		}
		if err := child(d, t); err != nil {
			return err
		}
	}
}

func (d *decoder) inResults(t tag) error {
	switch string(t.name) {
	case "Blobs":
		if err := d.once(blobsElement); err != nil {
			return err
		}
		return d.each((*decoder).inBlobs)
	case "NextMarker":
		text, err := d.leafOnce(nextMarkerElement)
		d.nextMarker = string(text)
		return err
	}
	return d.skip(t)
}

func (d *decoder) inBlobs(t tag) error {
	if string(t.name) != "Blob" {
		return d.skip(t)
	}
	d.blob = Blob{}
	d.leftOut, d.version, d.notCurrent = false, false, false
	d.seen &= ofResults
	if err := d.each((*decoder).inBlob); err != nil {
		return err
	}
	if d.blob.Name != nil && !d.leftOut && !(d.version && d.notCurrent) {
		d.add(&d.blob)
	}
	return nil
}

func (d *decoder) inBlob(t tag) error {
	switch string(t.name) {
	case "Name":
		if err := d.once(nameElement); err != nil {
			return err
		}
		return d.readName(t)
	case "Properties":
		if err := d.once(propertiesElement); err != nil {
			return err
		}
		return d.each((*decoder).inProperties)
	case "Metadata":
		if err := d.once(metadataElement); err != nil {
			return err
		}
		return d.each((*decoder).inMetadata)
	case "Snapshot":
		text, err := d.leafOnce(snapshotElement)
		d.leftOut = d.leftOut || len(text) > 0
		return err
	case "VersionId":
		text, err := d.leafOnce(versionIDElement)
		d.version = len(text) > 0
		return err
	case "IsCurrentVersion":
		current, err := d.readBool(isCurrentVersionElement)
		d.notCurrent = !current
		return err
	case "Deleted":
		deleted, err := d.readBool(deletedElement)
		d.leftOut = d.leftOut || deleted
		return err
	case "HasVersionsOnly":
		versionsOnly, err := d.readBool(hasVersionsOnlyElement)
		d.leftOut = d.leftOut || versionsOnly
		return err
	}
	return d.skip(t)
}

// leafOnce reads the text of an element that may not come again.
func (d *decoder) leafOnce(e element) ([]byte, error) {
	if err := d.once(e); err != nil {
		return nil, err
	}
	return d.leaf()
}

// readBool reads a truth value as azblob does, for which no text is false.
func (d *decoder) readBool(e element) (bool, error) {
	text, err := d.leafOnce(e)
	if err != nil || len(text) == 0 {
		return false, err
	}
	value, err := strconv.ParseBool(strings.TrimSpace(string(text)))
	if err != nil {
		return false, unknown("a truth value: %.40q", text)
	}
	return value, nil
}

// readName reads <Name>, which has the attribute Encoded where a name has
// characters that XML cannot hold.
func (d *decoder) readName(t tag) error {
	encoded := false
	switch value, times := attribute(t.attributes, "Encoded"); {
	case times == 0:
	case times > 1:
		return unknown("an attribute that comes twice")
	case string(value) == "true":
		encoded = true
	case string(value) != "false":
		return unknown("Encoded=%.20q", value)
	}
	text, err := d.leaf()
	if err != nil {
		return err
	}
	if encoded {
		name, err := url.QueryUnescape(string(text)) // as azblob has it, a plus is a space
		if err != nil {
			return unknown("an encoded name: %v", err)
		}
		text = []byte(name)
	}
	d.name = append(d.name[:0], text...)
	d.blob.Name = d.name
	return nil
}

func (d *decoder) inProperties(t tag) error {
	switch string(t.name) {
	case "Etag":
		text, err := d.leafOnce(etagElement)
		d.etag = append(d.etag[:0], text...)
		d.blob.ETag = d.etag
		return err
	case "Last-Modified":
		text, err := d.leafOnce(lastModifiedElement)
		if err != nil {
			return err
		}
		return d.readTime(text)
	case "ResourceType":
		text, err := d.leafOnce(resourceTypeElement)
		d.leftOut = d.leftOut || strings.EqualFold(string(text), Directory)
		return err
	}
	return d.skip(t)
}

// readTime reads a time, which is most often that of the blob before.
func (d *decoder) readTime(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	if !bytes.Equal(text, d.modified) {
		at, err := time.Parse(http.TimeFormat, string(text))
		if err != nil {
			return unknown("a time: %v", err)
		}
		d.modified, d.modifiedAt = append(d.modified[:0], text...), at
	}
	d.blob.LastModified = d.modifiedAt
	return nil
}

// inMetadata reads one key, which is the name of the element.
func (d *decoder) inMetadata(t tag) error {
	field := d.blob.Values.Field(t.name)
	text, err := d.leaf()
	if err == nil && field != nil {
		*field = string(text)
	}
	return err
}
