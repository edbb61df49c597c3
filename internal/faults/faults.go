// Package faults is a transport that does to requests what networks and services do to them: it delays, loses, refuses,
// repeats late, cuts and misanswers them, by the draw of a seed.
//
// A [Transport] stands between a client and another transport, as a policy.Transporter or a http.RoundTripper. Its
// [Rule]s say which faults may strike. Transports can be stacked, and one rule's fault wraps those of the rules after
// it: latency goes in front of a lost answer.
//
// What strikes a request is decided from the seed, the fault's name, the request's method and URL, and how many times
// the transport has seen those. So it does not depend on how requests to different URLs interleave, and a rule more or
// less does not change what the others do.
//
// A client that counts connections with [httptrace] sees of a fault what it would see of a real one: a request that was
// never sent asks for a connection and gets none, any other one has had a connection.
package faults

import (
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// Rule says how often a fault strikes, and which requests.
type Rule struct {
	Fault  Fault
	Chance float64                  // from 0, never, to 1, always
	Match  func(*http.Request) bool // nil is all requests
}

// Fault is what may become of a request. The constructors of this package make one.
type Fault struct {
	name string
	do   func(hit, *http.Request, send) (*http.Response, error)
}

// String is the fault's name, which [Transport.Struck] counts it by.
func (f Fault) String() string { return f.name }

// Named is the fault under another name. Faults of one name strike the same requests.
func (f Fault) Named(name string) Fault {
	f.name = name
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

// send is what comes after a fault.
type send func(*http.Request) (*http.Response, error)

// Transport strikes requests with faults on their way to another transport. Use [New]; the zero value is not ready. All
// methods are safe for concurrent use. Requests that are applied late are sent by goroutines that outlive the call: see
// [Transport.Drain].
type Transport struct {
	next  policy.Transporter
	seed  uint64
	rules []Rule

	mu     sync.Mutex // guards what follows
	healed bool
	seen   map[uint64]uint64 // how often, by a hash of method and URL
	struck map[string]int    // by the fault's name
	down   time.Time         // until when connections are refused
	late   late
}

var (
	_ policy.Transporter = (*Transport)(nil)
	_ http.RoundTripper  = (*Transport)(nil)
)

// New returns a transport in front of next.
func New(next policy.Transporter, seed uint64, rules ...Rule) *Transport {
	t := &Transport{next: next, seed: seed, rules: rules, seen: map[uint64]uint64{}, struck: map[string]int{}}
	t.late.flush = make(chan struct{})
	return t
}

// RoundTripper makes a http.RoundTripper the next transport.
func RoundTripper(next http.RoundTripper) policy.Transporter { return roundTripper{next} }

type roundTripper struct{ http.RoundTripper }

func (r roundTripper) Do(req *http.Request) (*http.Response, error) { return r.RoundTrip(req) }

// Do sends a request, as policy.Transporter asks. The errors of faults are *url.Error, as those of http.Client.
func (t *Transport) Do(req *http.Request) (*http.Response, error) {
	resp, err := t.RoundTrip(req)
	if err == nil {
		return resp, nil
	}
	if _, wrapped := err.(*url.Error); wrapped {
		return nil, err
	}
	op := req.Method[:1] + strings.ToLower(req.Method[1:])
	return nil, &url.Error{Op: op, URL: req.URL.Redacted(), Err: err}
}

// RoundTrip sends a request, as http.RoundTripper asks.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	through := t.next.Do
	for _, s := range t.draw(req) {
		inner := through
		through = func(req *http.Request) (*http.Response, error) { return s.fault.do(s.hit, req, inner) }
	}
	return through(req)
}

// strike is a fault that a request has drawn.
type strike struct {
	fault Fault
	hit   hit
}

// draw decides what strikes a request, the innermost fault first.
func (t *Transport) draw(req *http.Request) []strike {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.healed {
		return nil
	}
	id := hash(req.Method, req.URL.Host, req.URL.EscapedPath(), req.URL.RawQuery)
	t.seen[id]++
	var strikes []strike
	for i := len(t.rules) - 1; i >= 0; i-- {
		rule := t.rules[i]
		if rule.Match != nil && !rule.Match(req) {
			continue
		}
		random := rand.New(rand.NewPCG(t.seed^hash(rule.Fault.name), id+t.seen[id]))
		if random.Float64() < rule.Chance {
			strikes = append(strikes, strike{rule.Fault, hit{random, t}})
			t.struck[rule.Fault.name]++
		}
	}
	if time.Now().Before(t.down) {
		strikes = append(strikes, strike{RefuseConnection(), hit{on: t}})
	}
	return strikes
}

func hash(parts ...string) uint64 {
	h := fnv.New64a()
	for _, part := range parts {
		_, _ = h.Write([]byte(part))
		_, _ = h.Write([]byte{0})
	}
	return h.Sum64()
}

// Heal ends all faults: from now on requests pass as they are. Those that a fault has struck already meet it yet.
func (t *Transport) Heal() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.healed = true
}

// Struck returns how many times each fault has struck, by its name.
func (t *Transport) Struck() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.struck)
}
