package checkpointstore

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/ea947076/checkpointstore/internal/layout"
)

// The requests that everything but lists is made of: two conditional writes, an
// unconditional one, and a read of one blob.

// outcome is what is known after a write.
type outcome int

const (
	applied         outcome = iota // it took effect
	conditionNotMet                // its condition was not met
	notFound                       // there is no blob to write to
	ambiguous                      // it may have taken effect
	failed                         // it took no effect
)

// writeResult is the outcome of a write, with the record's new state if it was stored.
type writeResult struct {
	outcome      outcome
	etag         string // in the form of [layout.ETag]
	lastModified time.Time

	// err is why, unless it was stored. With unanswered, lost tells that the
	// last answer was "condition not met", to a request that was sent more than
	// once: it may have met its own earlier self.
	err                error
	sawConditionNotMet bool
}

// create writes a blob that does not exist: Put Blob, If-None-Match: *.
func create(ctx context.Context, b *blockblob.Client, m layout.Metadata) writeResult {
	w := newWrite("")
	none := azcore.ETagAny
	w.modified.IfNoneMatch = &none
	resp, err := b.Upload(w.trace(ctx), streaming.NopCloser(bytes.NewReader(nil)), &blockblob.UploadOptions{Metadata: m, AccessConditions: &w.access})
	return w.classify(resp.ETag, resp.LastModified, err)
}

// replace writes the metadata of a blob that still has that ETag: Set Blob
// Metadata, If-Match. Without an ETag, of any blob that exists.
func replace(ctx context.Context, b *blockblob.Client, m layout.Metadata, etag string) writeResult {
	w := newWrite(etag)
	if etag != "" {
		w.modified.IfMatch = &w.etag
	}
	w.set.AccessConditions = &w.access
	resp, err := b.SetMetadata(w.trace(ctx), m, &w.set)
	return w.classify(resp.ETag, resp.LastModified, err)
}

// conditionalWrite is all that one write needs, in one piece of memory: it is
// the hot path of every checkpoint.
type conditionalWrite struct {
	attempts
	etag     azcore.ETag
	modified blob.ModifiedAccessConditions
	access   blob.AccessConditions
	set      blob.SetMetadataOptions
}

func newWrite(etag string) *conditionalWrite {
	w := &conditionalWrite{etag: azcore.ETag(etag)}
	w.access.ModifiedAccessConditions = &w.modified
	return w
}

// attempts counts how often a request may have reached the service. The client's
// retries are not seen from outside, and the client may be the caller's: so the
// transport is asked, through the context.
type attempts struct {
	asked atomic.Int32 // connections asked for: 0 means a transport that does not tell
	had   atomic.Int32 // connections had, each for one attempt
	hooks httptrace.ClientTrace
}

func (a *attempts) trace(ctx context.Context) context.Context {
	a.hooks.GetConn = func(string) { a.asked.Add(1) }
	a.hooks.GotConn = func(httptrace.GotConnInfo) { a.had.Add(1) }
	return httptrace.WithClientTrace(ctx, &a.hooks)
}

// classify classifies what came of a write.
func (a *attempts) classify(etag *azcore.ETag, lastModified *time.Time, err error) writeResult {
	if err == nil {
		r := newBlobState(nil, etag, lastModified)
		if r.etag == "" || lastModified == nil {
			return writeResult{outcome: ambiguous, err: errors.New("the service's answer has no ETag or no Last-Modified")}
		}
		return writeResult{outcome: applied, etag: r.etag, lastModified: r.lastModified}
	}
	silent := a.asked.Load() == 0
	var resp *azcore.ResponseError
	if !errors.As(err, &resp) {
		if silent || a.had.Load() > 0 {
			return writeResult{outcome: ambiguous, err: err}
		}
		return writeResult{outcome: failed, err: err}
	}
	switch repeated := silent || a.had.Load() > 1; {
	case isAbsent(resp):
		return writeResult{outcome: notFound, err: err}
	case repeated, resp.StatusCode >= 500:
		return writeResult{outcome: ambiguous, err: err, sawConditionNotMet: isLost(resp)}
	case isLost(resp):
		return writeResult{outcome: conditionNotMet, err: err}
	}
	return writeResult{outcome: failed, err: err}
}

// blobState is a blob as it was read.
type blobState struct {
	prefix       string // of the blob's name; empty if there is no blob, or one that was asked for by name
	partitionID  string // the rest of it; likewise
	values       layout.Values
	etag         string // in the form of [layout.ETag]; empty if there is no blob
	lastModified time.Time
}

// read reads one blob: Get Blob Properties. No blob is not an error.
func read(ctx context.Context, b *blockblob.Client) (blobState, error) {
	resp, err := b.GetProperties(ctx, nil)
	if err != nil {
		var answer *azcore.ResponseError
		if errors.As(err, &answer) && isAbsent(answer) {
			return blobState{}, nil
		}
		return blobState{}, err
	}
	r := newBlobState(resp.Metadata, resp.ETag, resp.LastModified)
	if r.etag == "" {
		return blobState{}, errors.New("the service's answer has no ETag")
	}
	return r, nil
}

func newBlobState(m layout.Metadata, etag *azcore.ETag, lastModified *time.Time) blobState {
	r := blobState{values: layout.ValuesOf(m)}
	if etag != nil {
		r.etag = layout.ETag(string(*etag))
	}
	if lastModified != nil {
		r.lastModified = lastModified.UTC()
	}
	return r
}

// blob is the client of one blob.
func (s *BlobCheckpointStore) blob(name string) *blockblob.Client {
	return s.client.NewBlockBlobClient(name)
}
