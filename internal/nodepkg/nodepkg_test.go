package nodepkg

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"
)

// tiny is a package without dependencies, which npm installs without a network.
func tiny() Package {
	return Package{Name: "tiny", Hint: "set SOMETHING", Files: fstest.MapFS{
		"package.json":      {Data: []byte(`{"name":"tiny","version":"1.0.0","private":true}`)},
		"package-lock.json": {Data: []byte(`{"name":"tiny","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{"":{"name":"tiny","version":"1.0.0"}}}`)},
	}}
}

// freshCache makes this test's cache a new folder.
func freshCache(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	t.Setenv("LocalAppData", dir)
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
	freshCache(t)
	const callers = 4
	dirs, errs := make([]string, callers), make([]error, callers)
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() { dirs[i], errs[i] = tiny().Install(t.Context()) })
	}
	group.Wait()
	for i := range callers {
		if errs[i] != nil {
			t.Fatalf("caller %d: %v", i, errs[i])
		}
		if dirs[i] != dirs[0] {
			t.Errorf("caller %d got %s, caller 0 %s", i, dirs[i], dirs[0])
		}
	}
	for _, name := range []string{"package.json", "package-lock.json", marker} {
		if _, err := os.Stat(filepath.Join(dirs[0], name)); err != nil {
			t.Error(err)
		}
	}
	leftovers, err := filepath.Glob(dirs[0] + tempSuffix + "*")
	if err != nil || len(leftovers) != 0 {
		t.Errorf("left over: %v, %v", leftovers, err)
	}

	t.Setenv("PATH", t.TempDir()) // what is installed needs neither npm nor node
	if dir, err := tiny().Install(t.Context()); err != nil || dir != dirs[0] {
		t.Errorf("again: %s, %v", dir, err)
	}
}

func TestInstallRepairsHalfAFolder(t *testing.T) {
	needNode(t)
	freshCache(t)
	dir, err := tiny().Install(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, marker)); err != nil {
		t.Fatal(err)
	}
	killed := dir + tempSuffix + "killed"
	if err := os.Mkdir(killed, 0o700); err != nil {
		t.Fatal(err)
	}
	if again, err := tiny().Install(t.Context()); err != nil || again != dir || !complete(dir) {
		t.Errorf("got %s, %v, complete %t", again, err, complete(dir))
	}
	if _, err := os.Stat(killed); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", killed, err)
	}
}

func TestInstallFailsInOneLine(t *testing.T) {
	needNode(t)
	freshCache(t)
	broken := tiny()
	broken.Files = fstest.MapFS{
		"package.json":      {Data: []byte(`{"name":"tiny","version":"1.0.0","dependencies":{"absent":"1.0.0"}}`)},
		"package-lock.json": tiny().Files.(fstest.MapFS)["package-lock.json"],
	}
	_, err := broken.Install(t.Context())
	if err == nil {
		t.Fatal("a lock file that does not fit was accepted")
	}
	if text := err.Error(); strings.Contains(text, "\n") || !strings.HasPrefix(text, "install npm package tiny: npm ci: ") ||
		!strings.HasSuffix(text, ", or set SOMETHING") {
		t.Errorf("error %q", text)
	}
}

func TestInstallNeedsBothFiles(t *testing.T) {
	_, err := Package{Name: "none", Files: fstest.MapFS{"package.json": {}}}.Install(t.Context())
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestInstallWithoutNPM(t *testing.T) {
	freshCache(t)
	t.Setenv("PATH", t.TempDir())
	_, err := tiny().Install(t.Context())
	const want = "npm is not on PATH: install Node.js 20 or later, or set SOMETHING"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestCacheDirWithoutHome(t *testing.T) {
	for _, name := range []string{"HOME", "XDG_CACHE_HOME", "LocalAppData"} {
		t.Setenv(name, "")
	}
	temp := t.TempDir()
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
		t.Setenv(name, temp)
	}
	dir, err := cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Dir(dir) != filepath.Clean(temp) {
		t.Errorf("cache %s is not in %s", dir, temp)
	}
}

func TestLocks(t *testing.T) {
	for name, lock := range map[string]func(context.Context, string) (func(), error){
		"lock": lock, "lockByCreating": lockByCreating,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "lock")
			unlock, err := lock(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			canceled, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := lock(canceled, path); !errors.Is(err, context.Canceled) {
				t.Errorf("second holder: %v", err)
			}
			unlock()
			unlock, err = lock(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			unlock()
		})
	}
}

func TestLockByCreatingRemovesAStaleFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if _, err := lockByCreating(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * staleAfter)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	unlock, err := lockByCreating(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}

func TestNodeOptions(t *testing.T) {
	for _, c := range []struct{ existing, preload, want string }{
		{"", "/a/w.js", `--require "/a/w.js"`},
		{"--trace-gc", "/a b/w.js", `--trace-gc --require "/a b/w.js"`},
		{"", `C:\a "b"\w.js`, `--require "C:\\a \"b\"\\w.js"`},
	} {
		if got := nodeOptions(c.existing, c.preload); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}
