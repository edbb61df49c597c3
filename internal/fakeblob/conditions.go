package fakeblob

import (
	"strings"

	"github.com/ea947076/checkpointstore/internal/faults"
)

// conditions are the two conditional headers that the service knows, as sent; "" means not sent.
type conditions struct {
	ifMatch     string
	ifNoneMatch string
}

func (c conditions) none() bool { return c == conditions{} }

// matches tells whether a condition names a blob's ETag. Azure takes it with quotes or without.
func matches(condition string, b *blob) bool {
	return condition == "*" || strings.Trim(condition, `"`) == strings.Trim(b.etag, `"`)
}

// check returns the refusal that an operation on a blob (nil if absent) earns, or nil if it may go on.
//
// A lease is looked at before the ETag: a stale ETag on a leased blob is LeaseIdMissing. No source says which of the
// two Azure prefers there.
func (c conditions) check(op faults.Op, b *blob) *reply {
	if c.ifMatch != "" && c.ifNoneMatch != "" {
		return refusal(400, codeMultipleConditions)
	}
	if b == nil {
		return c.checkAbsent(op)
	}
	if b.leased && op != faults.GetProperties {
		return refusal(412, codeLeaseIDMissing)
	}
	if c.ifMatch != "" && !matches(c.ifMatch, b) {
		return refusal(412, codeConditionNotMet)
	}
	if c.ifNoneMatch == "" || !matches(c.ifNoneMatch, b) {
		return nil
	}
	switch {
	case op == faults.GetProperties:
		return refusal(304, codeConditionNotMet)
	case op == faults.PutBlob && c.ifNoneMatch == "*":
		return refusal(409, codeBlobAlreadyExists)
	case op == faults.SetMetadata && c.ifNoneMatch == "*":
		return nil // the service does not look at it here
	}
	return refusal(412, codeConditionNotMet)
}

func (c conditions) checkAbsent(op faults.Op) *reply {
	switch {
	case op != faults.PutBlob:
		return refusal(404, codeBlobNotFound) // whatever If-Match says
	case c.ifMatch != "":
		return refusal(412, codeConditionNotMet)
	}
	return nil
}
