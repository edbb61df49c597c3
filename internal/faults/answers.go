package faults

import (
	"bytes"
	"encoding/xml"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Answer is a response that says nothing of the request's effect.
type Answer struct {
	Status int

	// Code is the service's, such as "ServerBusy". It goes into a header, and into an XML body if Body is empty. Without
	// one the answer is bare.
	Code string

	// Detail goes into the XML body as AuthenticationErrorDetail, where Azure repeats the string that was signed.
	Detail string

	// RetryAfter goes into Retry-After if it is whole seconds, and into x-ms-retry-after-ms otherwise. Zero is none.
	RetryAfter time.Duration

	// ContentType and Body are those of something between client and service, such as a proxy, which sends none of the
	// service's headers.
	ContentType, Body string

	// Applied tells that the request took effect all the same.
	Applied bool
}

// Status answers with a status and an error code, without effect. An empty code makes a bare answer: no error code, no
// body.
func Status(status int, code string) Fault { return Answer{Status: status, Code: code}.Fault() }

// ApplyThenStatus applies the request and answers with a status and an error code all the same.
func ApplyThenStatus(status int, code string) Fault {
	return Answer{Status: status, Code: code, Applied: true}.Fault()
}

// StatusWithBody answers as a proxy does that does not ask the service.
func StatusWithBody(status int, contentType, body string) Fault {
	return Answer{Status: status, ContentType: contentType, Body: body}.Fault()
}

// Busy answers 503 ServerBusy. azcore gives up at once when retryAfter is longer than the client's MaxRetryDelay.
func Busy(retryAfter time.Duration) Fault {
	return Answer{Status: http.StatusServiceUnavailable, Code: "ServerBusy", RetryAfter: retryAfter}.Fault()
}

// Forbidden answers 403 AuthorizationPermissionMismatch, as to an identity without the role.
func Forbidden() Fault { return Status(http.StatusForbidden, "AuthorizationPermissionMismatch") }

// AuthenticationFailed answers 403 AuthenticationFailed, as to a wrong key or signature.
func AuthenticationFailed(detail string) Fault {
	return Answer{Status: http.StatusForbidden, Code: "AuthenticationFailed", Detail: detail}.Fault()
}

// Fault answers requests so. It is named by its status, whether it says when to retry, and whether it is applied.
func (a Answer) Fault() Fault {
	name, text := strconv.Itoa(a.Status), strings.TrimSpace(strconv.Itoa(a.Status)+" "+a.Code)
	if a.RetryAfter > 0 {
		name += " with retry-after"
	}
	if a.Applied {
		name, text = name+", applied", "answered "+text
	}
	return always(name, func(h hit, req *http.Request, next TransportFunc) (*http.Response, error) {
		if a.Applied {
			resp, err := next(req)
			if err != nil {
				return nil, err
			}
			_ = swallowed(resp, nil)
		} else {
			Sent(req)
		}
		note(req, text)
		return a.response(req, h.on.Now()), nil
	})
}

func (a Answer) response(req *http.Request, now time.Time) *http.Response {
	header := http.Header{}
	header.Set("Date", now.UTC().Format(http.TimeFormat))
	body, contentType := a.Body, a.ContentType
	if body == "" {
		header.Set("Server", "Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0")
		header.Set("x-ms-request-id", "00000000-0000-0000-0000-000000000000")
		header.Set("x-ms-version", "2021-12-02")
	}
	if a.Code != "" {
		header.Set("x-ms-error-code", a.Code)
		if body == "" {
			body, contentType = a.errorBody(), "application/xml"
		}
	}
	switch {
	case a.RetryAfter <= 0:
	case a.RetryAfter%time.Second == 0:
		header.Set("Retry-After", strconv.FormatInt(int64(a.RetryAfter/time.Second), 10))
	default:
		header.Set("x-ms-retry-after-ms", strconv.FormatInt(a.RetryAfter.Milliseconds(), 10))
	}
	if req.Method == http.MethodHead {
		body = ""
	}
	if body != "" {
		header.Set("Content-Type", contentType)
	}
	resp := &http.Response{
		Status:     strings.TrimSpace(strconv.Itoa(a.Status) + " " + http.StatusText(a.Status)),
		StatusCode: a.Status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:  header,
		Request: req,
	}
	setBody(resp, []byte(body))
	return resp
}

func (a Answer) errorBody() string {
	var b bytes.Buffer
	b.WriteString("\ufeff" + `<?xml version="1.0" encoding="utf-8"?><Error><Code>`) // Azure begins with a byte order mark
	_ = xml.EscapeText(&b, []byte(a.Code))
	b.WriteString(`</Code><Message>A fault answered the request.</Message>`)
	if a.Detail != "" {
		b.WriteString(`<AuthenticationErrorDetail>`)
		_ = xml.EscapeText(&b, []byte(a.Detail))
		b.WriteString(`</AuthenticationErrorDetail>`)
	}
	b.WriteString(`</Error>`)
	return b.String()
}

// setBody gives a response a body, and says how long it is.
func setBody(resp *http.Response, body []byte) {
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
}

// changed is a fault that lets a request be applied and changes its response, whose body it has read.
func changed(name, text string, change func(h hit, resp *http.Response, body []byte)) Fault {
	return always(name, func(h hit, req *http.Request, next TransportFunc) (*http.Response, error) {
		resp, err := next(req)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return nil, err
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
		change(h, resp, body)
		note(req, text)
		return resp, nil
	})
}

// WithoutHeaders removes headers, such as ETag and Last-Modified, from responses.
func WithoutHeaders(names ...string) Fault {
	return changed("stripped", "stripped "+strings.Join(names, ","), func(_ hit, resp *http.Response, _ []byte) {
		for _, name := range names {
			resp.Header.Del(name)
		}
	})
}

// TruncateBody cuts a response's body somewhere and breaks the connection there: what its Content-Length promised does
// not arrive.
func TruncateBody() Fault {
	return changed("truncated", "truncated", func(h hit, resp *http.Response, body []byte) {
		resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(cut(h, body)), failing{io.ErrUnexpectedEOF}))
	})
}

// ShortenBody cuts a response's body somewhere, as if that were all of it.
func ShortenBody() Fault {
	return changed("shortened", "shortened", func(h hit, resp *http.Response, body []byte) { setBody(resp, cut(h, body)) })
}

func cut(h hit, body []byte) []byte {
	if len(body) == 0 {
		return body
	}
	return body[:h.IntN(len(body))]
}

// failing is a reader that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// SkewDate moves the Date of responses alone, so that it contradicts their other times.
func SkewDate(d time.Duration) Fault {
	return changed("date off", "skewed", func(_ hit, resp *http.Response, _ []byte) { skewHeader(resp, "Date", d) })
}

// SkewClock moves the Date of responses and the times at which blobs were last modified, also those in a list: the
// service's clock is off by d, or the client's by -d.
func SkewClock(d time.Duration) Fault {
	element := regexp.MustCompile(`<Last-Modified>[^<]*`)
	return changed("clock off", "skewed", func(_ hit, resp *http.Response, body []byte) {
		skewHeader(resp, "Date", d)
		skewHeader(resp, "Last-Modified", d)
		setBody(resp, element.ReplaceAllFunc(body, func(found []byte) []byte {
			name, text, _ := strings.Cut(string(found), ">")
			return []byte(name + ">" + skewed(text, d))
		}))
	})
}

func skewHeader(resp *http.Response, name string, d time.Duration) {
	if text := resp.Header.Get(name); text != "" {
		resp.Header.Set(name, skewed(text, d))
	}
}

// skewed moves a time that is written as in headers. Any other text stays.
func skewed(text string, d time.Duration) string {
	at, err := http.ParseTime(text)
	if err != nil {
		return text
	}
	return at.Add(d).UTC().Format(http.TimeFormat)
}
