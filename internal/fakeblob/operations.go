package fakeblob

import (
	"net/http"
	"time"

	"github.com/ea947076/checkpointstore/internal/faults"
)

// apply carries out a call and returns the answer.
func (s *Service) apply(c *call) *reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c.op == faults.Unsupported:
		return unsupported(c)
	case c.container != containerName:
		return refusal(404, codeContainerNotFound)
	case c.op == faults.CreateContainer:
		return s.createContainer()
	case s.containerGone:
		return refusal(404, codeContainerNotFound)
	}
	switch c.op {
	case faults.GetContainerProperties:
		return s.containerProperties()
	case faults.ListBlobs:
		return s.list(c)
	}
	return s.applyToBlob(c)
}

func unsupported(c *call) *reply {
	r := refusal(http.StatusNotImplemented, CodeUnsupported)
	if c.unsupported != "" {
		r.message = "fakeblob has no support for " + c.unsupported + "."
	}
	return r
}

func (s *Service) createContainer() *reply {
	if !s.containerGone {
		return refusal(409, codeContainerAlreadyExists)
	}
	s.containerGone = false
	s.containerChanged = s.now()
	return &reply{status: 201, etag: containerETag, lastModified: s.containerChanged}
}

func (s *Service) containerProperties() *reply {
	r := &reply{status: 200, etag: containerETag, lastModified: s.containerChanged, header: http.Header{}}
	r.header.Set("x-ms-lease-state", "available")
	r.header.Set("x-ms-lease-status", "unlocked")
	return r
}

func (s *Service) applyToBlob(c *call) *reply {
	for name := range c.metadata {
		if !validMetadataName(name) {
			return refusal(400, codeInvalidMetadata)
		}
	}
	if c.op == faults.PutBlob && c.blobType == "" {
		return refusal(400, codeMissingRequiredHeader)
	}
	if c.op == faults.PutBlob && c.blobType != "BlockBlob" {
		c.refuse("blob type " + c.blobType)
		return unsupported(c)
	}
	b := s.blobs[c.blob]
	if r := c.conditions.check(c.op, b); r != nil {
		return r
	}
	switch c.op {
	case faults.PutBlob:
		b = s.write(c.blob, c.metadata)
		return &reply{status: 201, etag: b.etag, lastModified: b.lastModified}
	case faults.SetMetadata:
		b = s.write(c.blob, c.metadata)
		return &reply{status: 200, etag: b.etag, lastModified: b.lastModified}
	case faults.DeleteBlob:
		delete(s.blobs, c.blob)
		return &reply{status: 202}
	}
	return blobProperties(b)
}

func blobProperties(b *blob) *reply {
	r := &reply{status: 200, etag: b.etag, lastModified: b.lastModified, header: http.Header{}}
	state, status := b.lease()
	r.header.Set("Accept-Ranges", "bytes")
	r.header.Set("Content-Type", "application/octet-stream")
	r.header.Set("x-ms-blob-type", "BlockBlob")
	r.header.Set("x-ms-creation-time", httpTime(b.created))
	r.header.Set("x-ms-lease-state", state)
	r.header.Set("x-ms-lease-status", status)
	r.header.Set("x-ms-server-encrypted", "true")
	for name, value := range b.metadata {
		// As a client behind net/http sees it: the name is canonicalised, whatever case it was written in.
		r.header.Set(metadataPrefix+name, value)
	}
	return r
}

// lease returns the lease's state and status in the service's words.
func (b *blob) lease() (state, status string) {
	switch {
	case b.leased:
		return "leased", "locked"
	case b.leaseBroken:
		return "broken", "unlocked"
	}
	return "available", "unlocked"
}

// httpTime formats t as the service's headers and listings do.
func httpTime(t time.Time) string { return t.UTC().Format(http.TimeFormat) }
