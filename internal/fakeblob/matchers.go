package fakeblob

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
)

// Matcher picks requests. It may be called by several goroutines at once.
type Matcher func(*http.Request) bool

// Method picks requests with an HTTP method, in upper case.
func Method(method string) Matcher {
	return func(req *http.Request) bool { return req.Method == method }
}

// OpIs picks requests for one of the operations.
func OpIs(ops ...Op) Matcher {
	return func(req *http.Request) bool {
		op, _ := opOf(req)
		return slices.Contains(ops, op)
	}
}

// BlobIs picks requests on the blob with a name.
func BlobIs(name string) Matcher {
	return func(req *http.Request) bool {
		_, blob := target(req)
		return blob == name && name != ""
	}
}

// NameHas picks requests on blobs whose name has a part. Requests on the container, such as listings, have no blob.
func NameHas(part string) Matcher {
	return func(req *http.Request) bool {
		_, blob := target(req)
		return blob != "" && strings.Contains(blob, part)
	}
}

// Host picks requests to a host.
func Host(host string) Matcher {
	return func(req *http.Request) bool { return req.URL.Host == host }
}

// Nth picks the nth request, counted from 1, of those that m picks; a nil m picks all. Retries count. Each call of
// Nth has its own count.
func Nth(n int, m Matcher) Matcher {
	var seen atomic.Int64
	return func(req *http.Request) bool {
		return (m == nil || m(req)) && seen.Add(1) == int64(n)
	}
}

// All picks requests that every one of the matchers picks. It asks them in order and stops at the first that
// does not.
func All(matchers ...Matcher) Matcher {
	return func(req *http.Request) bool {
		for _, m := range matchers {
			if !m(req) {
				return false
			}
		}
		return true
	}
}
