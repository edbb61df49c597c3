package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// timeline prints what happens, with the seconds since the beginning.
type timeline struct {
	mu    sync.Mutex
	out   io.Writer
	begun time.Time
}

func newTimeline(out io.Writer) *timeline { return &timeline{out: out, begun: time.Now()} }

func (t *timeline) printf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, "%6.2fs  %s\n", time.Since(t.begun).Seconds(), fmt.Sprintf(format, args...))
}
