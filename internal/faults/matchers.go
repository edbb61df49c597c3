package faults

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
)

// Matcher picks requests to a blob service. It may be called by several goroutines at once.
type Matcher func(*http.Request) bool

// Op is an operation of the blob service.
type Op string

// The operations that [OpOf] knows. A request that is none of them is Unsupported.
const (
	Unsupported            Op = "Unsupported"
	PutBlob                Op = "PutBlob"
	SetMetadata            Op = "SetMetadata"
	GetProperties          Op = "GetProperties"
	DeleteBlob             Op = "DeleteBlob"
	ListBlobs              Op = "ListBlobs"
	CreateContainer        Op = "CreateContainer"
	GetContainerProperties Op = "GetContainerProperties"
)

// OpOf returns the operation that a request asks for.
func OpOf(req *http.Request) Op {
	type form struct{ method, restype, comp string }
	is := form{method: req.Method}
	switch req.URL.RawQuery { // the two busiest forms, without parsing
	case "":
	case "comp=metadata":
		is.comp = "metadata"
	default:
		query := req.URL.Query()
		is.restype, is.comp = query.Get("restype"), query.Get("comp")
	}
	switch is {
	case form{http.MethodGet, "container", "list"}:
		return ListBlobs
	case form{http.MethodPut, "container", ""}:
		return CreateContainer
	case form{http.MethodGet, "container", ""}:
		return GetContainerProperties
	}
	if _, blob := Target(req); blob == "" {
		return Unsupported
	}
	switch is {
	case form{http.MethodPut, "", ""}:
		return PutBlob
	case form{http.MethodPut, "", "metadata"}:
		return SetMetadata
	case form{http.MethodHead, "", ""}:
		return GetProperties
	case form{http.MethodDelete, "", ""}:
		return DeleteBlob
	}
	return Unsupported
}

// Target returns the container and the blob that a request is about. Of a URL as Azurite has them they are the account,
// and the container with the blob.
func Target(req *http.Request) (container, blob string) {
	container, blob, _ = strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
	return container, blob
}

// OpIs picks requests for one of the operations.
func OpIs(ops ...Op) Matcher {
	return func(req *http.Request) bool { return slices.Contains(ops, OpOf(req)) }
}

// BlobIs picks requests on the blob with a name.
func BlobIs(name string) Matcher {
	return func(req *http.Request) bool {
		_, blob := Target(req)
		return blob == name && name != ""
	}
}

// NameHas picks requests on blobs whose name has a part, and listings whose prefix has it.
func NameHas(part string) Matcher {
	return func(req *http.Request) bool {
		_, name := Target(req)
		if OpOf(req) == ListBlobs {
			name = req.URL.Query().Get("prefix")
		}
		return strings.Contains(name, part)
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
		return !slices.ContainsFunc(matchers, func(m Matcher) bool { return !m(req) })
	}
}
