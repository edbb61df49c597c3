package interop_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/nodepkg"
)

const (
	installJava  = "install a JDK 17 or later"
	minJava      = 17
	mavenCentral = "https://repo1.maven.org/maven2/"
)

// prepareJava downloads the locked jars. The JDK compiles the driver when it starts it.
func prepareJava(ctx context.Context) (nodepkg.Command, error) {
	program, err := findJava(ctx)
	if err != nil {
		return nodepkg.Command{}, err
	}
	lock, err := os.ReadFile(filepath.Join("java", "jars.sha256"))
	if err != nil {
		return nodepkg.Command{}, err
	}
	dir, err := install(ctx, "interop-java", string(lock), func(ctx context.Context, dir string) error {
		for line := range strings.Lines(string(lock)) {
			sum, jar, _ := strings.Cut(strings.TrimSpace(line), "  ")
			var err error
			for range 3 { // of dozens of downloads, one may fail
				if err = download(ctx, mavenCentral+jar, sum, filepath.Join(dir, path.Base(jar))); err == nil {
					break
				}
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return nodepkg.Command{
		Program: program,
		Args:    []string{"-cp", filepath.Join(dir, "*"), filepath.Join("java", "Driver.java")},
	}, err
}

// findJava returns the java on PATH if it is new enough and has a compiler.
func findJava(ctx context.Context) (string, error) {
	program, err := onPath("java", installJava)
	if err != nil {
		return "", err
	}
	// It prints "jdk.compiler@17.0.15" first. It fails without a compiler or modules.
	output, err := exec.CommandContext(ctx, program, "--describe-module", "jdk.compiler").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("java on PATH is not usable (%s): %s", lastLine(output), installJava)
	}
	first, _, _ := strings.Cut(string(output), "\n")
	_, version, _ := strings.Cut(strings.TrimSpace(first), "@")
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err != nil || n < minJava {
		return "", fmt.Errorf("java on PATH is %s: %s", first, installJava)
	}
	return program, nil
}

// download writes the content of a URL to a file, if it has this SHA-256 sum.
func download(ctx context.Context, url, sum, file string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("%w: check that Maven Central can be reached", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, response.Status)
	}
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("GET %s: %w", url, err)
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(content)); got != sum {
		return fmt.Errorf("GET %s: its SHA-256 is %s, and not the locked %s", url, got, sum)
	}
	return os.WriteFile(file, content, 0o600)
}

func TestAJarThatIsNotTheLockedOneIsRefused(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "jar") }))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "a.jar")
	const sum = "f2c0c6f2bf2e1bd7ab5a7bd54d5d9a9b27f0c0d7f4e8a5b9a6c1c3b6a7e2d9f0"
	require.ErrorContains(t, download(t.Context(), server.URL, sum, file), "and not the locked "+sum)
	require.NoFileExists(t, file)
	require.NoError(t, download(t.Context(), server.URL, fmt.Sprintf("%x", sha256.Sum256([]byte("jar"))), file))
	require.FileExists(t, file)
}

func TestAnOldJavaIsRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell script as java: left out on Windows")
	}
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	for script, want := range map[string]string{
		"echo jdk.compiler@11.0.2":                "java on PATH is jdk.compiler@11.0.2: install a JDK 17 or later",
		"echo jdk.compiler not found >&2; exit 1": "java on PATH is not usable (jdk.compiler not found): install a JDK 17 or later",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "java"), []byte("#!/bin/sh\n"+script+"\n"), 0o700))
		_, err := findJava(t.Context())
		require.EqualError(t, err, want)
	}
}
