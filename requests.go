package checkpointstore

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/ea947076/checkpointstore/internal/layout"
)

// The requests that all operations except lists are made of: two conditional
// writes, an unconditional one, and a read of one blob.

// outcome is what a write's response says about its effect.
type outcome int

const (
	applied         outcome = iota // it took effect
	conditionNotMet                // its condition was not met
	notFound                       // there is no blob to write to
	ambiguous                      // it may have taken effect
	failed                         // it took no effect
)

// writeResult is the outcome of a write, with the blob's new state if the write was
// applied.
type writeResult struct {
	outcome      outcome
	etag         string // in the form of [layout.ETag]
	lastModified time.Time

	// err is why the write was not applied, or may not have been.
	err error

	// sawConditionNotMet is set on an ambiguous write that was sent more than once
	// and whose last response was "condition not met": an earlier try may have
	// changed the blob.
	sawConditionNotMet bool

	// exhausted is set on an ambiguous write that used up the client's retries. See
	// [readBack].
	exhausted bool

	started time.Time // when the write was first sent, by this machine's clock
}

// create writes a blob that does not exist: Put Blob with If-None-Match: *.
func create(ctx context.Context, b *blockblob.Client, m layout.Metadata) writeResult {
	w := newWrite(ctx, b, "")
	none := azcore.ETagAny
	w.modified.IfNoneMatch = &none
	resp, err := b.Upload(w.context(), streaming.NopCloser(bytes.NewReader(nil)), &blockblob.UploadOptions{Metadata: m, AccessConditions: &w.access})
	return w.classify(resp.ETag, resp.LastModified, err)
}

// replace writes the metadata of a blob that still has that ETag: Set Blob Metadata
// with If-Match. Without an ETag, it writes to any blob that exists.
func replace(ctx context.Context, b *blockblob.Client, m layout.Metadata, etag string) writeResult {
	w := newWrite(ctx, b, etag)
	if etag != "" {
		w.modified.IfMatch = &w.etag
	}
	w.set.AccessConditions = &w.access
	resp, err := b.SetMetadata(w.context(), m, &w.set)
	return w.classify(resp.ETag, resp.LastModified, err)
}

// conditionalWrite holds everything that one write needs in one allocation, because
// every checkpoint takes this path.
type conditionalWrite struct {
	requestContext
	started  time.Time
	etag     azcore.ETag
	modified blob.ModifiedAccessConditions
	access   blob.AccessConditions
	set      blob.SetMetadataOptions
}

func newWrite(ctx context.Context, b *blockblob.Client, etag string) *conditionalWrite {
	w := &conditionalWrite{started: time.Now(), etag: azcore.ETag(etag)}
	w.requestContext.Context, w.host = ctx, hostOf(b.URL())
	w.access.ModifiedAccessConditions = &w.modified
	return w
}

// context is the context to send the write with.
func (w *conditionalWrite) context() context.Context { return w.traced() }

// classify determines the outcome of a write.
func (w *conditionalWrite) classify(etag *azcore.ETag, lastModified *time.Time, err error) writeResult {
	if err == nil {
		r := newBlobState(nil, etag, lastModified)
		if r.etag == "" || lastModified == nil {
			return writeResult{outcome: ambiguous, started: w.started, err: errors.New("the service's response has no ETag or no Last-Modified")}
		}
		return writeResult{outcome: applied, started: w.started, etag: r.etag, lastModified: r.lastModified}
	}
	err = w.explain(err)
	result := writeResult{outcome: failed, started: w.started, err: err}
	sent, known := w.sent()
	answer := answerIn(err)
	switch {
	case answer == nil && sent == 0 && (known || isCredential(err)):
	case answer == nil:
		result.outcome, result.exhausted = ambiguous, true
	case isBlobNotFound(answer):
		result.outcome = notFound
	case sent > 1, answer.StatusCode >= 500:
		result.outcome, result.sawConditionNotMet = ambiguous, isConditionNotMet(answer)
		result.exhausted = answer.StatusCode >= 500 || answer.StatusCode == http.StatusRequestTimeout || answer.StatusCode == http.StatusTooManyRequests
	case isConditionNotMet(answer):
		result.outcome = conditionNotMet
	}
	return result
}

// blobState is the state of a blob when it was read.
type blobState struct {
	prefix       string // of the blob's name; empty if there is no blob, or one that was asked for by name
	partitionID  string // the rest of it; likewise
	values       layout.Values
	etag         string // in the form of [layout.ETag]; empty if there is no blob
	lastModified time.Time
	date         time.Time // the service's clock when it was read, of a blob that was asked for by name
}

// read reads one blob: Get Blob Properties. A missing blob is not an error: the
// state then has no ETag.
func read(ctx context.Context, b *blockblob.Client) (blobState, error) {
	request := &requestContext{Context: ctx}
	resp, err := b.GetProperties(request, nil)
	if err != nil {
		err = request.explain(err)
		if answer := answerIn(err); answer != nil && isBlobNotFound(answer) {
			return blobState{}, nil
		}
		return blobState{}, err
	}
	r := newBlobState(resp.Metadata, resp.ETag, resp.LastModified)
	if r.etag == "" {
		return blobState{}, errors.New("the service's response has no ETag")
	}
	if resp.Date != nil {
		r.date = *resp.Date
	}
	return r, nil
}

// readBack reads a blob to find out whether an ambiguous write was applied. If the
// write used up the client's retries, the read gets a single try, limited by
// tryTimeout: a service that is down or busy then gets one request more than the
// retry options say, not twice as many.
func readBack(ctx context.Context, b *blockblob.Client, w writeResult, tryTimeout time.Duration) (blobState, error) {
	if w.exhausted {
		ctx = policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: -1, TryTimeout: tryTimeout})
	}
	return read(ctx, b)
}

// canBe reports whether a blob that was read just now can be in the state into
// which a write brought it: it was modified no earlier than the write was first
// sent. The time of the service decides; the local clock measures only how long ago
// the write was sent. Last-Modified has a resolution of one second.
func (r blobState) canBe(w writeResult) bool {
	if r.date.IsZero() || r.lastModified.IsZero() {
		return false
	}
	sent := r.date.Add(-time.Since(w.started)).Truncate(time.Second)
	return !r.lastModified.Before(sent)
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

// blob returns the client of one blob.
func (s *BlobCheckpointStore) blob(name string) *blockblob.Client {
	return s.client.NewBlockBlobClient(name)
}

// inParallel calls do for 0 to n-1, at most limit at once, and returns when all
// have returned.
func inParallel(n, limit int, do func(int)) {
	if n == 1 {
		do(0)
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, limit) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				do(i)
			}
		})
	}
	wg.Wait()
}
