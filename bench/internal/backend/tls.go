package backend

import (
	"context"
	"crypto/x509"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"time"
)

// tlsServer speaks HTTP/1.1 over TLS on loopback, as Azure Blob Storage does.
type tlsServer struct {
	answers  *answers
	server   *httptest.Server
	latency  atomic.Int64
	gather   atomic.Pointer[gathering]
	requests atomic.Int64
	dialled  atomic.Int64
}

// gathering are requests that wait for each other.
type gathering struct {
	missing atomic.Int64
	all     chan struct{} // closed when none is missing
}

// trust makes the process trust the certificate of httptest, which is the same
// for all of its servers. So each store keeps the transport that it has by
// default. It needs the setting x509usefallbackroots=1, which is in go.mod.
var trust sync.Once

// newTLS is the back end [TLS].
func newTLS() (Backend, error) {
	a, err := newAnswers()
	if err != nil {
		return nil, err
	}
	b := &tlsServer{answers: a}
	b.server = httptest.NewUnstartedServer(b)
	b.server.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that end with the client
	b.server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			b.dialled.Add(1)
		}
	}
	b.server.StartTLS()
	trust.Do(func() {
		roots := x509.NewCertPool()
		roots.AddCert(b.server.Certificate())
		x509.SetFallbackRoots(roots)
	})
	return b, nil
}

// ServeHTTP answers after the latency.
func (b *tlsServer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	b.requests.Add(1)
	if latency := time.Duration(b.latency.Load()); latency > 0 {
		time.Sleep(latency)
	}
	if g := b.gather.Load(); g != nil {
		if g.missing.Add(-1) == 0 {
			b.gather.Store(nil)
			close(g.all)
		}
		<-g.all
	}
	a := b.answers.to(req)
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
	if req.Method != http.MethodHead {
		_, _ = w.Write(a.body) // a client that went away misses it
	}
}

func (b *tlsServer) Container(context.Context) (Container, error) {
	return Container{URL: b.server.URL + "/c"}, nil
}

func (b *tlsServer) Fill(ctx context.Context, _ Container, prefix string, blobs int, metadata map[string]string) error {
	return b.answers.fill(ctx, prefix, blobs, metadata)
}

func (b *tlsServer) Drop(context.Context, Container) error { return nil }

func (b *tlsServer) SetLatency(latency time.Duration) error {
	b.latency.Store(int64(latency))
	return nil
}

func (b *tlsServer) Gather(n int) error {
	g := &gathering{all: make(chan struct{})}
	g.missing.Store(int64(n))
	b.gather.Store(g)
	return nil
}

func (b *tlsServer) Traffic() Traffic {
	return Traffic{Requests: b.requests.Load(), Dialled: b.dialled.Load()}
}

func (b *tlsServer) Close() { b.server.CloseClientConnections(); b.server.Close() }
