package report

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/ea947076/checkpointstore/bench/internal/chart"
	"github.com/ea947076/checkpointstore/bench/internal/subject"
	"github.com/ea947076/checkpointstore/bench/internal/workload"
)

// written is a table as it stands in the document.
type written struct {
	title   string
	columns []string
	rows    [][]string
}

// parse reads the tables that [Tables] wrote.
func parse(text string) []written {
	var all []written
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if title, found := strings.CutPrefix(line, "### "); found {
			all = append(all, written{title: title})
			continue
		}
		if len(all) == 0 || !strings.HasPrefix(line, "| ") {
			continue
		}
		t, cells := &all[len(all)-1], strings.Split(strings.Trim(line, "| "), " | ")
		switch {
		case t.columns == nil:
			t.columns = cells
		case cells[0] != "---":
			t.rows = append(t.rows, cells)
		}
	}
	return all
}

// cell is that of a row, by the column's title.
func (t written) cell(row []string, title string) string {
	i := slices.Index(t.columns, title)
	if i < 0 || i >= len(row) {
		return ""
	}
	return row[i]
}

// Chart draws the claim times of a document.
func Chart(document string) (string, error) {
	times, err := claimTimes(document)
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
		name := l.name + ": " + duration(points[len(points)-1].Seconds)
		lines = append(lines, chart.Line{Name: name, Class: l.subject, Points: points})
	}
	return chart.SVG(chart.Text{
		Title: "Time of one ClaimOwnership call, 5 ms for each request",
		Description: "Lines of the time that claims of 4 to 1024 partitions take. " +
			"The official Go store sends one claim after another; checkpointstore sends 32 at once and is close to bare azblob calls.",
		XAxis: "partitions claimed (logarithmic)",
		YAxis: "time, median (logarithmic)",
	}, lines)
}

// claimTimes reads from the document how long claims took at 5 ms for each request, by subject. So the chart can show
// nothing that the tables do not.
func claimTimes(document string) (map[string][]chart.Point, error) {
	_, text, _, err := section(document)
	if err != nil {
		return nil, err
	}
	points := make(map[string][]chart.Point)
	for _, t := range parse(text) {
		for _, row := range t.rows { // only the TLS table has latencies
			if t.cell(row, callTitle) != string(workload.Claim) || t.cell(row, latencyTitle) != "5 ms" {
				continue
			}
			records, err := strconv.Atoi(t.cell(row, recordsTitle))
			if err != nil {
				return nil, err
			}
			for _, name := range subject.Names() {
				seconds, err := parseDurations(t.cell(row, name))
				if err != nil {
					return nil, err
				}
				points[name] = append(points[name], chart.Point{Records: records, Seconds: seconds})
			}
		}
	}
	if len(points) == 0 {
		return nil, errors.New("the document has no claims at 5 ms")
	}
	return points, nil
}
