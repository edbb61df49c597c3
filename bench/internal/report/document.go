package report

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/ea947076/checkpointstore/bench/internal/workload"
)

// The files of the documentation.
const (
	DocumentFile = "performance.md"
	ChartFile    = "claims.svg"
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

// section returns what is between the two lines, and what is before and after.
func section(document string) (before, text, after string, err error) {
	before, rest, found := strings.Cut(document, begin)
	text, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return "", "", "", errors.New("the document has no lines between which the results stand")
	}
	return before, text, after, nil
}

// Update writes what was measured into the document, and draws the chart from the document.
func Update(folder, measured string) error {
	path := filepath.Join(folder, DocumentFile)
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, _, after, err := section(string(old))
	if err != nil {
		return err
	}
	document := before + begin + "\n" + measured + "\n" + end + after
	svg, err := Chart(document)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(document), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, ChartFile), []byte(svg), 0o644)
}
