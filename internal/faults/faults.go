// Package faults is a transport that does to requests what networks and services do to them: it delays, loses, refuses,
// repeats late, cuts and misanswers them.
//
// A [Transport] stands between a client and another transport, as a policy.Transporter or an http.RoundTripper. Each [Fault]
// says which requests it strikes: by a matcher and a count, as scripted tests need it, or by chance, as random histories
// do. A fault wraps those that were injected after it: latency goes in front of a lost response, and a request that one
// fault ends does not reach the next. Matchers see every request all the same.
//
// Chance is decided by the seed, the fault's name, the request's method and URL, and how many times the transport has seen
// those. It does not depend on how requests to different URLs interleave, and one fault more or less does not change what
// the others do.
//
// A client that counts connections with [httptrace] sees of a fault what it would see of a real one: a request that was
// never sent asks for a connection and gets none, any other one has had a connection.
package faults

import (
	"context"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// Fault is what may become of a request, and which requests it strikes. It is a plain value: the constructors of this
// package make faults that strike all requests, and the methods return changed copies. The zero value strikes none.
type Fault struct {
	Chance float64 // that it strikes a request that it matches, from 0, never, to 1, always
	Match  Matcher // nil matches all requests
	Times  int     // how many requests it strikes at most; 0 is any number

	name string
	do   func(hit, *http.Request, TransportFunc) (*http.Response, error)
}

func always(name string, do func(hit, *http.Request, TransportFunc) (*http.Response, error)) Fault {
	return Fault{Chance: 1, name: name, do: do}
}

// String returns the fault's name, which [Transport.Struck] counts it by.
func (f Fault) String() string { return f.name }

// Named returns the fault under another name. Faults of one name strike the same requests.
func (f Fault) Named(name string) Fault {
	f.name = name
	return f
}

// WithChance returns a fault that strikes by the draw of the transport's seed.
func (f Fault) WithChance(chance float64) Fault {
	f.Chance = chance
	return f
}

// On returns a fault that strikes the requests that m picks.
func (f Fault) On(m Matcher) Fault {
	f.Match = m
	return f
}

// Limit returns a fault that ends after n strikes.
func (f Fault) Limit(n int) Fault {
	f.Times = n
	return f
}

// Once returns a fault that ends after one strike.
func (f Fault) Once() Fault { return f.Limit(1) }

// Before returns a fault that runs a function first, in the goroutine of the request. The function may send requests of its
// own; those meet the same faults. A context that it ends ends the request after it was sent and before it is applied.
func (f Fault) Before(run func()) Fault {
	do := f.do
	f.do = func(h hit, req *http.Request, next TransportFunc) (*http.Response, error) {
		run()
		if err := context.Cause(req.Context()); err != nil {
			Sent(req)
			note(req, "cancelled")
			return nil, err
		}
		return do(h, req, next)
	}
	return f
}

// hit is one strike of a fault.
type hit struct {
	*rand.Rand
	on *Transport
}

// between draws a duration from low to high.
func (h hit) between(low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return low + time.Duration(h.Int64N(int64(high-low)))
}

// TransportFunc is a function that sends requests.
type TransportFunc func(*http.Request) (*http.Response, error)

// Do calls the function, as policy.Transporter asks.
func (send TransportFunc) Do(req *http.Request) (*http.Response, error) { return send(req) }

// Transport strikes requests with faults on their way to another transport. Use [New]; the zero value is not ready. All
// methods are safe for concurrent use. Requests that are applied late are sent by goroutines that outlive the call: see
// [Transport.Drain].
type Transport struct {
	// Now is the clock of the answers that faults make. Set it before the first request.
	Now func() time.Time

	next policy.Transporter
	seed uint64

	mu       sync.Mutex // guards what follows; never held while a matcher or a fault runs
	injected []*injected
	seen     map[uint64]uint64 // how often, by a hash of method and URL
	struck   map[string]int    // by the fault's name
	down     time.Time         // until when connections are refused
	late     late
}

// injected is a fault in a transport.
type injected struct {
	Fault
	strikes int // guarded by Transport.mu
}

var (
	_ policy.Transporter = (*Transport)(nil)
	_ http.RoundTripper  = (*Transport)(nil)
)

// New returns a transport in front of next.
func New(next policy.Transporter, seed uint64, faults ...Fault) *Transport {
	t := &Transport{Now: time.Now, next: next, seed: seed, seen: map[uint64]uint64{}, struck: map[string]int{}}
	t.late.flush = make(chan struct{})
	for _, f := range faults {
		t.Inject(f)
	}
	return t
}

// Inject adds a fault behind those that are there, and returns a function that removes it.
func (t *Transport) Inject(f Fault) (remove func()) {
	added := &injected{Fault: f}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.injected = append(slices.Clip(t.injected), added)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.injected = slices.DeleteFunc(slices.Clone(t.injected), func(other *injected) bool { return other == added })
	}
}

// Heal ends all faults: from now on requests pass as they are. A fault that has struck a request goes on with it.
func (t *Transport) Heal() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.injected, t.down = nil, time.Time{}
}

// Struck returns how many times each fault has struck, by its name.
func (t *Transport) Struck() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.struck)
}

// Do sends a request, as policy.Transporter asks. The errors of faults are *url.Error, as those of http.Client.
func (t *Transport) Do(req *http.Request) (*http.Response, error) {
	resp, err := t.RoundTrip(req)
	if err != nil {
		return nil, URLError(req, err)
	}
	return resp, nil
}

// RoundTrip sends a request, as http.RoundTripper asks.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := context.Cause(req.Context()); err != nil { // before it starts, as http.Transport does
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	draw, injected, down := t.see(req)
	send := TransportFunc(t.next.Do)
	for _, f := range slices.Backward(matching(injected, req)) {
		next := send
		send = func(req *http.Request) (*http.Response, error) {
			if h, strikes := t.strike(f, draw); strikes {
				return f.do(h, req, next)
			}
			return next(req)
		}
	}
	if down {
		return refuse(hit{}, req, send)
	}
	return send(req)
}

func matching(all []*injected, req *http.Request) (matching []*injected) {
	for _, f := range all {
		if f.Match == nil || f.Match(req) {
			matching = append(matching, f)
		}
	}
	return matching
}

// see returns what a request's chances are drawn from, the faults in front of it, and whether there is an outage.
func (t *Transport) see(req *http.Request) (draw uint64, injected []*injected, down bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.injected) == 0 {
		return 0, nil, false
	}
	id := hash(req.Method, req.URL.Host, req.URL.EscapedPath(), req.URL.RawQuery)
	t.seen[id]++
	return id + t.seen[id], t.injected, time.Now().Before(t.down)
}

// strike reports whether a fault strikes a request that has reached it.
func (t *Transport) strike(f *injected, draw uint64) (hit, bool) {
	random := rand.New(rand.NewPCG(t.seed^hash(f.name), draw))
	if random.Float64() >= f.Chance {
		return hit{}, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.Times > 0 && f.strikes >= f.Times {
		return hit{}, false
	}
	f.strikes++
	t.struck[f.name]++
	return hit{random, t}, true
}

func hash(parts ...string) uint64 {
	h := fnv.New64a()
	for _, part := range parts {
		_, _ = h.Write([]byte(part))
		_, _ = h.Write([]byte{0})
	}
	return h.Sum64()
}

// URLError wraps an error as http.Client does, unless it is wrapped already.
func URLError(req *http.Request, err error) error {
	if _, wrapped := err.(*url.Error); wrapped {
		return err
	}
	op := req.Method
	if op == "" {
		op = http.MethodGet
	}
	return &url.Error{Op: op[:1] + strings.ToLower(op[1:]), URL: req.URL.Redacted(), Err: err}
}
