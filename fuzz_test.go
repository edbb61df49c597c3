package checkpointstore_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/blobtest"
)

// rawService answers with HTTP as it comes over the wire, in turns.
type rawService struct {
	mu       sync.Mutex
	answers  [][]byte
	requests int
}

func (s *rawService) Do(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	answer := s.answers[s.requests%len(s.answers)]
	s.requests++
	s.mu.Unlock()
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	if trace := httptrace.ContextClientTrace(req.Context()); trace != nil {
		trace.GetConn(req.URL.Host)
		trace.GotConn(httptrace.GotConnInfo{})
	}
	return http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), req)
}

// fuzzedCalls are the public calls, each with what must hold of its result.
func fuzzedCalls() map[string]blobtest.Call {
	calls := blobtest.Calls()
	calls["ListOwnership"] = func(ctx context.Context, s *checkpointstore.BlobCheckpointStore) error {
		all, err := s.ListOwnership(ctx, blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
		for _, o := range all {
			if err := claimable(o); err != nil {
				return err
			}
		}
		return err
	}
	calls["GetOwnership"] = func(ctx context.Context, s *checkpointstore.BlobCheckpointStore) error {
		o, err := s.GetOwnership(ctx, blobtest.Namespace, blobtest.Hub, blobtest.Group, "0", nil)
		if err != nil {
			return err
		}
		return claimable(o)
	}
	calls["ListCheckpoints of two spellings"] = func(ctx context.Context, s *checkpointstore.BlobCheckpointStore) error {
		_, err := s.ListCheckpoints(ctx, blobtest.Namespace, blobtest.Hub, "$Default", nil)
		return err
	}
	calls["ClaimOwnership"] = func(ctx context.Context, s *checkpointstore.BlobCheckpointStore) error {
		won, err := s.ClaimOwnership(ctx, blobtest.Claims(blobtest.Group, "a", 2), nil)
		for _, o := range won {
			if o.OwnerID != "a" || o.ETag == nil || *o.ETag == "" {
				return fmt.Errorf("a claim that is won has the record %+v", o)
			}
		}
		var failed *checkpointstore.PartitionErrors
		if err != nil && !errors.As(err, &failed) {
			return fmt.Errorf("not a *PartitionErrors: %w", err)
		}
		return err
	}
	return calls
}

// claimable tells what keeps a record that was read from being claimed. One record that cannot be claimed would keep a
// caller from claiming any, as it claims them together.
func claimable(o checkpointstore.Ownership) error {
	o.OwnerID = "a"
	if err := o.Validate(); err != nil {
		return fmt.Errorf("a record that was read cannot be claimed: %v", err)
	}
	return nil
}

// clear tells what is wrong with the text of an error.
func clear(err error) error {
	var one *checkpointstore.Error
	text := err.Error()
	switch {
	case !errors.As(err, &one):
		return errors.New("it is not an *Error")
	case strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return errors.New("it has characters that do not print")
	case !strings.HasPrefix(text, "checkpointstore: "), len(text) < 40:
		return errors.New("it says too little")
	case len(text) > 4096:
		return fmt.Errorf("it has %d bytes", len(text))
	}
	return nil
}

const (
	fuzzedList = `<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs><Blob><Name>ns.example/hub/group/ownership/0</Name>` +
		`<Properties><Last-Modified>Fri, 02 Jan 2026 03:04:05 GMT</Last-Modified><Etag>0x1</Etag></Properties>` +
		`<Metadata><ownerid>a</ownerid></Metadata></Blob></Blobs><NextMarker>%s</NextMarker></EnumerationResults>`
	fuzzedWrite = "HTTP/1.1 201 Created\r\nETag: \"0x1\"\r\nLast-Modified: Fri, 02 Jan 2026 03:04:05 GMT\r\nContent-Length: 0\r\n\r\n"
	fuzzedRead  = "HTTP/1.1 200 OK\r\nETag: \"0x1\"\r\nLast-Modified: Fri, 02 Jan 2026 03:04:05 GMT\r\nx-ms-meta-ownerid: a\r\n" +
		"x-ms-meta-sequencenumber: 5\r\nx-ms-meta-offset: 320\r\nContent-Length: 0\r\n\r\n"
)

func fuzzedPage(marker string) []byte {
	body := fmt.Sprintf(fuzzedList, marker)
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// FuzzService answers every call with two fuzzed answers in turns. Whatever they are: no panic, an end, memory in
// proportion to what arrived, a clear error, and nothing read that cannot be claimed.
func FuzzService(f *testing.F) {
	f.Add(fuzzedPage(""), []byte(fuzzedRead))
	f.Add(fuzzedPage("a"), fuzzedPage("b"))
	f.Add(fuzzedPage("a"), fuzzedPage(""))
	f.Add([]byte(fuzzedWrite), []byte(fuzzedWrite))
	f.Add([]byte("HTTP/1.1 412 Precondition Failed\r\nx-ms-error-code: ConditionNotMet\r\nContent-Length: 0\r\n\r\n"), []byte(fuzzedRead))
	f.Add([]byte("HTTP/1.1 404 Not Found\r\nx-ms-error-code: BlobNotFound\r\nContent-Length: 0\r\n\r\n"), []byte(fuzzedWrite))
	f.Add([]byte("HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"), []byte("HTTP/1.1 500 \r\n\r\nbroken"))
	f.Add([]byte("HTTP/1.1 403 Forbidden\r\nx-ms-error-code: A\x1b[31mB\r\n\r\n<Error><Code>C\nD</Code></Error>"), []byte("HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFF\r\n<"), []byte("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n<EnumerationResults>"))
	f.Add([]byte("nothing of HTTP"), []byte(""))
	long := strings.Repeat("A", 1<<16)
	f.Add([]byte("HTTP/1.1 403 "+long+"\r\nx-ms-error-code: "+long+"\r\nLocation: "+long+"\r\n\r\n"+long), []byte("HTTP/1.1 400 Bad\r\n\r\n<Error><Code>"+long+"</Code><Message>"+long+"</Message></Error>"))
	f.Add(fuzzedPage(long), fuzzedPage("<"+long+">"))
	f.Add([]byte(strings.Replace(fuzzedRead, "ownerid: a", "ownerid: "+long, 1)), []byte(strings.Replace(fuzzedRead, "\"0x1\"", long, 1)))
	f.Add(bytes.Replace(fuzzedPage(""), []byte("0x1"), []byte("0 1"), 1), []byte(strings.Replace(fuzzedRead, "0x1", "0 1", 1)))
	f.Add(bytes.Replace(fuzzedPage(""), []byte("0x1"), []byte("*  "), 1), []byte(strings.Replace(fuzzedWrite, "0x1", "0 1", 1)))

	f.Fuzz(func(t *testing.T, first, second []byte) {
		for name, call := range fuzzedCalls() {
			service := &rawService{answers: [][]byte{first, second}}
			options := &checkpointstore.BlobCheckpointStoreOptions{Timeout: 10 * time.Second}
			options.ClientOptions.Transport = service
			options.ClientOptions.Retry.MaxRetries = 2
			options.ClientOptions.Retry.RetryDelay = time.Nanosecond
			options.ClientOptions.Retry.MaxRetryDelay = time.Microsecond
			store, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential("https://account.blob.core.windows.net/c", options)
			require.NoError(t, err)

			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err = call(context.Background(), store)
			runtime.ReadMemStats(&after)
			// Per request: azcore's and azblob's own, and a multiple of what arrived.
			most := uint64(1+service.requests) * (1<<20 + 100*uint64(len(first)+len(second)))
			if used := after.TotalAlloc - before.TotalAlloc; used > most {
				t.Errorf("%s: %d bytes of memory for %d requests", name, used, service.requests)
			}
			if err == nil {
				continue
			}
			if unclear := clear(err); unclear != nil {
				t.Errorf("%s: %v: %q", name, unclear, err)
			}
		}
	})
}
