package fakeblob

import (
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Action says what becomes of a request that a fault matches.
type Action int

const (
	// Serve applies the request and answers it as usual. It is the zero value, for faults that only run hooks or
	// strip headers.
	Serve Action = iota
	// Answer answers with the fault's Status and does not apply the request.
	Answer
	// ApplyThenAnswer applies the request and answers with the fault's Status all the same.
	ApplyThenAnswer
	// Refuse fails before there is a connection: no trace hook is called and the request is not counted.
	Refuse
	// DropBefore resets the connection after the request was sent; it is not applied.
	DropBefore
	// DropAfter applies the request and loses the response.
	DropAfter
	// HangBefore waits until the request's context is done; the request is not applied.
	HangBefore
	// HangAfter applies the request and then waits until its context is done.
	HangAfter
)

// Fault changes how matching requests are treated. It is a plain value: the constructors of this package fill one,
// and [Fault.On], [Fault.Once] and [Fault.Limit] return changed copies.
type Fault struct {
	// Match picks requests; nil picks all. It sees every request, also those that another fault takes.
	Match Matcher
	// Times is how many matching requests the fault takes before it lets the rest pass; 0 means all of them.
	Times int

	Action Action

	// Status, Code, RetryAfter, ContentType and Body make the answer of Answer and ApplyThenAnswer. An empty Code
	// leaves out the x-ms-error-code header and the XML body. A RetryAfter of whole seconds goes into Retry-After,
	// any other, in milliseconds, into x-ms-retry-after-ms. Body, if set, takes the place of the XML body.
	Status      int
	Code        string
	RetryAfter  time.Duration
	ContentType string
	Body        string
	// Detail goes into the XML body as AuthenticationErrorDetail.
	Detail string

	// Before runs when the request has arrived, before anything of it is applied; After runs when it was applied,
	// before the answer (and so never for Answer, DropBefore and HangBefore). Both run in the goroutine of the
	// request, hold no lock and may use the Service.
	Before func()
	After  func()

	// StripHeaders are the names of headers to remove from the response.
	StripHeaders []string
}

// On returns a copy of f for the requests that m picks.
func (f Fault) On(m Matcher) Fault {
	f.Match = m
	return f
}

// Limit returns a copy of f for the first n requests that it matches.
func (f Fault) Limit(n int) Fault {
	f.Times = n
	return f
}

// Once returns a copy of f for the first request that it matches.
func (f Fault) Once() Fault { return f.Limit(1) }

// Inject adds a fault and returns a function that removes it. If several faults match a request, the one injected
// first takes it, alone.
func (s *Service) Inject(f Fault) (remove func()) { return s.faults.add(f) }

func (f *Fault) reply() *reply {
	r := &reply{
		status: f.Status, code: f.Code, detail: f.Detail, contentType: f.ContentType, header: http.Header{},
	}
	if f.Body != "" {
		r.body = []byte(f.Body)
	}
	switch {
	case f.RetryAfter <= 0:
	case f.RetryAfter%time.Second == 0:
		r.header.Set("Retry-After", strconv.FormatInt(int64(f.RetryAfter/time.Second), 10))
	default:
		r.header.Set("x-ms-retry-after-ms", strconv.FormatInt(f.RetryAfter.Milliseconds(), 10))
	}
	return r
}

// armed is a fault in a service.
type armed struct {
	fault Fault
	taken atomic.Int64
}

// take tells whether the fault takes one more request.
func (a *armed) take() bool { return a.fault.Times == 0 || a.taken.Add(1) <= int64(a.fault.Times) }

// faults is the list of a service's faults. Matching takes no lock, so that matchers may use the service.
type faults struct {
	mu   sync.Mutex // guards changes to list
	list atomic.Pointer[[]*armed]
	none Fault // what requests get that no fault takes; never changed
}

func (l *faults) add(f Fault) (remove func()) {
	f.StripHeaders = slices.Clone(f.StripHeaders)
	a := &armed{fault: f}
	l.change(func(list []*armed) []*armed { return append(list, a) })
	return func() {
		l.change(func(list []*armed) []*armed {
			return slices.DeleteFunc(list, func(other *armed) bool { return other == a })
		})
	}
}

// change replaces the list by a changed copy.
func (l *faults) change(edit func([]*armed) []*armed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []*armed
	if old := l.list.Load(); old != nil {
		list = slices.Clone(*old)
	}
	list = edit(list)
	l.list.Store(&list)
}

// match returns the fault that takes a request, or one that changes nothing.
func (l *faults) match(req *http.Request) *Fault {
	list := l.list.Load()
	if list == nil {
		return &l.none
	}
	taken := &l.none
	for _, a := range *list {
		picked := a.fault.Match == nil || a.fault.Match(req)
		if picked && taken == &l.none && a.take() {
			taken = &a.fault
		}
	}
	return taken
}
