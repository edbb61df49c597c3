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
	if err := d.results(); err != nil {
		return "", err
	}
	return d.nextMarker, d.epilog()
}

func unknown(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnknown}, args...)...)
}

// decoder knows the elements. Each of its methods reads the children of an element
// whose start has been read, and its end.
type decoder struct {
	lexer
	add        func(*Blob)
	blob       Blob
	nextMarker string
	name, etag []byte // where the blob's slices are, from one blob to the next; never nil for a name
	modified   []byte // the text of the last time that was parsed, and
	modifiedAt time.Time
}

// A seen element may not come again: which one counts would be a guess.
type seen uint

func (s *seen) first(element seen) error {
	if *s&element != 0 {
		return unknown("an element that comes twice")
	}
	*s |= element
	return nil
}

const (
	seenBlobs seen = 1 << iota
	seenNextMarker
	seenName
	seenProperties
	seenMetadata
	seenETag
	seenLastModified
)

// results reads <EnumerationResults>.
func (d *decoder) results() error {
	var seen seen
	for {
		t, err := d.tag()
		if err != nil || t.kind == end {
			return err
		}
		switch string(t.name) {
		case "Blobs":
			if err = seen.first(seenBlobs); err == nil {
				err = d.blobs()
			}
		case "NextMarker":
			var text []byte
			if err = seen.first(seenNextMarker); err == nil {
				text, err = d.leaf()
				d.nextMarker = string(text)
			}
		default:
			err = d.skip(t)
		}
		if err != nil {
			return err
		}
	}
}

// blobs reads <Blobs>.
func (d *decoder) blobs() error {
	for {
		t, err := d.tag()
		if err != nil || t.kind == end {
			return err
		}
		if string(t.name) != "Blob" {
			err = d.skip(t)
		} else if err = d.readBlob(); err == nil && d.blob.Name != nil {
			d.add(&d.blob)
		}
		if err != nil {
			return err
		}
	}
}

// readBlob reads <Blob>.
func (d *decoder) readBlob() error {
	d.blob = Blob{}
	var seen seen
	for {
		t, err := d.tag()
		if err != nil || t.kind == end {
			return err
		}
		switch string(t.name) {
		case "Name":
			if err = seen.first(seenName); err == nil {
				err = d.readName(t)
			}
		case "Properties":
			if err = seen.first(seenProperties); err == nil {
				err = d.properties()
			}
		case "Metadata":
			if err = seen.first(seenMetadata); err == nil {
				err = d.metadata()
			}
		default:
			err = d.skip(t)
		}
		if err != nil {
			return err
		}
	}
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

// properties reads <Properties>.
func (d *decoder) properties() error {
	var seen seen
	for {
		t, err := d.tag()
		if err != nil || t.kind == end {
			return err
		}
		switch string(t.name) {
		case "Etag":
			var text []byte
			if err = seen.first(seenETag); err == nil {
				text, err = d.leaf()
				d.etag = append(d.etag[:0], text...)
				d.blob.ETag = d.etag
			}
		case "Last-Modified":
			var text []byte
			if err = seen.first(seenLastModified); err == nil {
				if text, err = d.leaf(); err == nil {
					err = d.readTime(text)
				}
			}
		default:
			err = d.skip(t)
		}
		if err != nil {
			return err
		}
	}
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

// metadata reads <Metadata>, whose elements are the keys.
func (d *decoder) metadata() error {
	for {
		t, err := d.tag()
		if err != nil || t.kind == end {
			return err
		}
		set := d.blob.Values.Field(t.name)
		text, err := d.leaf()
		if err != nil {
			return err
		}
		if set != nil {
			*set = string(text)
		}
	}
}
