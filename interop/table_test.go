package interop_test

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// update makes the run write the tables of README.md instead of comparing with them.
var update = flag.Bool("update", false, "write the measured tables into README.md")

const (
	readmeFile = "README.md"
	// off stands in a table for what this run left out.
	off = "off"
)

// table is what was measured, row by row. README.md has it between two comments with its name.
type table struct {
	name string
	rows [][]string // the first one is the header
}

func newTable(name string, header ...string) *table { return &table{name, [][]string{header}} }

func (tb *table) add(row ...string) { tb.rows = append(tb.rows, row) }

// check compares the table with the one in README.md, which is what is expected, or writes it there. It writes only
// what a whole run measured in which nothing failed.
func (tb *table) check(t *testing.T) {
	t.Helper()
	readme, err := os.ReadFile(readmeFile)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(readme), "<!-- "+tb.name+" -->\n")
	require.True(t, found, "%s has no table %s", readmeFile, tb.name)
	documented, after, found := strings.Cut(rest, "<!-- end -->\n")
	require.True(t, found, "the table %s of %s has no end", tb.name, readmeFile)
	if !*update {
		for _, difference := range tb.differences(documented) {
			t.Errorf("%s, table %s: %s", readmeFile, tb.name, difference)
		}
		return
	}
	if t.Failed() {
		t.Fatalf("table %s is not written: its run failed", tb.name)
	}
	for _, row := range tb.rows {
		if slices.Contains(row, off) {
			t.Fatalf("table %s is not written: | %s | was not measured; use neither -short nor a part of the test", tb.name, strings.Join(row, " | "))
		}
	}
	text := before + "<!-- " + tb.name + " -->\n" + tb.text() + "<!-- end -->\n" + after
	require.NoError(t, os.WriteFile(readmeFile, []byte(text), 0o600))
}

// differences are those between what was measured and a documented table.
func (tb *table) differences(documented string) []string {
	var all []string
	lines := slices.DeleteFunc(strings.Split(documented, "\n"), func(line string) bool {
		return line == "" || strings.HasPrefix(line, "| --- |")
	})
	for i, row := range tb.rows {
		if i >= len(lines) {
			all = append(all, "no row "+line(row))
			continue
		}
		want := strings.Split(strings.Trim(lines[i], "| "), " | ")
		if len(want) != len(row) {
			all = append(all, "measured "+line(row)+", documented "+lines[i])
			continue
		}
		for j := range row {
			if row[j] != off && row[j] != want[j] {
				all = append(all, "measured "+row[j]+", documented "+want[j]+" in column "+tb.rows[0][j]+" of "+lines[i])
			}
		}
	}
	for _, surplus := range lines[min(len(tb.rows), len(lines)):] {
		all = append(all, "not measured: "+surplus)
	}
	return all
}

func (tb *table) text() string {
	var text strings.Builder
	for i, row := range tb.rows {
		text.WriteString(line(row) + "\n")
		if i == 0 {
			text.WriteString(line(slices.Repeat([]string{"---"}, len(row))) + "\n")
		}
	}
	return text.String()
}

func line(row []string) string { return "| " + strings.Join(row, " | ") + " |" }

// measure returns the cells of a row, one subtest for each party.
func measure(t *testing.T, parties []party, cell func(*testing.T, party) string) []string {
	t.Helper()
	row := slices.Repeat([]string{off}, len(parties))
	for i, p := range parties {
		t.Run(p.name, func(t *testing.T) {
			p.need(t)
			row[i] = cell(t, p)
		})
	}
	return row
}

func names(parties []party) []string {
	var all []string
	for _, p := range parties {
		all = append(all, p.name)
	}
	return all
}

func TestTableDifferences(t *testing.T) {
	tb := newTable("t", "a", "b")
	tb.add("x", "1")
	tb.add("y", off)
	require.Equal(t, "| a | b |\n| --- | --- |\n| x | 1 |\n| y | off |\n", tb.text())
	require.Empty(t, tb.differences("| a | b |\n| --- | --- |\n| x | 1 |\n| y | 2 |\n"))
	require.Equal(t, []string{"measured 1, documented 3 in column b of | x | 3 |", "not measured: | z | 4 |"},
		tb.differences("| a | b |\n| --- | --- |\n| x | 3 |\n| y | 2 |\n| z | 4 |\n"))
	require.Equal(t, []string{"no row | y | off |"}, tb.differences("| a | b |\n| x | 1 |\n"))
	require.Equal(t, []string{"measured | x | 1 |, documented | x |"}, tb.differences("| a | b |\n| x |\n| y | 2 |\n"))
}
