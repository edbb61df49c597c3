// Package report writes what was measured: tables, the targets, and the document
// that they stand in.
package report

import (
	"slices"
	"strconv"
	"strings"

	"github.com/ea947076/checkpointstore/bench/internal/backend"
	"github.com/ea947076/checkpointstore/bench/internal/measure"
	"github.com/ea947076/checkpointstore/bench/internal/subject"
	"github.com/ea947076/checkpointstore/bench/internal/workload"
)

// column is one of a table.
type column struct {
	title string
	cell  func(workload.Row) string
}

// table is one of the document.
type table struct {
	title   string
	backend string
	columns []column
}

// The titles of the columns that tell which work it is.
const (
	callTitle    = "call"
	recordsTitle = "records"
	latencyTitle = "latency"
)

func workColumns() []column {
	return []column{
		{callTitle, func(r workload.Row) string { return r.Label() }},
		{recordsTitle, func(r workload.Row) string { return strconv.Itoa(r.Records) }},
	}
}

func latencyColumns() []column {
	return []column{{latencyTitle, func(r workload.Row) string { return duration(r.Latency.Seconds()) }}}
}

// tables are all of them, in the document's order.
func tables() []table {
	return []table{
		{"In the same process: time", backend.InProcess, slices.Concat(
			workColumns(), timeColumns())},
		{"In the same process: CPU time, allocations, bytes, requests", backend.InProcess, slices.Concat(
			workColumns(), costColumns(), []column{boundedColumn(), requestsColumn()})},
		{"TLS on loopback with a set latency: time, requests, connections", backend.TLS, slices.Concat(
			workColumns(), latencyColumns(), timeColumns(), []column{requestsColumn(), dialledColumn()})},
		{"Azurite: time, CPU time, allocations, bytes, requests", backend.Azurite, slices.Concat(
			workColumns(), timeColumns(), costColumns(), []column{requestsColumn()})},
	}
}

func timeColumns() []column {
	of := func(name string) func(workload.Row) string {
		return func(r workload.Row) string {
			if r.Series[name] == nil {
				return none
			}
			return durations(r.Series[name].Of(measure.Wall))
		}
	}
	return []column{
		{subject.Ours, of(subject.Ours)},
		{subject.Official, of(subject.Official)},
		{subject.Bare, of(subject.Bare)},
		{"official / ours", func(r workload.Row) string { return ratio(r, subject.Official, subject.Ours, measure.Wall) }},
		{"ours / bare", func(r workload.Row) string { return ratio(r, subject.Ours, subject.Bare, measure.Wall) }},
	}
}

// costColumns have the three subjects in each.
func costColumns() []column {
	return []column{
		{"CPU", func(r workload.Row) string { return each(r, measure.CPU, median, duration) }},
		{"CPU, official / ours", func(r workload.Row) string { return ratio(r, subject.Official, subject.Ours, measure.CPU) }},
		{"allocations", func(r workload.Row) string { return each(r, measure.Allocations, median, count) }},
		{"allocations, ours / bare", func(r workload.Row) string { return ratio(r, subject.Ours, subject.Bare, measure.Allocations) }},
		{"KiB", func(r workload.Row) string { return each(r, measure.Bytes, median, kibibytes) }},
	}
}

// boundedColumn compares with bare calls that have the store's deadlines.
func boundedColumn() column {
	return column{"allocations, ours / bounded", func(r workload.Row) string {
		return ratio(r, subject.Ours, subject.Bounded, measure.Allocations)
	}}
}

func requestsColumn() column {
	return column{"requests", func(r workload.Row) string { return each(r, measure.Requests, most, number) }}
}

func dialledColumn() column {
	return column{"dialled", func(r workload.Row) string { return each(r, measure.Dialled, most, number) }}
}

// Tables writes the tables that have rows.
func Tables(rows []workload.Row) string {
	var b strings.Builder
	for _, t := range tables() {
		var lines []string
		for _, row := range rows {
			if row.Backend == t.backend {
				lines = append(lines, line(t.columns, func(c column) string { return c.cell(row) }))
			}
		}
		if len(lines) == 0 {
			continue
		}
		b.WriteString("\n### " + t.title + "\n\n")
		b.WriteString(line(t.columns, func(c column) string { return c.title }))
		b.WriteString(line(t.columns, func(column) string { return "---" }))
		b.WriteString(strings.Join(lines, ""))
	}
	return b.String()
}

func line(columns []column, cell func(column) string) string {
	var b strings.Builder
	for _, c := range columns {
		b.WriteString("| " + cell(c) + " ")
	}
	return b.String() + "|\n"
}
