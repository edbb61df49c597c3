package interop_test

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// update makes the run write the tables of README.md instead of comparing them.
var update = flag.Bool("update", false, "write the measured tables into README.md")

const (
	readmeFile = "README.md"
	// off is a cell that this run did not measure.
	off = "off"
)

// table is what was measured. README.md has it between two comments with its name.
type table struct {
	name string
	rows [][]string // the first one is the header
}

func newTable(name string, header ...string) *table { return &table{name, [][]string{header}} }

func (tbl *table) add(row ...string) { tbl.rows = append(tbl.rows, row) }

// check compares the table with the one in README.md, or writes it there. It only writes a table that was measured as a whole
// without a failure.
func (tbl *table) check(t *testing.T) {
	t.Helper()
	readme, err := os.ReadFile(readmeFile)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(readme), "<!-- "+tbl.name+" -->\n")
	require.True(t, found, "%s has no table %s", readmeFile, tbl.name)
	documented, after, found := strings.Cut(rest, "<!-- end -->\n")
	require.True(t, found, "the table %s of %s has no end", tbl.name, readmeFile)
	if !*update {
		for _, difference := range tbl.differences(documented) {
			t.Errorf("%s, table %s: %s", readmeFile, tbl.name, difference)
		}
		return
	}
	if t.Failed() {
		t.Fatalf("table %s is not written: its run failed", tbl.name)
	}
	for _, row := range tbl.rows {
		if slices.Contains(row, off) {
			t.Fatalf("table %s is not written: | %s | was not measured; use neither -short nor a part of the test", tbl.name, strings.Join(row, " | "))
		}
	}
	text := before + "<!-- " + tbl.name + " -->\n" + tbl.text() + "<!-- end -->\n" + after
	require.NoError(t, os.WriteFile(readmeFile, []byte(text), 0o600))
}

// differences returns how the measured table differs from a documented one.
func (tbl *table) differences(documented string) []string {
	var all []string
	lines := slices.DeleteFunc(strings.Split(documented, "\n"), func(line string) bool {
		return line == "" || strings.HasPrefix(line, "| --- |")
	})
	for i, row := range tbl.rows {
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
				all = append(all, "measured "+row[j]+", documented "+want[j]+" in column "+tbl.rows[0][j]+" of "+lines[i])
			}
		}
	}
	for _, surplus := range lines[min(len(tbl.rows), len(lines)):] {
		all = append(all, "not measured: "+surplus)
	}
	return all
}

func (tbl *table) text() string {
	var text strings.Builder
	for i, row := range tbl.rows {
		text.WriteString(line(row) + "\n")
		if i == 0 {
			text.WriteString(line(slices.Repeat([]string{"---"}, len(row))) + "\n")
		}
	}
	return text.String()
}

func line(row []string) string { return "| " + strings.Join(row, " | ") + " |" }

// measure returns the cells of a row, one subtest for each SDK.
func measure(t *testing.T, sdks []sdk, cell func(*testing.T, sdk) string) []string {
	t.Helper()
	row := slices.Repeat([]string{off}, len(sdks))
	for i, p := range sdks {
		t.Run(p.name, func(t *testing.T) {
			p.need(t)
			row[i] = cell(t, p)
		})
	}
	return row
}

func names(sdks []sdk) []string {
	var all []string
	for _, p := range sdks {
		all = append(all, p.name)
	}
	return all
}

func TestTableDifferences(t *testing.T) {
	tbl := newTable("t", "a", "b")
	tbl.add("x", "1")
	tbl.add("y", off)
	require.Equal(t, "| a | b |\n| --- | --- |\n| x | 1 |\n| y | off |\n", tbl.text())
	require.Empty(t, tbl.differences("| a | b |\n| --- | --- |\n| x | 1 |\n| y | 2 |\n"))
	require.Equal(t, []string{"measured 1, documented 3 in column b of | x | 3 |", "not measured: | z | 4 |"},
		tbl.differences("| a | b |\n| --- | --- |\n| x | 3 |\n| y | 2 |\n| z | 4 |\n"))
	require.Equal(t, []string{"no row | y | off |"}, tbl.differences("| a | b |\n| x | 1 |\n"))
	require.Equal(t, []string{"measured | x | 1 |, documented | x |"}, tbl.differences("| a | b |\n| x |\n| y | 2 |\n"))
}
