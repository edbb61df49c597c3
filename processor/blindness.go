package processor

import (
	"slices"
	"time"
)

// blindness is the time during which a scope's ownerships could not be read from
// here. The zero value has always seen.
type blindness struct {
	spans  []span    // over
	since  time.Time // of the one that lasts, zero if none does
	lastOK time.Time // when the list was read last
}

type span struct{ from, to time.Time }

// maxSpans bounds what a storage that comes and goes can make us remember.
const maxSpans = 1024

// fail tells of a read that began at start and failed, and reports whether it is
// the first. A read that began before another one succeeded says nothing about
// the time before that.
func (b *blindness) fail(start time.Time) bool {
	if !b.since.IsZero() {
		return false
	}
	b.since = start
	if start.Before(b.lastOK) {
		b.since = b.lastOK
	}
	return true
}

// see tells of a read that succeeded, and returns for how long none did.
func (b *blindness) see(now time.Time) time.Duration {
	b.lastOK = now
	if b.since.IsZero() {
		return 0
	}
	s := span{b.since, now}
	b.since = time.Time{}
	b.spans = append(b.spans, s)
	if len(b.spans) > maxSpans {
		b.spans = b.spans[1:]
	}
	return s.to.Sub(s.from)
}

// forget drops the spans that lie before the oldest record that they may be
// added to.
func (b *blindness) forget(oldest time.Time) {
	b.spans = slices.DeleteFunc(b.spans, func(s span) bool { return !s.to.After(oldest) })
}

// moved is t plus the blind time after it. It never lies after now unless t does.
func (b *blindness) moved(t, now time.Time) time.Time {
	var blind time.Duration
	for _, s := range b.spans {
		blind += s.after(t)
	}
	if !b.since.IsZero() {
		blind += span{b.since, now}.after(t)
	}
	return t.Add(blind)
}

// after is how much of the span lies after t.
func (s span) after(t time.Time) time.Duration {
	if s.from.Before(t) {
		s.from = t
	}
	return max(s.to.Sub(s.from), 0)
}
