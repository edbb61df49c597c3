package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ea947076/checkpointstore/bench/internal/backend"
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

// ClaimTimes reads from the document how long claims took at 5 ms for each
// request, by subject. So the chart can show nothing that the tables do not.
func ClaimTimes(document string) (map[string][]chart.Point, error) {
	text, err := between(document)
	if err != nil {
		return nil, err
	}
	of := slices.IndexFunc(tables(), func(t table) bool { return t.backend == backend.TLS })
	title := tables()[of].title
	points := make(map[string][]chart.Point)
	for _, t := range parse(text) {
		if t.title != title {
			continue
		}
		for _, row := range t.rows {
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
		return nil, fmt.Errorf("the document has no claims at 5 ms under %q", title)
	}
	return points, nil
}
