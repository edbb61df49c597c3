package backend

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/ea947076/checkpointstore/internal/fakeblob"
)

// answer is a response made ahead. It is never changed.
type answer struct {
	status int
	text   string // of the status
	header http.Header
	body   []byte
}

// etags is how many writes in a row are answered with ETags of their own.
const etags = 256

// answers are the responses of a container whose blobs exist, but for those of
// an [AbsentHub], and whose conditions are all met. They were recorded from
// the fake service, so that to find one is all that is left to do.
type answers struct {
	created, changed [etags]*answer // Put Blob, Set Blob Metadata
	writes           atomic.Uint64
	found            *answer // Get Blob Properties
	absent           *answer // Set Blob Metadata
	absentHead       *answer // Get Blob Properties
	noBlobs          *answer // List Blobs

	mu    sync.RWMutex
	pages map[string]*answer // by the request's query
}

func newAnswers() (*answers, error) {
	ctx := context.Background()
	tape := &tape{service: fakeblob.New()}
	client, err := tape.client()
	if err != nil {
		return nil, err
	}
	tape.service.Put("there", map[string]string{"ownerid": "owner", "sequencenumber": "1", "offset": "2"})
	there, absent := client.NewBlockBlobClient("there"), client.NewBlockBlobClient("absent")

	a := &answers{pages: make(map[string]*answer)}
	if _, err = there.GetProperties(ctx, nil); err != nil {
		return nil, err
	}
	a.found = tape.last
	if _, err = there.SetMetadata(ctx, nil, nil); err != nil {
		return nil, err
	}
	a.changed = withETags(tape.last)
	_, _ = absent.SetMetadata(ctx, nil, nil) // "not found" is what it is for
	a.absent = tape.last
	_, _ = absent.GetProperties(ctx, nil)
	a.absentHead = tape.last
	if _, err = absent.Upload(ctx, streaming.NopCloser(bytes.NewReader(nil)), &blockblob.UploadOptions{}); err != nil {
		return nil, err
	}
	a.created = withETags(tape.last)
	if err = listAll(ctx, client, "nothing/"); err != nil {
		return nil, err
	}
	a.noBlobs = tape.last
	if a.absent.status != http.StatusNotFound || a.absentHead.status != http.StatusNotFound {
		return nil, fmt.Errorf("the fake service answered %d and %d, not 404, for a blob that is not there", a.absent.status, a.absentHead.status)
	}
	return a, nil
}

// withETags are copies of an answer, each with an ETag of its own.
func withETags(of *answer) (copies [etags]*answer) {
	for i := range copies {
		c := *of
		c.header = maps.Clone(of.header)
		c.header["Etag"] = []string{fmt.Sprintf("%q", fmt.Sprintf("0x8DD%012X", i))}
		copies[i] = &c
	}
	return copies
}

// to finds the answer to a request.
func (a *answers) to(req *http.Request) *answer {
	switch req.Method {
	case http.MethodGet:
		a.mu.RLock()
		defer a.mu.RUnlock()
		if page := a.pages[req.URL.RawQuery]; page != nil {
			return page
		}
		return a.noBlobs
	case http.MethodHead:
		if isAbsent(req) {
			return a.absentHead
		}
		return a.found
	}
	i := a.writes.Add(1) % etags
	if req.URL.RawQuery == "" {
		return a.created[i]
	}
	if isAbsent(req) {
		return a.absent
	}
	return a.changed[i]
}

func isAbsent(req *http.Request) bool { return strings.Contains(req.URL.Path, "/"+AbsentHub) }

// fill records the listings of a prefix, as azblob asks for them.
func (a *answers) fill(ctx context.Context, prefix string, blobs int, metadata map[string]string) error {
	tape := &tape{service: fakeblob.New(), pages: make(map[string]*answer)}
	for i := range blobs {
		tape.service.Put(prefix+strconv.Itoa(i), metadata)
	}
	client, err := tape.client()
	if err != nil {
		return err
	}
	if err := listAll(ctx, client, prefix); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.Copy(a.pages, tape.pages)
	return nil
}

func listAll(ctx context.Context, client *container.Client, prefix string) error {
	pager := client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{
		Prefix: &prefix, Include: container.ListBlobsInclude{Metadata: true},
	})
	for pager.More() {
		if _, err := pager.NextPage(ctx); err != nil {
			return err
		}
	}
	return nil
}

// tape records what the fake service answers.
type tape struct {
	service *fakeblob.Service
	last    *answer
	pages   map[string]*answer // nil: not asked for
}

func (t *tape) client() (*container.Client, error) {
	options := &container.ClientOptions{}
	options.Transport = t
	return container.NewClientWithNoCredential(t.service.URL(), options)
}

// Do asks the service and keeps its answer.
func (t *tape) Do(req *http.Request) (*http.Response, error) {
	resp, err := t.service.Do(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	t.last = &answer{status: resp.StatusCode, text: resp.Status, header: resp.Header.Clone(), body: body}
	if t.pages != nil {
		t.pages[req.URL.RawQuery] = t.last
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}
