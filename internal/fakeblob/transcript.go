package fakeblob

import (
	"cmp"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
)

// transcript is the record of requests and what became of them.
type transcript struct {
	off   atomic.Bool
	mu    sync.Mutex // guards lines and their results
	lines []*line
}

// line is one request in a transcript, with what became of it.
type line struct{ request, result string }

// Transcript returns one line for each request in order of arrival:
//
//	PUT  /c/ns/hub/$default/ownership/0 ?comp=metadata  if-match="0x1"  ownerid="a" -> 200 etag="0x2"
//	GET  /c ?comp=list&restype=container&prefix=ns/hub/&include=metadata -> 200 blobs=1
//	PUT  /c/ns/hub/$default/ownership/1  if-none-match=*  ownerid="a" -> 409 BlobAlreadyExists
//
// The path is decoded and, for the host of ServeSecondary, follows the host. Of the query it shows comp, restype,
// prefix, marker and include; then come the conditions as sent, then the metadata. After the arrow: status, error
// code, ETag. Faults add what they did, in order:
//
//	-> dropped | hung | cancelled              not applied
//	-> refused | reset | no such host          no connection
//	-> 503 ServerBusy                          not applied, answered by a fault
//	-> 201 etag="0x1" dropped | hung | cancelled    applied, no answer
//	-> 201 etag="0x1" answered 500 InternalError    applied, another answer
//	-> 201 etag="0x1" stripped Etag                 applied, headers removed
//	-> hung late 201 etag="0x1"                     applied after the client gave up
//
// and "pending" is a request that has no result yet. Requests that run at once arrive in any order: a transcript is
// the same in each run only if the requests are sent one after the other.
func (s *Service) Transcript() string {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	var b strings.Builder
	for _, l := range s.record.lines {
		b.WriteString(l.request + " ->" + cmp.Or(l.result, " pending") + "\n")
	}
	return b.String()
}

// Reset forgets the transcript and the counts of requests. Blobs, faults and the sequence of ETags stay.
func (s *Service) Reset() {
	s.traffic.reset()
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	s.record.lines = nil
}

// SetRecording turns the transcript on, as it is at first, or off, as benchmarks want it. Counts go on.
func (s *Service) SetRecording(on bool) {
	s.record.off.Store(!on)
}

// begin adds a request to the transcript, and returns what tells the transcript what becomes of it, in order; nil if
// recording is off.
func (t *transcript) begin(req *http.Request, withHost bool) (notes func(string)) {
	if t.off.Load() {
		return nil
	}
	l := &line{request: describe(req, withHost)}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, l)
	return func(text string) {
		t.mu.Lock()
		defer t.mu.Unlock()
		l.result += " " + text
	}
}

func describe(req *http.Request, withHost bool) string {
	var b strings.Builder
	b.WriteString(req.Method)
	b.WriteString(strings.Repeat(" ", max(1, 5-len(req.Method))))
	if withHost {
		b.WriteString(req.URL.Host)
	}
	b.WriteString(plain(req.URL.Path))

	separator := " ?"
	query := req.URL.Query()
	for _, name := range [...]string{"comp", "restype", "prefix", "marker", "include"} {
		if query.Has(name) {
			b.WriteString(separator + name + "=" + plain(query.Get(name)))
			separator = "&"
		}
	}
	var metadata []string
	var conditions [2]string
	for name, values := range req.Header {
		if len(values) == 0 {
			continue
		}
		value := textproto.TrimString(values[0])
		switch lower := strings.ToLower(name); {
		case lower == "if-match":
			conditions[0] = "  if-match=" + plain(value)
		case lower == "if-none-match":
			conditions[1] = "  if-none-match=" + plain(value)
		case strings.HasPrefix(lower, metadataPrefix):
			metadata = append(metadata, name[len(metadataPrefix):]+"="+strconv.Quote(value))
		}
	}
	b.WriteString(conditions[0] + conditions[1])
	if len(metadata) > 0 {
		slices.Sort(metadata)
		b.WriteString("  " + strings.Join(metadata, " "))
	}
	return b.String()
}

// summary is what the transcript says of a reply.
func (r *reply) summary() string {
	text := strconv.Itoa(r.status)
	if r.code != "" {
		text += " " + r.code
	}
	if r.etag != "" {
		text += " etag=" + r.etag
	}
	if r.note != "" {
		text += " " + r.note
	}
	return text
}

// plain returns s, quoted if it has spaces or anything that does not print, so that a line stays a line.
func plain(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
