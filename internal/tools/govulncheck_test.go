// Package tools tests the checks of .ci.
package tools

import (
	"compress/gzip"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// TestGovulncheck runs .ci/govulncheck on the library, against databases that
// know of a vulnerability, know of none, and cannot be read or reached.
func TestGovulncheck(t *testing.T) {
	local := func(name string) string {
		dir, err := filepath.Abs(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return "file://" + filepath.ToSlash(dir)
	}
	const gone = "http://127.0.0.1:1" // nobody listens there
	garbage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>log in</html>")) }))
	defer garbage.Close()
	var asked atomic.Int32
	going := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) > 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer going.Close()
	clean := os.DirFS(filepath.Join("testdata", "clean"))
	var looked atomic.Int32
	failingOnce := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := fs.ReadFile(clean, strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/"), ".gz"))
		switch {
		case looked.Add(1) == 2: // the first one after that of curl
			w.WriteHeader(http.StatusServiceUnavailable)
		case err != nil:
			w.WriteHeader(http.StatusNotFound)
		default:
			packed := gzip.NewWriter(w)
			_, _ = packed.Write(data)
			_ = packed.Close()
		}
	}))
	defer failingOnce.Close()
	for name, c := range map[string]struct {
		database string
		args     []string
		code     int
		says     string
	}{
		"vulnerable":           {local("vulnerable"), []string{"."}, 1, "GO-0000-0001"},
		"the second of two is": {local("vulnerable"), []string{"internal/tools", "."}, 1, "GO-0000-0001"},
		"clean":                {local("clean"), []string{"."}, 0, "No vulnerabilities found."},
		"failing once":         {failingOnce.URL, []string{"."}, 0, "No vulnerabilities found."},
		"not there":            {local("absent"), []string{"."}, 3, "NOT CHECKED: vulnerabilities"},
		"not reached":          {gone, []string{"."}, 3, "NOT CHECKED: vulnerabilities"},
		"going away":           {going.URL, []string{"."}, 3, "NOT CHECKED: vulnerabilities"},
		"not a database":       {garbage.URL, []string{"."}, 2, "gzip"},
		"no such directory":    {local("clean"), []string{"absent"}, 2, "No such file or directory"},
		"nothing to check":     {local("clean"), nil, 2, "usage:"},
	} {
		t.Run(name, func(t *testing.T) {
			command := exec.Command(filepath.Join("..", "..", ".ci", "govulncheck"), c.args...)
			command.Env = append(os.Environ(), "GOVULNDB="+c.database, "LC_ALL=C")
			output, err := command.CombinedOutput()
			if command.ProcessState == nil {
				t.Fatal(err)
			}
			text := string(output)
			if code := command.ProcessState.ExitCode(); code != c.code || !strings.Contains(text, c.says) {
				t.Fatalf("exit status %d, want %d, and %q in\n%s", code, c.code, c.says, text)
			}
			lines := strings.Split(strings.TrimSpace(text), "\n")
			if last := strings.HasPrefix(lines[len(lines)-1], "NOT CHECKED: "); last != (c.code == 3) {
				t.Errorf("the last line is %q", lines[len(lines)-1])
			}
		})
	}
}
