package fakeblob

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/ea947076/checkpointstore/internal/faults"
)

// Do answers one request, as policy.Transporter asks.
//
// Errors are *url.Error with the method, the full URL (query included) and the cause, as net/http makes them. A
// request whose context is done before it starts calls no hook of [net/http/httptrace.ClientTrace], one that fails while
// it connects calls GetConn, and any other calls GetConn, GotConn, WroteHeaders and WroteRequest once each.
func (s *Service) Do(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close()
	}
	err := context.Cause(req.Context())
	if err == nil {
		err = checkHeader(req.Header)
	}
	if err != nil {
		return nil, faults.URLError(req, err)
	}
	s.traffic.arrive(faults.OpOf(req))
	defer s.traffic.leave()
	if notes := s.record.begin(req, s.isSecondary(req.URL.Host)); notes != nil {
		req = req.WithContext(faults.WithNotes(req.Context(), notes))
	}
	return s.faults.Do(req)
}

// Inject puts a fault between the clients and the service, behind those that are there, and returns a function that
// removes it. See [faults.Transport].
func (s *Service) Inject(f faults.Fault) (remove func()) { return s.faults.Inject(f) }

// serve applies a request that came through the faults, and answers it.
func (s *Service) serve(req *http.Request) (*http.Response, error) {
	notes := faults.Notes(req.Context())
	if notes == nil {
		notes = func(string) {}
	}
	if !s.serves(req) {
		notes("no such host")
		lookup := &net.DNSError{Err: "no such host", Name: req.URL.Hostname(), IsNotFound: true}
		return nil, faults.Unsent(req, &net.OpError{Op: "dial", Net: "tcp", Err: lookup})
	}
	c := read(req)
	faults.Sent(req)
	r := s.apply(c)
	notes(r.summary())
	return s.response(req, c, r), nil
}

// checkHeader refuses header values that net/http refuses to send.
func checkHeader(header http.Header) error {
	for name, values := range header {
		for _, value := range values {
			for i := 0; i < len(value); i++ {
				if b := value[i]; b < ' ' && b != '\t' || b == 0x7f {
					return fmt.Errorf("net/http: invalid header field value for %q", name)
				}
			}
		}
	}
	return nil
}

// ServeHTTP answers a request that came over a socket. It breaks the connection where Do returns an error.
func (s *Service) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	out := req.Clone(context.Background())
	out.URL.Scheme, out.URL.Host, out.RequestURI = "https", primaryHost, ""
	for name, values := range req.Header { // as a client of the fake writes them
		out.Header[http.CanonicalHeaderKey(name)] = values
	}
	resp, err := s.Do(out)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}
