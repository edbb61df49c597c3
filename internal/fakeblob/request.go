package fakeblob

import (
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// Op is an operation of the blob service.
type Op int

// The operations that the service knows. A request that is none of them is Unsupported.
const (
	Unsupported Op = iota
	PutBlob
	SetMetadata
	GetProperties
	DeleteBlob
	ListBlobs
	CreateContainer
	GetContainerProperties
	opCount
)

var opNames = [opCount]string{
	"Unsupported", "PutBlob", "SetMetadata", "GetProperties", "DeleteBlob", "ListBlobs", "CreateContainer",
	"GetContainerProperties",
}

// String returns the operation's name, as in the constant.
func (o Op) String() string {
	if o < 0 || o >= opCount {
		return "invalid"
	}
	return opNames[o]
}

const metadataPrefix = "x-ms-meta-"

// call is a request as the service reads it.
type call struct {
	op              Op
	container       string
	blob            string
	query           url.Values // nil if the operation has no use for it
	metadata        map[string]string
	conditions      conditions
	blobType        string
	version         string
	clientRequestID string
	unsupported     string // the header or parameter that makes op Unsupported, if one does
}

// target splits a request's path into container and blob name.
func target(req *http.Request) (container, blob string) {
	container, blob, _ = strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
	return container, blob
}

// opOf tells what a request asks for.
func opOf(req *http.Request) (Op, url.Values) {
	_, blob := target(req)
	switch req.URL.RawQuery { // the two busiest forms, without parsing
	case "":
		return opFor(req.Method, blob != "", "", ""), nil
	case "comp=metadata":
		return opFor(req.Method, blob != "", "metadata", ""), nil
	}
	query := req.URL.Query()
	return opFor(req.Method, blob != "", query.Get("comp"), query.Get("restype")), query
}

func opFor(method string, hasBlob bool, comp, restype string) Op {
	type form struct {
		method        string
		hasBlob       bool
		comp, restype string
	}
	switch (form{method, hasBlob, comp, restype}) {
	case form{http.MethodPut, true, "", ""}:
		return PutBlob
	case form{http.MethodPut, true, "metadata", ""}:
		return SetMetadata
	case form{http.MethodHead, true, "", ""}:
		return GetProperties
	case form{http.MethodDelete, true, "", ""}:
		return DeleteBlob
	case form{http.MethodGet, false, "list", "container"}:
		return ListBlobs
	case form{http.MethodPut, false, "", "container"}:
		return CreateContainer
	case form{http.MethodGet, false, "", "container"}, form{http.MethodHead, false, "", "container"}:
		return GetContainerProperties
	}
	return Unsupported
}

// read turns a request into a call.
func read(req *http.Request) *call {
	c := &call{}
	c.op, c.query = opOf(req)
	c.container, c.blob = target(req)
	for name, values := range req.Header {
		if len(values) > 0 {
			// net/http trims values on the way to the socket.
			c.readHeader(name, textproto.TrimString(values[0]))
		}
	}
	if req.ContentLength > 0 {
		c.refuse("a body")
	}
	if c.blob == "" && !c.conditions.none() {
		c.refuse("conditions on the container")
	}
	for _, parameter := range [...]string{"snapshot", "versionid", "startFrom"} {
		if c.query.Get(parameter) != "" {
			c.refuse(parameter)
		}
	}
	return c
}

func (c *call) readHeader(name, value string) {
	if len(name) >= len(metadataPrefix) && strings.EqualFold(name[:len(metadataPrefix)], metadataPrefix) {
		if c.metadata == nil {
			c.metadata = map[string]string{}
		}
		c.metadata[name[len(metadataPrefix):]] = value
		return
	}
	switch {
	case strings.EqualFold(name, "If-Match"):
		c.conditions.ifMatch = value
	case strings.EqualFold(name, "If-None-Match"):
		c.conditions.ifNoneMatch = value
	case strings.EqualFold(name, "x-ms-blob-type"):
		c.blobType = value
	case strings.EqualFold(name, "x-ms-version"):
		c.version = value
	case strings.EqualFold(name, "x-ms-client-request-id"):
		c.clientRequestID = value
	case strings.EqualFold(name, "If-Modified-Since"),
		strings.EqualFold(name, "If-Unmodified-Since"),
		strings.EqualFold(name, "x-ms-if-tags"),
		strings.EqualFold(name, "x-ms-lease-id"):
		c.refuse(name)
	}
}

func (c *call) refuse(what string) {
	c.op = Unsupported
	c.unsupported = what
}

// validMetadataName tells whether Azure accepts a metadata name: a C# identifier, here in ASCII.
func validMetadataName(name string) bool {
	for i := 0; i < len(name); i++ {
		switch b := name[i]; {
		case b == '_', 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z':
		case '0' <= b && b <= '9' && i > 0:
		default:
			return false
		}
	}
	return name != ""
}
