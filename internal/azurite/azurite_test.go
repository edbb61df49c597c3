package azurite

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	code := m.Run()
	CloseShared()
	os.Exit(code)
}

func TestStart(t *testing.T) {
	t.Setenv(EndpointVariable, "")
	shared := Shared(t)
	if again := Shared(t); again != shared {
		t.Errorf("second Shared gave %s, first %s", again.Endpoint(), shared.Endpoint())
	}
	own, err := Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if own.Endpoint() == shared.Endpoint() {
		t.Errorf("two servers at %s", own.Endpoint())
	}
	for _, server := range []*Server{shared, own} {
		response, err := http.Get(server.Endpoint() + "?comp=list")
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if name := response.Header.Get("Server"); !strings.HasPrefix(name, "Azurite-Blob/") {
			t.Errorf("%s is answered by %q", server.Endpoint(), name)
		}
	}
	own.Close()
	own.Close()
	select {
	case <-own.process.Done():
	default:
		t.Error("the process is still there after Close")
	}
}

func TestStartUsesTheEndpointVariable(t *testing.T) {
	running := httptest.NewServer(http.NotFoundHandler())
	defer running.Close()
	const gone = "http://127.0.0.1:1" // where nobody listens, as another test may on a port that was free
	for value, want := range map[string]string{
		running.URL:                            running.URL + "/devstoreaccount1",
		running.URL + "/devstoreaccount1/":     running.URL + "/devstoreaccount1",
		running.URL + "/other?comp=list#there": running.URL + "/other",
		gone:                                   "",
		"127.0.0.1:10000":                      "",
		"ftp://127.0.0.1/devstoreaccount1":     "",
		"http://":                              "",
		"http://%zz":                           "",
	} {
		t.Setenv(EndpointVariable, value)
		server, err := Start(t.Context())
		switch {
		case want == "" && (err == nil || !strings.Contains(err.Error(), EndpointVariable) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: error %v, want one line that names the variable", value, err)
		case want != "" && err != nil:
			t.Errorf("%s: %v", value, err)
		case want != "":
			if server.Endpoint() != want {
				t.Errorf("%s: endpoint %s, want %s", value, server.Endpoint(), want)
			}
			server.Close() // does nothing, as someone else started it
		}
	}
}

func TestStartWithoutNodeSaysWhatToInstall(t *testing.T) {
	for _, name := range []string{"HOME", "USERPROFILE", "XDG_CACHE_HOME", "LocalAppData", "PATH"} {
		t.Setenv(name, t.TempDir())
	}
	t.Setenv(EndpointVariable, "")
	_, err := Start(t.Context())
	const want = "start azurite: install npm package azurite: npm is not on PATH: install Node.js 20 or later, or set AZURITE_BLOB_ENDPOINT"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}
