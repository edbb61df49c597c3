package azurite

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	code := m.Run()
	CloseShared()
	os.Exit(code)
}

func TestStart(t *testing.T) {
	if os.Getenv(EndpointVariable) != "" {
		t.Skip("starts an Azurite of its own: left out as " + EndpointVariable + " is set")
	}
	server := Shared(t)
	if again := Shared(t); again != server {
		t.Errorf("second Shared gave %s, first %s", again.Endpoint(), server.Endpoint())
	}
	if !regexp.MustCompile(`^http://127\.0\.0\.1:\d+/devstoreaccount1$`).MatchString(server.Endpoint()) {
		t.Errorf("endpoint %q", server.Endpoint())
	}
	if name := serverName(t, server); !strings.HasPrefix(name, "Azurite-Blob/") {
		t.Errorf("answered by %q", name)
	}

	other, err := Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if other.Endpoint() == server.Endpoint() {
		t.Errorf("two servers at %s", other.Endpoint())
	}
	other.Close()
	other.Close()
	select {
	case <-other.process.Done():
	default:
		t.Error("the process is still there after Close")
	}
	if name := serverName(t, server); !strings.HasPrefix(name, "Azurite-Blob/") {
		t.Errorf("after Close of another: answered by %q", name)
	}
}

func serverName(t *testing.T, server *Server) string {
	t.Helper()
	response, err := http.Get(server.Endpoint() + "?comp=list")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	return response.Header.Get("Server")
}

func TestStartUsesEndpointVariable(t *testing.T) {
	fake := httptest.NewServer(http.NotFoundHandler())
	defer fake.Close()
	for value, want := range map[string]string{
		fake.URL:                            fake.URL + "/devstoreaccount1",
		fake.URL + "/":                      fake.URL + "/devstoreaccount1",
		fake.URL + "/devstoreaccount1/":     fake.URL + "/devstoreaccount1",
		fake.URL + "/other?comp=list#there": fake.URL + "/other",
	} {
		t.Setenv(EndpointVariable, value)
		server, err := Start(t.Context())
		if err != nil {
			t.Errorf("%s: %v", value, err)
			continue
		}
		if server.Endpoint() != want {
			t.Errorf("%s: endpoint %s, want %s", value, server.Endpoint(), want)
		}
		server.Close() // must not fail on a server that it did not start
	}
}

func TestStartRefusesBadEndpointVariable(t *testing.T) {
	for _, value := range []string{"127.0.0.1:10000", "ftp://127.0.0.1/devstoreaccount1", "http://", "http://%zz"} {
		t.Setenv(EndpointVariable, value)
		server, err := Start(t.Context())
		if err == nil {
			t.Errorf("%s: accepted as %s", value, server.Endpoint())
		} else if !strings.Contains(err.Error(), EndpointVariable) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %q", value, err)
		}
	}
}

func TestStartWithoutToolsSaysWhatToInstall(t *testing.T) {
	t.Setenv(EndpointVariable, "")
	t.Setenv("PATH", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("LocalAppData", t.TempDir())
	_, err := Start(t.Context())
	const want = "start azurite: npm is not on PATH: install Node.js 20 or later, or set AZURITE_BLOB_ENDPOINT"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestLockFolderIsFound(t *testing.T) {
	folder, err := lockFolder()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(folder, "package.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(content), `"azurite": "`) {
		t.Errorf("%s does not ask for azurite: %s", folder, content)
	}
}

func TestConnectionString(t *testing.T) {
	server := &Server{endpoint: "http://127.0.0.1:1234/devstoreaccount1"}
	want := "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=" + AccountKey +
		";BlobEndpoint=http://127.0.0.1:1234/devstoreaccount1;"
	if got := server.ConnectionString(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestNewContainerNameIsValidAndFresh(t *testing.T) {
	valid := regexp.MustCompile(`^[a-z0-9](?:-?[a-z0-9]){2,62}$`)
	first, second := NewContainerName(t), NewContainerName(t)
	for _, name := range []string{first, second} {
		if !valid.MatchString(name) {
			t.Errorf("%q is no container name", name)
		}
	}
	if first == second {
		t.Errorf("%q twice", first)
	}
}
