package live

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// securityHeaders are on every answer. The page has no markup, script or style but
// its own, and nobody else may frame it or read it.
var securityHeaders = [][2]string{
	{"Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
	{"X-Content-Type-Options", "nosniff"},
	{"Referrer-Policy", "no-referrer"},
	{"Cross-Origin-Resource-Policy", "same-origin"},
	{"Cross-Origin-Opener-Policy", "same-origin"},
}

// secure sets the security headers, and refuses foreign hosts and methods that change
// something.
func secure(hosts hosts, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, h := range securityHeaders {
			w.Header().Set(h[0], h[1])
		}
		switch {
		case !hosts.allow(r.Host):
			http.Error(w, "this page is not served under that Host: use the address that checkpointctl printed, or name it with --host", http.StatusForbidden)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// hosts are the values of the Host header that are accepted. A page of another site
// whose name resolves to this machine (DNS rebinding) has another one.
type hosts struct {
	names map[string]bool
	port  string
	any   bool // listens on every address: names of addresses are accepted
}

// allowedHosts returns the hosts for an address that is listened on.
func allowedHosts(address string, further []string) hosts {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = address, "80"
	}
	h := hosts{names: make(map[string]bool), port: port}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		h.any = true
	}
	for _, name := range []string{"localhost", "127.0.0.1", "::1", host} {
		h.add(net.JoinHostPort(name, port))
	}
	for _, name := range further {
		h.add(name)
	}
	return h
}

func (h hosts) add(hostport string) {
	hostport = strings.ToLower(hostport)
	h.names[hostport] = true
	if name, found := strings.CutSuffix(hostport, ":80"); found {
		h.names[name] = true // browsers leave the default port out
	}
}

func (h hosts) allow(header string) bool {
	if h.names[strings.ToLower(header)] {
		return true
	}
	if !h.any {
		return false
	}
	// An address in the header cannot come from a foreign name.
	at, err := netip.ParseAddrPort(header)
	if err == nil {
		_, port, _ := net.SplitHostPort(header)
		return at.IsValid() && port == h.port
	}
	_, err = netip.ParseAddr(strings.Trim(header, "[]"))
	return err == nil && h.port == "80"
}
