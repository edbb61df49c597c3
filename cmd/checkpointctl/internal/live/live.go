// Package live shows consumer groups on a web page that renews itself, as JSON, and
// as metrics for Prometheus. It reads the container and the event hubs in rounds,
// however many browsers look, and changes nothing.
package live

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/ea947076/checkpointstore/ops"
)

// DefaultInterval is the time from one round to the next.
const DefaultInterval = 10 * time.Second

// GCPercent is a GOGC for processes that serve the page. A round leaves more behind
// than it keeps, so that the usual 100 takes twice the memory for little less time.
const GCPercent = 50

// Options say what to show. Store is needed.
type Options struct {
	Store ops.Store

	// OpenHub opens the event hub of a scope, and returns what closes it. It is called
	// once for each event hub, and again if it failed. Nil leaves lag out.
	OpenHub func(ops.Scope) (ops.EventHub, func(), error)

	// Include reports whether to show a consumer group. Nil shows all.
	Include func(ops.Scope) bool

	// EachSpelling shows spellings of the same names as consumer groups of their own,
	// for stores with BlobNamingVerbatim.
	EachSpelling bool

	// Interval is the time from one round to the next. Zero is [DefaultInterval].
	Interval time.Duration

	// Expiration is the consumers' PartitionExpirationDuration. Zero is
	// [ops.DefaultExpiration].
	Expiration time.Duration

	// Hub bounds the requests to each event hub.
	Hub ops.HubOptions

	// Demo is what the API says of itself.
	Demo bool

	// Now is the clock of the page. Nil is time.Now.
	Now func() time.Time
}

// Server reads in rounds and shows what it read. Make one with [New].
type Server struct{ collector *collector }

// New returns a server that has read nothing yet.
func New(options Options) *Server {
	options.Interval = cmp.Or(options.Interval, DefaultInterval)
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Server{newCollector(options)}
}

// Refresh makes one round. It must not be called while Serve runs.
func (s *Server) Refresh(ctx context.Context) { s.collector.refresh(ctx) }

// shutdownTimeout is how long requests may take to end after the context.
const shutdownTimeout = 5 * time.Second

// Serve answers on a listener, and makes a round at each interval, the first one at
// once. It returns nil after the context has ended, all requests are answered and all
// event hubs are closed. Streams of events end with the context. hosts are those of
// Handler.
func (s *Server) Serve(ctx context.Context, listener net.Listener, hosts ...string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler:           s.Handler(listener.Addr().String(), hosts...),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	rounds := make(chan struct{})
	go func() {
		defer close(rounds)
		s.collector.run(ctx)
	}()
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
	}
	cancel()
	<-rounds
	shutdown, stop := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer stop()
	if server.Shutdown(shutdown) != nil {
		_ = server.Close() // a browser that does not take its answer
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Handler answers requests whose Host header is the address that it listens on, that
// of this machine with the same port, or one of hosts, each as name:port.
func (s *Server) Handler(address string, hosts ...string) http.Handler {
	mux := http.NewServeMux()
	s.addPage(mux)
	s.addAPI(mux)
	mux.Handle("/metrics", s.collector.metricsHandler())
	mux.HandleFunc("/healthz", s.healthz)
	return secure(allowedHosts(address, hosts), mux)
}
