// Package listing decodes the answers of List Blobs, as far as a checkpoint store
// needs them: name, ETag, time and metadata of each blob, and where the next page
// begins. It reads a body as it arrives and keeps nothing of it.
//
// The format is that of "List Blobs" in the REST reference of Blob Storage. The
// decoder reads less than all XML, and nothing differently than azblob does: it
// returns [ErrUnknown] for what it does not understand, so that azblob's decoder
// can be asked instead.
package listing

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/ea947076/checkpointstore/internal/layout"
)

// ErrUnknown: the body is not written in the way that this package understands.
// It may still be a list.
var ErrUnknown = errors.New("not the XML of a blob list as it is known")

// Blob is one entry of a list. Its slices are valid until the function returns
// that it was given to.
type Blob struct {
	Name         []byte
	ETag         []byte        // without quotes; empty if there is none
	LastModified time.Time     // UTC; zero if there is none
	Values       layout.Values // the metadata
}

// Decode reads a page to its end, calls add for each blob in the order of the
// page, and returns the marker of the next page, or "" after the last one.
//
// Entries without a name are left out. Errors: [io.ErrUnexpectedEOF] for a body
// that ends before the list does, [ErrUnknown], and those of body. The blobs that
// were added before an error are not a page.
//
// It allocates a buffer of 16 KiB, which grows up to 128 KiB for a text that
// long; a longer one is [ErrUnknown].
func Decode(body io.Reader, add func(*Blob)) (nextMarker string, err error) {
	d := decoder{lexer: lexer{from: body, buf: make([]byte, firstBuffer)}, add: add, name: []byte{}}
	if err := d.prolog(); err != nil {
		return "", err
	}
	root, err := d.tag()
	switch {
	case err != nil:
		return "", err
	case string(root.name) != "EnumerationResults":
		return "", unknown("the root element %.40q", root.name)
	}
	if err := d.each((*decoder).inResults); err != nil {
		return "", err
	}
	return d.nextMarker, d.epilog()
}

func unknown(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnknown}, args...)...)
}

// decoder knows the elements. A method named in… takes one child of that element,
// whose start has been read.
type decoder struct {
	lexer
	add        func(*Blob)
	nextMarker string
	seen       element

	blob       Blob
	name, etag []byte // where the blob's slices are, from one blob to the next; never nil for a name
	modified   []byte // the text of the last time that was parsed, and
	modifiedAt time.Time
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

	ofBlob = nameElement | propertiesElement | metadataElement | etagElement | lastModifiedElement
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
		if err := d.once(nextMarkerElement); err != nil {
			return err
		}
		text, err := d.leaf()
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
	d.seen &^= ofBlob
	if err := d.each((*decoder).inBlob); err != nil {
		return err
	}
	if d.blob.Name != nil {
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
	}
	return d.skip(t)
}

// readName reads <Name>, which has the attribute Encoded where a name has
// characters that XML cannot hold.
func (d *decoder) readName(t tag) error {
	encoded := false
	switch value, found := attribute(t.attributes, "Encoded"); {
	case !found:
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
		if err := d.once(etagElement); err != nil {
			return err
		}
		text, err := d.leaf()
		d.etag = append(d.etag[:0], text...)
		d.blob.ETag = d.etag
		return err
	case "Last-Modified":
		if err := d.once(lastModifiedElement); err != nil {
			return err
		}
		text, err := d.leaf()
		if err != nil {
			return err
		}
		return d.readTime(text)
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
