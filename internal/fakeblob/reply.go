package fakeblob

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// CodeUnsupported is the error code, sent with status 501, of a request that the fake does not know how to answer.
// It is not a code of Azure's.
const CodeUnsupported = "FakeblobUnsupported"

const (
	codeBlobAlreadyExists      = "BlobAlreadyExists"
	codeBlobNotFound           = "BlobNotFound"
	codeConditionNotMet        = "ConditionNotMet"
	codeContainerAlreadyExists = "ContainerAlreadyExists"
	codeContainerNotFound      = "ContainerNotFound"
	codeInvalidMetadata        = "InvalidMetadata"
	codeInvalidQueryValue      = "InvalidQueryParameterValue"
	codeLeaseIDMissing         = "LeaseIdMissing"
	codeMissingRequiredHeader  = "MissingRequiredHeader"
	codeMultipleConditions     = "MultipleConditionHeadersNotSupported"
)

const (
	containerETag  = `"0xC"`
	defaultVersion = "2021-12-02"
	xmlStart       = "\ufeff" + `<?xml version="1.0" encoding="utf-8"?>` // Azure begins with a byte order mark
)

// messageFor returns the service's sentence for an error code.
func messageFor(code string) string {
	switch code {
	case codeBlobAlreadyExists:
		return "The specified blob already exists."
	case codeBlobNotFound:
		return "The specified blob does not exist."
	case codeConditionNotMet:
		return "The condition specified using HTTP conditional header(s) is not met."
	case codeContainerAlreadyExists:
		return "The specified container already exists."
	case codeContainerNotFound:
		return "The specified container does not exist."
	case codeInvalidMetadata:
		return "The metadata specified is invalid. It has characters that are not permitted."
	case codeInvalidQueryValue:
		return "Value for one of the query parameters specified in the request URI is invalid."
	case codeLeaseIDMissing:
		return "There is currently a lease on the blob and no lease ID was specified in the request."
	case codeMissingRequiredHeader:
		return "An HTTP header that's mandatory for this request is not specified."
	case codeMultipleConditions:
		return "Multiple condition headers are not supported."
	case CodeUnsupported:
		return "fakeblob has no support for this request."
	}
	return "The request failed."
}

// reply is an answer before it becomes an http.Response.
type reply struct {
	status       int
	code         string // of an error; "" for success
	message      string // of an error; "" means the one for the code
	etag         string // quoted
	lastModified time.Time
	header       http.Header // more headers, with canonical names
	contentType  string
	body         []byte
	note         string // what the transcript says of it besides status, code and ETag
}

// refusal is an answer with an error code.
func refusal(status int, code string) *reply { return &reply{status: status, code: code} }

// response writes a reply as the service does. An error carries its code in x-ms-error-code, and in an XML body
// unless the request was HEAD.
func (s *Service) response(req *http.Request, c *call, r *reply) *http.Response {
	h := r.header
	if h == nil {
		h = make(http.Header, 10)
	}
	id := fmt.Sprintf("00000000-0000-0000-0000-%012x", s.requestID.Add(1))
	now := s.now()
	h["Date"] = []string{httpTime(now)}
	h["Server"] = []string{"Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0"}
	h["X-Ms-Request-Id"] = []string{id}
	h["X-Ms-Version"] = []string{defaultVersion}
	if c.version != "" {
		h["X-Ms-Version"][0] = c.version
	}
	if c.clientRequestID != "" {
		h["X-Ms-Client-Request-Id"] = []string{c.clientRequestID}
	}
	if r.etag != "" {
		h["Etag"] = []string{r.etag}
		h["Last-Modified"] = []string{httpTime(r.lastModified)}
	}
	body, contentType := r.body, r.contentType
	if r.code != "" {
		h["X-Ms-Error-Code"] = []string{r.code}
		if body == nil {
			body, contentType = errorBody(r, id, now), "application/xml"
		}
	}
	if req.Method == http.MethodHead || r.status == http.StatusNotModified {
		body = nil
	}
	if len(body) > 0 {
		h["Content-Type"] = []string{contentType}
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	return &http.Response{
		Status:        strconv.Itoa(r.status) + " " + http.StatusText(r.status),
		StatusCode:    r.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        h,
		Body:          bodyOf(body),
		ContentLength: int64(len(body)),
		Request:       req,
	}
}

func bodyOf(body []byte) io.ReadCloser {
	if len(body) == 0 {
		return http.NoBody
	}
	return io.NopCloser(bytes.NewReader(body))
}

func errorBody(r *reply, id string, now time.Time) []byte {
	message := r.message
	if message == "" {
		message = messageFor(r.code)
	}
	message += "\nRequestId:" + id + "\nTime:" + now.Format("2006-01-02T15:04:05.0000000Z")
	var b bytes.Buffer
	b.WriteString(xmlStart + "<Error>")
	element(&b, "Code", r.code)
	element(&b, "Message", message)
	b.WriteString("</Error>")
	return b.Bytes()
}

// element writes <name>value</name>, or <name /> if the value is empty, as Azure does.
func element(b *bytes.Buffer, name, value string) {
	if value == "" {
		b.WriteString("<" + name + " />")
		return
	}
	b.WriteString("<" + name + ">")
	escape(b, value)
	b.WriteString("</" + name + ">")
}

// escape writes value as XML text.
func escape(b *bytes.Buffer, value string) {
	if err := xml.EscapeText(b, []byte(value)); err != nil {
		panic("fakeblob: " + err.Error()) // a bytes.Buffer does not fail
	}
}
