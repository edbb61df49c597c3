package report

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/ea947076/checkpointstore/bench/internal/workload"
)

// What stands between these lines of the document is written by the command.
const (
	begin = "<!-- begin: written by bench -->\n"
	end   = "<!-- end: written by bench -->\n"
)

// Measured is what the command writes: where and when it ran, the targets and the
// tables.
func Measured(rows []workload.Row, command string, now time.Time) string {
	return fmt.Sprintf("%s\n\n%s%s", where(command, now), TargetList(Targets(rows)), Tables(rows))
}

// where names the machine, the versions, the day and the command, and nothing
// that would tell one machine from another of its kind.
func where(command string, now time.Time) string {
	cpu := ""
	if model := cpuModel(); model != "" {
		cpu = " (" + model + ")"
	}
	return fmt.Sprintf("%d cores%s, %s, %s/%s, %s%s, `%s`.",
		runtime.GOMAXPROCS(0), cpu, runtime.Version(), runtime.GOOS, runtime.GOARCH, versions(), now.UTC().Format(time.DateOnly), command)
}

// cpuModel is empty where it is not known.
func cpuModel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(info)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// versions are those of the measured modules, as "a v1, b v2, ".
func versions() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var text strings.Builder
	for _, m := range info.Deps {
		for _, name := range []string{"azblob", "azeventhubs/v2"} {
			if strings.HasSuffix(m.Path, "/"+name) {
				fmt.Fprintf(&text, "%s %s, ", name, m.Version)
			}
		}
	}
	return text.String()
}

// Replace puts what was measured into the document.
func Replace(document, measured string) (string, error) {
	before, rest, found := strings.Cut(document, begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return "", errors.New("the document has no lines between which to write")
	}
	return before + begin + "\n" + measured + "\n" + end + after, nil
}

// between is what Replace put there.
func between(document string) (string, error) {
	_, rest, found := strings.Cut(document, begin)
	text, _, closed := strings.Cut(rest, end)
	if !found || !closed {
		return "", errors.New("the document has no lines between which to read")
	}
	return text, nil
}
