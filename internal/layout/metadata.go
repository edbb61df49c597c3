package layout

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Metadata keys. They are written in exactly this case, as the JavaScript,
// Python, Java and Rust packages compare them so, and read ignoring case, as
// the C++ package writes "ownerId" and HTTP canonicalises headers.
const (
	keyOwnerID        = "ownerid"
	keySequenceNumber = "sequencenumber"
	keyOffset         = "offset"
	keyGeneration     = "generation"
	keyEnqueuedTime   = "enqueuedtime"
	keyClientID       = "clientidentifier" // as .NET spells it
	keyDirectory      = "hdi_isfolder"
)

// maxValue keeps a record's metadata well within the service's 8 KiB.
const maxValue = 2048

// Metadata is the type that azblob uses for metadata.
type Metadata = map[string]*string

// Values are the parts of a record's metadata that this format uses, as text. A
// missing key is the empty text: no package distinguishes the two.
type Values struct {
	ownerID                                                    string
	sequenceNumber, offset, generation, enqueuedTime, clientID string
	directory                                                  string
}

// keys are all of them, for [ValuesOf].
var keys = [...]string{keyOwnerID, keySequenceNumber, keyOffset, keyGeneration, keyEnqueuedTime, keyClientID, keyDirectory}

// ValuesOf reads metadata. If keys differ only by case, the one in lower case
// counts.
func ValuesOf(m Metadata) Values {
	var v Values
	for key, text := range m {
		if field := v.Field([]byte(key)); field != nil {
			*field = deref(text)
		}
	}
	for _, key := range keys {
		if text, found := m[key]; found {
			*v.Field([]byte(key)) = deref(text)
		}
	}
	return v
}

// Field returns where the value of a key is stored, ignoring the key's case, or nil
// for a key that this format does not use.
func (v *Values) Field(key []byte) *string {
	switch {
	case bytes.EqualFold(key, []byte(keyOwnerID)):
		return &v.ownerID
	case bytes.EqualFold(key, []byte(keySequenceNumber)):
		return &v.sequenceNumber
	case bytes.EqualFold(key, []byte(keyOffset)):
		return &v.offset
	case bytes.EqualFold(key, []byte(keyGeneration)):
		return &v.generation
	case bytes.EqualFold(key, []byte(keyEnqueuedTime)):
		return &v.enqueuedTime
	case bytes.EqualFold(key, []byte(keyClientID)):
		return &v.clientID
	case bytes.EqualFold(key, []byte(keyDirectory)):
		return &v.directory
	}
	return nil
}

// OwnershipMetadata is the metadata of an ownership blob. A relinquished one
// keeps the key, with an empty value: the JavaScript and Python packages fail
// their whole list without it.
func OwnershipMetadata(ownerID string) Metadata {
	return Metadata{keyOwnerID: &ownerID}
}

// OwnerID returns the owner of an ownership blob. If the metadata, the key or the
// value is missing, the partition is relinquished.
func (v Values) OwnerID() string { return v.ownerID }

// CheckpointValues are what a checkpoint blob holds.
type CheckpointValues struct {
	SequenceNumber int64
	Offset         *string    // nil for none
	Generation     int64      // how often the partition was rewound
	EnqueuedTime   *time.Time // of the event, nil if it is not known
	ClientID       string     // the owner id of the writer, empty if it has none
}

// Metadata returns the metadata of a checkpoint blob. It always has the sequence
// number and the offset, because other packages fail their whole list if one is
// missing. As in .NET, the offset is empty if there is none, or if it is a text
// that readers take for "none". The other keys are written only if they have a
// value.
func (c CheckpointValues) Metadata() Metadata {
	number, text := strconv.FormatInt(c.SequenceNumber, 10), ""
	if c.Offset != nil && Offset(*c.Offset) != nil {
		text = *c.Offset
	}
	m := Metadata{keySequenceNumber: &number, keyOffset: &text}
	if c.Generation != 0 {
		text := strconv.FormatInt(c.Generation, 10)
		m[keyGeneration] = &text
	}
	if c.EnqueuedTime != nil {
		text := c.EnqueuedTime.UTC().Format(timeFormat)
		m[keyEnqueuedTime] = &text
	}
	if c.ClientID != "" {
		m[keyClientID] = &c.ClientID
	}
	return m
}

// timeFormat is RFC 3339 in UTC, to the millisecond.
const timeFormat = "2006-01-02T15:04:05.000Z"

// Generation returns the generation of a checkpoint blob. It is 0 if the key is
// missing or is not a decimal number from 0 to 2^62.
func (v Values) Generation() int64 {
	if v.generation == "" { // as in most: the error of ParseInt is not made
		return 0
	}
	n, err := strconv.ParseInt(v.generation, 10, 64)
	if err != nil || n < 0 || n > 1<<62 {
		return 0
	}
	return n
}

// EnqueuedTime returns the enqueued time of a checkpoint blob, or nil if it cannot
// be read.
func (v Values) EnqueuedTime() *time.Time {
	t, err := time.Parse(time.RFC3339, v.enqueuedTime)
	if err != nil {
		return nil
	}
	t = t.UTC()
	return &t
}

// ClientID returns the owner ID of the writer of a checkpoint blob. It is empty if
// the writer is not known.
func (v Values) ClientID() string { return v.clientID }

// Position returns the position of a checkpoint blob. A value that no package means
// as a position is nil: see [Offset] and [SequenceNumber].
func (v Values) Position() (offset *string, sequenceNumber *int64) {
	return Offset(v.offset), SequenceNumber(v.sequenceNumber)
}

// Offset is nil for the texts that stand for "no offset": "" and the smallest
// int64 (.NET), "no offset" in any case (.NET 5.11.3 to 5.11.6) and "None"
// (Python). All other text is opaque.
func Offset(text string) *string {
	if text == "" || text == "None" || text == minInt64 || strings.EqualFold(text, "no offset") {
		return nil
	}
	return &text
}

// minInt64 is what .NET wrote for "none" before it wrote other texts.
const minInt64 = "-9223372036854775808"

// SequenceNumber is nil for text that is not a decimal int64, which includes the
// "" of .NET and the "None" of Python, and for the smallest int64, which .NET
// wrote for "none".
func SequenceNumber(text string) *int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n == math.MinInt64 {
		return nil
	}
	return &n
}

// IsDirectory reports whether a blob is the stub by which accounts with a
// hierarchical namespace show a directory.
func (v Values) IsDirectory() bool { return strings.EqualFold(v.directory, "true") }

func deref(v *string) string {
	if v == nil {
		return ""
	}
	return *v
}

// CheckOwnerID returns an error if an owner ID cannot be stored. An empty one is
// valid: it relinquishes.
func CheckOwnerID(id string) error {
	if kind := CredentialIn(id); kind != "" {
		return fmt.Errorf("the owner id is not a name, this looks like %s; everybody who reads the container would see it", kind)
	}
	return checkValue("owner id", id)
}

// CheckOffset returns an error if an offset cannot be stored.
func CheckOffset(offset string) error { return checkValue("offset", offset) }

// CheckEnqueuedTime refuses years that RFC 3339 cannot represent.
func CheckEnqueuedTime(t time.Time) error {
	if year := t.UTC().Year(); year < 0 || year > 9999 {
		return fmt.Errorf("the enqueued time is in the year %d, outside of 0 to 9999", year)
	}
	return nil
}

// CheckSequenceNumber refuses the one number that readers take for "none".
func CheckSequenceNumber(n int64) error {
	if n == math.MinInt64 {
		return fmt.Errorf("the sequence number %d cannot be stored, as other packages read it as \"none\"", n)
	}
	return nil
}

// checkValue accepts values that an HTTP header transports unchanged: printable
// ASCII, without leading, trailing or repeated spaces. The service folds white
// space before it computes a signature ("Authorize with Shared Key"), so it would
// refuse other values with 403.
func checkValue(what, v string) error {
	switch {
	case len(v) > maxValue:
		return fmt.Errorf("the %s has %d bytes; the limit is %d", what, len(v), maxValue)
	case strings.TrimSpace(v) != v:
		return fmt.Errorf("the %s %s has spaces around it, which do not survive in metadata", what, Quote(v))
	case strings.Contains(v, "  "):
		return fmt.Errorf("the %s %s has several spaces in a row, which the service folds", what, Quote(v))
	case strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' }):
		return fmt.Errorf("the %s %s has characters other than printable ASCII, which metadata cannot contain", what, Quote(v))
	}
	return nil
}

// CheckETag returns an error if a claim cannot be made on an ETag. "*" would take
// the partition from any owner; so would "*" in quotes, which Azurite removes
// before it compares, and a list of ETags that contains "*".
func CheckETag(etag string) error {
	opaque := opaqueTag(etag)
	switch {
	case opaque == "":
		return errors.New("the ETag is empty; use nil to claim a partition that has no record")
	case isAnyState(opaque):
		return fmt.Errorf("the ETag %s stands for any state, which would take the partition from any owner", Quote(etag))
	case strings.ContainsFunc(opaque, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' }):
		return fmt.Errorf("the ETag %s has characters that no ETag has", Quote(etag))
	}
	return nil
}

// isAnyState reports whether an ETag, or one in a list of them, is "*".
func isAnyState(etag string) bool {
	for more := true; more; {
		var element string
		element, etag, more = strings.Cut(etag, ",")
		if opaqueTag(element) == "*" {
			return true
		}
	}
	return false
}

// opaqueTag returns an ETag without its quotes and its weakness marks.
func opaqueTag(etag string) string {
	for {
		bare := strings.TrimPrefix(strings.TrimPrefix(strings.Trim(etag, `"`), "W/"), "w/")
		if bare == etag {
			return bare
		}
		etag = bare
	}
}

// ETag converts an ETag to the form in which the store returns it: quoted, as in
// the HTTP header. Lists have it without quotes. It returns "" for an ETag that no
// claim can be made on.
func ETag(etag string) string {
	if CheckETag(etag) != nil {
		return ""
	}
	if strings.HasPrefix(etag, `"`) || strings.HasPrefix(etag, "W/") {
		return etag
	}
	return `"` + etag + `"`
}
