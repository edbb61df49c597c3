package proof

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// checkpoint is a checkpoint that the service stores. The zero value is none. Each position is written by one handler, which
// the offset names.
type checkpoint struct {
	generation, position int64
	offset               string
}

// behind reports whether a record must not replace another one.
func (r checkpoint) behind(other checkpoint) bool {
	return r.generation < other.generation || r.generation == other.generation && r.position < other.position
}

func (r checkpoint) String() string {
	return fmt.Sprintf("%d of generation %d (%s)", r.position, r.generation, r.offset)
}

type checkpointWrite struct {
	etag uint64
	checkpoint
	by      string
	deleted bool // the record was deleted after all earlier writes
}

// inOrder sorts writes in the order in which the service applied them, which is that of its ETags.
func inOrder(writes []checkpointWrite) []checkpointWrite {
	slices.SortStableFunc(writes, func(a, b checkpointWrite) int { return cmp.Compare(a.etag, b.etag) })
	return writes
}

// observeWrites calls applied for each write that the service applied, with the number of its ETag, which the fake service
// counts.
func observeWrites(next policy.Transporter, applied func(req *http.Request, etag uint64)) policy.Transporter {
	return transportFunc(func(req *http.Request) (*http.Response, error) {
		resp, err := next.Do(req)
		if err == nil && req.Method == http.MethodPut && resp.StatusCode < 300 {
			if etag := etagNumber(resp.Header.Get("ETag")); etag != 0 {
				applied(req, etag)
			}
		}
		return resp, err
	})
}

// etagNumber returns the number of an ETag of the fake service, or 0.
func etagNumber(etag string) uint64 {
	n, _ := strconv.ParseUint(strings.Trim(etag, `"`), 0, 64)
	return n
}

// metadata returns the value that a request writes under a key.
func metadata(req *http.Request, name string) string {
	for key, values := range req.Header {
		if strings.EqualFold(key, "x-ms-meta-"+name) && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

func checkpointOf(req *http.Request) checkpoint {
	return checkpoint{number(metadata(req, "generation")), number(metadata(req, "sequencenumber")), metadata(req, "offset")}
}

func number(text string) int64 {
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}
