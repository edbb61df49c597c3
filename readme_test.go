package checkpointstore_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// trimmed is text without the white space around each line.
func trimmed(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.Join(lines, "\n")
}

// TestREADMEShowsWhatCompiles finds every Go snippet of the README in an example
// that is compiled.
func TestREADMEShowsWhatCompiles(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	var examples string
	for _, name := range []string{"example_test.go", filepath.Join("processor", "examples", "batches", "main.go")} {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		examples += trimmed(string(text))
	}
	snippets := strings.Split(string(readme), "```go\n")[1:]
	require.Len(t, snippets, 2)
	for _, s := range snippets {
		code, _, closed := strings.Cut(s, "```")
		require.True(t, closed)
		require.Contains(t, examples, trimmed(code))
	}
}

// TestREADMENamesWhatIsThere follows the README's links to files, and finds the
// options and errors that it lists.
func TestREADMENamesWhatIsThere(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	readme := string(text)
	links := 0
	for _, part := range strings.Split(readme, "](")[1:] {
		target, _, _ := strings.Cut(part, ")")
		if strings.Contains(target, "://") {
			continue
		}
		_, err := os.Stat(filepath.FromSlash(target))
		require.NoError(t, err, target)
		links++
	}
	require.Positive(t, links)
	for _, name := range []string{
		"ClientOptions", "APIVersion", "SecondaryHost", "BlobNaming", "MaxConcurrency", "Timeout", "DisableFencing", "Logger",
		"ErrInvalidArgument", "ErrContainerNotFound", "ErrNotAuthorized", "ErrStaleCheckpoint", "ErrNotFound",
	} {
		require.Contains(t, readme, "| `"+name+"`", name)
	}
}
