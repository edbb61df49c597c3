package live_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/live"
	"github.com/ea947076/checkpointstore/memstore"
)

// A name that somebody else resolves to this machine is refused (DNS rebinding).
func TestHosts(t *testing.T) {
	for _, c := range []struct {
		listen string
		hosts  []string
		allow  []string
		refuse []string
	}{
		{
			listen: "127.0.0.1:8460",
			allow:  []string{"127.0.0.1:8460", "localhost:8460", "LOCALHOST:8460", "[::1]:8460"},
			refuse: []string{
				"", "evil.example", "evil.example:8460", "127.0.0.1", "127.0.0.1:80", "localhost", "localhost:8461", "localhost.evil.example:8460",
				"10.0.0.1:8460", "127.0.0.1:8460.evil.example", "localhost:8460@evil.example", "::1:8460", "192.168.1.1:8460",
			},
		},
		{
			listen: "127.0.0.1:80",
			allow:  []string{"127.0.0.1", "localhost", "localhost:80", "[::1]"},
			refuse: []string{"evil.example", "evil.example:80", "localhost:8460"},
		},
		{
			listen: "10.1.2.3:8460",
			hosts:  []string{"Status.Example.com", "myhost:8460"},
			allow:  []string{"10.1.2.3:8460", "localhost:8460", "status.example.com", "myhost:8460"},
			refuse: []string{"10.1.2.4:8460", "status.example.com:8460", "myhost", "evil.example:8460"},
		},
		{
			// Every address: those of the machine are not known, and an address cannot
			// come from a foreign name.
			listen: "[::]:8460",
			allow:  []string{"10.1.2.3:8460", "[fe80::1]:8460", "127.0.0.1:8460", "localhost:8460"},
			refuse: []string{"evil.example:8460", "10.1.2.3:8461", "10.1.2.3", "10.1.2.3.evil.example:8460"},
		},
		{
			listen: "0.0.0.0:80",
			allow:  []string{"10.1.2.3", "[fe80::1]", "10.1.2.3:80"},
			refuse: []string{"evil.example", "10.1.2.3:8460"},
		},
	} {
		handler := live.New(live.Options{Store: memstore.New()}).Handler(c.listen, c.hosts...)
		status := func(host string) int {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Host = host
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			return w.Code
		}
		for _, host := range c.allow {
			require.Equal(t, http.StatusOK, status(host), "%s at %s", host, c.listen)
		}
		for _, host := range c.refuse {
			require.Equal(t, http.StatusForbidden, status(host), "%q at %s", host, c.listen)
		}
	}
}

func TestMethods(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		for _, path := range []string{"/", "/static/index.html", "/api/v1/groups", "/api/v1/events", "/metrics", "/healthz", "/nothing"} {
			for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions, "TRACE", "PROPFIND"} {
				r := w.do(method, path)
				require.Equal(w, http.StatusMethodNotAllowed, r.StatusCode, "%s %s", method, path)
				require.Equal(w, "GET, HEAD", r.Header.Get("Allow"))
			}
		}
	})
}

func TestSecurityHeaders(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		check := func(r response) {
			w.Helper()
			for name, want := range map[string]string{
				"Content-Security-Policy":      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
				"X-Content-Type-Options":       "nosniff",
				"Referrer-Policy":              "no-referrer",
				"Cross-Origin-Resource-Policy": "same-origin",
				"Cross-Origin-Opener-Policy":   "same-origin",
			} {
				require.Equal(w, []string{want}, r.Header.Values(name), "%s of %s", name, r.Request.URL)
			}
			require.Empty(w, r.Header.Get("Access-Control-Allow-Origin"))
			require.NotEmpty(w, r.Header.Get("Content-Type"))
		}
		for _, path := range []string{"/", "/static/index.html", "/api/v1/groups", "/metrics", "/healthz", "/nothing", "/static/", "/api/v1/groups/none"} {
			check(w.get(path, "Origin", "https://evil.example"))
		}
		check(w.do(http.MethodPost, "/"))
		check(w.get("/", "Host", "evil.example"))
	})
}

func TestPage(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		r := w.get("/")
		require.Equal(w, http.StatusOK, r.StatusCode)
		require.Equal(w, "text/html; charset=utf-8", r.Header.Get("Content-Type"))
		require.Equal(w, w.get("/static/index.html").body, r.body)
		require.Equal(w, http.StatusNotModified, w.get("/", "If-None-Match", r.Header.Get("ETag")).StatusCode)
		for _, path := range []string{"/static", "/static/", "/static/none.js", "/static/../live.go", "/static/%2e%2e/live.go", "/index.html", "/page/index.html"} {
			require.Equal(w, http.StatusNotFound, w.get(path).StatusCode, path)
		}
	})
}
