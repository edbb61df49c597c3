package fakeblob

import (
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"github.com/ea947076/checkpointstore/internal/faults"
)

const metadataPrefix = "x-ms-meta-"

// call is a request as the service reads it.
type call struct {
	op              faults.Op
	container       string
	blob            string
	query           url.Values // nil if it says no more than the operation
	metadata        map[string]string
	conditions      conditions
	blobType        string
	version         string
	clientRequestID string
	unsupported     string // the header or parameter that makes op Unsupported, if one does
}

// read turns a request into a call.
func read(req *http.Request) *call {
	c := &call{}
	c.op = faults.OpOf(req)
	c.container, c.blob = faults.Target(req)
	if raw := req.URL.RawQuery; raw != "" && raw != "comp=metadata" { // the two busiest forms need no parsing
		c.query = req.URL.Query()
	}
	if c.blob != "" && c.query.Get("restype") == "container" {
		c.refuse("a blob's name")
	}
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
	c.op = faults.Unsupported
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
