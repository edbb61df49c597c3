package live

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

const (
	// keepAlive is after what silence a stream of events has a comment, so that
	// proxies and browsers see that it is alive.
	keepAlive = 15 * time.Second

	// writeTimeout is how long a browser may take to accept an event.
	writeTimeout = 10 * time.Second
)

// stream sends an event for the latest round and for each one that follows, until the
// browser goes or the server ends.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	control := http.NewResponseController(w)
	send := func(format string, args ...any) bool {
		if err := control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return false
		}
		if _, err := fmt.Fprintf(w, format, args...); err != nil {
			return false
		}
		return control.Flush() == nil
	}
	if !send("retry: 1000\n\n") { // milliseconds until the browser connects again
		return
	}
	silence := time.NewTicker(keepAlive)
	defer silence.Stop()
	sent := -1
	for {
		v, changed := s.collector.watch()
		if v != nil && v.round != sent {
			sent = v.round
			if !send("event: round\ndata: {\"time\":%q}\n\n", v.time.UTC().Format(time.RFC3339Nano)) {
				return
			}
			silence.Reset(keepAlive)
		}
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		case <-silence.C:
			if !send(": still here\n\n") {
				return
			}
		}
	}
}
