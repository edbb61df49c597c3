package nodepkg

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
)

// tiny is a package without dependencies, which npm installs without a network.
var tiny = fstest.MapFS{
	"main.js":           {Data: []byte(`console.log("tiny")`)},
	"package.json":      {Data: []byte(`{"name":"tiny","version":"1.0.0","private":true}`)},
	"package-lock.json": {Data: []byte(`{"name":"tiny","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{"":{"name":"tiny","version":"1.0.0"}}}`)},
}

// dependent is tiny with a dependency, whose entry in the lock file is given.
func dependent(entry string) fs.FS {
	return fstest.MapFS{
		"package.json":      {Data: []byte(`{"name":"tiny","version":"1.0.0","dependencies":{"other":"1.0.0"}}`)},
		"package-lock.json": {Data: []byte(`{"lockfileVersion":3,"packages":{"":{"name":"tiny","version":"1.0.0","dependencies":{"other":"1.0.0"}}` + entry + `}}`)},
	}
}

// setHome makes this test's home folder, and with it the cache.
func setHome(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"HOME", "USERPROFILE", "LocalAppData"} {
		t.Setenv(name, dir)
	}
	t.Setenv("XDG_CACHE_HOME", "")
}

func needNode(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Node: left out by -short")
	}
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is not on PATH: install Node.js 20 or later, or use -short", tool)
		}
	}
}

func TestInstallOnceForMany(t *testing.T) {
	needNode(t)
	setHome(t, t.TempDir())
	const callers = 4
	dirs, errs := make([]string, callers), make([]error, callers)
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() { dirs[i], errs[i] = Install(t.Context(), "tiny", tiny) })
	}
	group.Wait()
	for i := range callers {
		if errs[i] != nil || dirs[i] != dirs[0] {
			t.Fatalf("caller %d got %s, %v, and caller 0 %s", i, dirs[i], errs[i], dirs[0])
		}
	}
	if err := fstest.TestFS(os.DirFS(dirs[0]), "main.js", "package.json", "package-lock.json"); err != nil {
		t.Error(err)
	}
	if exists(dirs[0] + ".tmp") {
		t.Error("the folder of the install is left over")
	}

	t.Setenv("PATH", t.TempDir()) // what is installed needs neither npm nor node
	if dir, err := Install(t.Context(), "tiny", tiny); err != nil || dir != dirs[0] {
		t.Errorf("again: %s, %v", dir, err)
	}
	changed := fstest.MapFS{"main.js": {Data: []byte(`console.log("changed")`)}}
	if dir, err := Install(t.Context(), "tiny", changed); err == nil {
		t.Errorf("other files were found in %s", dir)
	}
}

// TestInstallAfterOneThatWasKilled finds half of an install and the file of its lock.
func TestInstallAfterOneThatWasKilled(t *testing.T) {
	needNode(t)
	setHome(t, t.TempDir())
	dir, err := Install(t.Context(), "tiny", tiny)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, dir+".tmp"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir+".tmp", "half"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if again, err := Install(t.Context(), "tiny", tiny); err != nil || again != dir || exists(filepath.Join(dir, "half")) {
		t.Errorf("got %s, %v, with the half of it %t", again, err, exists(filepath.Join(dir, "half")))
	}
}

func TestInstallWithoutHome(t *testing.T) {
	needNode(t)
	setHome(t, "")
	temp := t.TempDir()
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
		t.Setenv(name, temp)
	}
	dir, err := Install(t.Context(), "tiny", tiny)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(dir, temp) {
		t.Errorf("%s is not in %s", dir, temp)
	}
}

func TestInstallFailsInOneLine(t *testing.T) {
	needNode(t)
	setHome(t, t.TempDir())
	t.Setenv("npm_config_fetch_retries", "0")
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("not what was locked"))
	}))
	defer registry.Close()
	locked := `,"node_modules/other":{"version":"1.0.0","resolved":"` + registry.URL + `/other.tgz","integrity":"sha512-AAAA"}`
	for says, files := range map[string]fs.FS{
		"npm ci: exit status 1: code EINTEGRITY":                            dependent(locked),
		"npm ci: exit status 1: code EUSAGE":                                dependent(""),
		"npm ci: exit status 1: code EUSAGE; The `npm ci` command can only": fstest.MapFS{"package.json": tiny["package.json"]},
	} {
		_, err := Install(t.Context(), "tiny", files)
		if err == nil || !strings.HasPrefix(err.Error(), "install npm package tiny: "+says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %v, want one line with %s", err, says)
		}
	}
}
