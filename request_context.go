package checkpointstore

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
)

// requestContext is the context of one request with all its tries. It observes what
// azcore's pipeline looks up in it. This works with any client, including one that
// the caller built:
//
//   - azcore looks up the additional headers of a request ([policy.WithHTTPHeader])
//     once in every try, below the retries and the credential and above the
//     transport. azcore hides this key from the requests of a credential.
//   - azcore looks up where to put the response ([policy.WithCaptureResponse]) when
//     it has the last one. It drops that response if the context ends between two
//     tries.
type requestContext struct {
	context.Context // the call's

	host  string // of the request's URL; if empty, connections are not observed
	hooks httptrace.ClientTrace

	answer   *http.Response  // the last one, once azcore has given up
	captured **http.Response // where somebody above wants it instead

	mu     sync.Mutex // guards what follows
	tries  int
	unsent int  // tries, before this one, for which there was no connection
	ours   bool // the last connection that was asked for is to the request's host
	asked  bool // this try asked for a connection to it
	had    bool // this try had one
}

// headerKey and responseKey have one value each, which only azcore's keys find.
var (
	headerKey   = policy.WithHTTPHeader(context.Background(), http.Header{})
	responseKey = policy.WithCaptureResponse(context.Background(), new(*http.Response))
)

// Value implements [context.Context].
func (r *requestContext) Value(key any) any {
	value := r.Context.Value(key)
	switch {
	case headerKey.Value(key) != nil:
		r.try()
	case responseKey.Value(key) == nil:
	case value == nil:
		return &r.answer
	default:
		r.captured, _ = value.(**http.Response)
	}
	return value
}

// try begins a try.
func (r *requestContext) try() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked && !r.had {
		r.unsent++
	}
	r.tries++
	r.ours, r.asked, r.had = false, false, false
}

// traced is the context with hooks that notice tries without a connection.
func (r *requestContext) traced() context.Context {
	r.hooks.GetConn = r.getConn
	r.hooks.GotConn = r.gotConn
	return httptrace.WithClientTrace(r, &r.hooks)
}

// getConn records that a connection was requested. A credential may use the same
// context for requests of its own, to other hosts.
func (r *requestContext) getConn(hostPort string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ours = isHostOf(hostPort, r.host)
	r.asked = r.asked || r.ours
}

func (r *requestContext) gotConn(httptrace.GotConnInfo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.had = r.had || r.ours
}

// sent returns how many tries may have reached the service: all except those whose
// transport reported that it got no connection to the service. The number is not
// known if no try was seen at all.
func (r *requestContext) sent() (n int, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n = r.tries - r.unsent
	if r.asked && !r.had {
		n--
	}
	return n, r.tries > 0
}

// isHostOf reports whether a connection to host:port is one to a URL's host.
func isHostOf(hostPort, host string) bool {
	if len(hostPort) < len(host) || !strings.EqualFold(hostPort[:len(host)], host) {
		return false
	}
	port := hostPort[len(host):]
	return port == "" || port == ":443" || port == ":80"
}

// hostOf is the host of a URL, with the port if it has one.
func hostOf(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}

// explain adds to a request's error what azcore leaves out: the last response, if
// the context ended before the next try; what ended the request; and whether the
// credential failed.
func (r *requestContext) explain(err error) error {
	if _, answered := err.(*azcore.ResponseError); answered || err == nil {
		return err
	}
	r.mu.Lock()
	tries := r.tries
	r.mu.Unlock()
	by := endOf(r.Context)
	if by == byNothing && wraps(err, func(err error) bool { return err == context.DeadlineExceeded }) {
		by = byTryTimeout
	}
	if by != byNothing {
		e := &endedError{err: err, by: by, tries: tries}
		if answer := r.lastAnswer(); answer != nil && answer.StatusCode >= http.StatusBadRequest {
			e.before = runtime.NewResponseError(answer)
		}
		err = e
	}
	if isCredentialFailure(err, tries) {
		return &credentialError{err}
	}
	return err
}

// lastAnswer returns the last response that azcore had, or nil.
func (r *requestContext) lastAnswer() *http.Response {
	if r.answer == nil && r.captured != nil {
		return *r.captured
	}
	return r.answer
}

// observed sends one request and explains its error.
func observed[T any](ctx context.Context, request func(context.Context) (T, error)) (T, error) {
	r := &requestContext{Context: ctx}
	answer, err := request(r)
	return answer, r.explain(err)
}
