package report

import (
	"os"
	"path/filepath"

	"github.com/ea947076/checkpointstore/bench/internal/chart"
	"github.com/ea947076/checkpointstore/bench/internal/subject"
)

// The files of the documentation.
const (
	DocumentFile = "performance.md"
	ChartFile    = "claims.svg"
)

// Update writes what was measured into the document, and draws the chart from
// the document.
func Update(folder, measured string) error {
	path := filepath.Join(folder, DocumentFile)
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	document, err := Replace(string(old), measured)
	if err != nil {
		return err
	}
	svg, err := Chart(document)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(document), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, ChartFile), []byte(svg), 0o644)
}

// Chart draws the claim times of a document.
func Chart(document string) (string, error) {
	times, err := ClaimTimes(document)
	if err != nil {
		return "", err
	}
	var lines []chart.Line
	for _, l := range []struct{ subject, name string }{
		{subject.Official, "official Go store"},
		{subject.Ours, "checkpointstore"},
		{subject.Bare, "bare azblob, 32 at once"},
	} {
		points := times[l.subject]
		last := points[len(points)-1]
		lines = append(lines, chart.Line{
			Name:   l.name + ": " + duration(last.Seconds),
			Class:  l.subject,
			Points: points,
		})
	}
	return chart.SVG(chart.Text{
		Title: "Time of one ClaimOwnership call, 5 ms for each request",
		Description: "Lines of the time that claims of 4 to 1024 partitions take. " +
			"The official Go store sends one claim after another; checkpointstore sends 32 at once and is close to bare azblob calls.",
		XAxis: "partitions claimed (logarithmic)",
		YAxis: "time, median (logarithmic)",
	}, lines)
}
