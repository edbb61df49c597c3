package live_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/live"
)

func TestStream(t *testing.T) {
	bubble(t, func(w *world) {
		w.own(scope("hub", "group"), "x", "0")
		w.start(func(o *live.Options) { o.Interval = 40 * time.Second })
		s := w.listen()
		require.Equal(w, "text/event-stream; charset=utf-8", s.response.Header.Get("Content-Type"))
		require.Equal(w, "no-store", s.response.Header.Get("Cache-Control"))
		require.Equal(w, []string{"retry: 1000", "event: round", `data: {"time":"2000-01-01T00:00:00Z"}`}, s.received())
		w.wait(14 * time.Second)
		require.Empty(w, s.received())
		w.wait(2 * time.Second)
		require.Equal(w, []string{": still here"}, s.received())
		w.wait(24 * time.Second)
		require.Equal(w, []string{": still here", "event: round", `data: {"time":"2000-01-01T00:00:40Z"}`}, s.received())

		s.hangUp()
		w.wait(10 * time.Second)
		s = w.listen()
		require.Equal(w, []string{"retry: 1000", "event: round", `data: {"time":"2000-01-01T00:00:40Z"}`}, s.received(),
			"a browser that connects again gets the latest round at once")
		w.wait(30 * time.Minute)
		got := s.received()
		require.Equal(w, `data: {"time":"2000-01-01T00:30:40Z"}`, got[len(got)-1], "no deadline ends a stream")
		require.NoError(w, w.stop())
		require.Equal(w, []string{"end"}, s.received())
	})
}

func TestManyStreams(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		var streams []*stream
		for range 50 {
			streams = append(streams, w.listen())
		}
		w.rounds(1)
		for _, s := range streams {
			require.Len(w, s.received(), 5)
		}
		for _, s := range streams[:25] {
			s.hangUp()
		}
		w.rounds(1)
		for _, s := range streams[25:] {
			require.Len(w, s.received(), 2)
		}
		head := w.do(http.MethodHead, "/api/v1/events")
		require.Equal(w, http.StatusOK, head.StatusCode)
		require.NoError(w, w.stop())
		for _, s := range streams[25:] {
			require.Equal(w, []string{"end"}, s.received())
		}
	})
}

// A browser that takes nothing is left behind, and holds nobody up.
func TestABrowserThatDoesNotRead(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		connection, err := w.client.Transport.(*http.Transport).DialContext(w.Context(), "tcp", address)
		require.NoError(w, err)
		defer connection.Close()
		_, err = connection.Write([]byte("GET /api/v1/events HTTP/1.1\r\nHost: " + address + "\r\n\r\n"))
		require.NoError(w, err)
		other := w.listen()
		w.rounds(6)
		require.Len(w, other.received(), 1+7*2)
		require.Equal(w, http.StatusOK, w.get("/healthz").StatusCode)
		_, err = connection.Read(make([]byte, 1))
		require.Error(w, err, "the server hung up")
	})
}

func TestServeEnds(t *testing.T) {
	bubble(t, func(w *world) {
		w.own(scope("hub", "group"), "x", "0")
		w.hubs["hub"] = newHub(1)
		w.start()
		s := w.listen()
		began := time.Now()
		require.NoError(w, w.stop())
		require.Less(w, time.Since(began), time.Second, "of the bubble's time")
		require.Contains(w, s.received(), "end")
		require.EqualValues(w, 1, w.hubs["hub"].closed.Load())
		reads := w.store.reads.Load()
		w.rounds(3)
		require.Equal(w, reads, w.store.reads.Load())
	})
	// In the middle of a round.
	bubble(t, func(w *world) {
		w.own(scope("hub", "group"), "x", "0")
		w.store.misbehave(misbehaviour{delay: time.Hour})
		w.start()
		began := time.Now()
		require.NoError(w, w.stop())
		require.Less(w, time.Since(began), time.Second, "of the bubble's time")
	})
}
