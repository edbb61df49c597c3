package tools

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// logRecord is a record that the library logs, or a row of the table of them in
// docs/observability.md. A part of a message that differs is an ellipsis.
type logRecord struct {
	from, level, message string
	attributes           []string // their keys
	where                string   // a position or the row
}

// logFrom says who logs the records of a file: the store, Run or Adapt; "" is nobody
// that the document covers.
func logFrom(name string) string {
	switch folder := path.Dir(name); {
	case strings.HasSuffix(name, "_test.go"):
		return ""
	case folder == ".":
		return "store"
	case name == "processor/adapt.go":
		return "Adapt"
	case folder == "processor":
		return "Run"
	case slices.Contains([]string{"progress", "ops", "otel", "memstore"}, folder), strings.HasPrefix(name, "cmd/checkpointctl/"):
		return folder // not in the table, as they log nothing
	}
	return ""
}

// logged returns the records that a file logs.
func logged(t *testing.T, name string, source any) (records []logRecord) {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var function string
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			function = n.Name.Name
		case *ast.CallExpr:
			if r, found := loggedBy(n); found {
				r.where = fset.Position(n.Pos()).String()
				records = append(records, r)
			} else if r.level == "?" && function != "log" { // that of a function log is its caller's
				t.Errorf("%s: the level of a record is not written out", fset.Position(n.Pos()))
			}
		}
		return true
	})
	return records
}

// loggedBy returns the record that a call logs.
func loggedBy(call *ast.CallExpr) (logRecord, bool) {
	selector, isMethod := call.Fun.(*ast.SelectorExpr)
	if !isMethod || !isLogger(selector.X) && selector.Sel.Name != "log" {
		return logRecord{}, false
	}
	var level string
	arguments := call.Args
	switch selector.Sel.Name {
	case "Debug", "Info", "Warn", "Error":
		level = strings.ToLower(selector.Sel.Name)
	case "DebugContext", "InfoContext", "WarnContext", "ErrorContext":
		level, arguments = strings.ToLower(strings.TrimSuffix(selector.Sel.Name, "Context")), arguments[1:]
	case "Log", "LogAttrs", "log":
		of, isConstant := arguments[1].(*ast.SelectorExpr)
		if !isConstant {
			return logRecord{level: "?"}, false
		}
		level, arguments = strings.ToLower(strings.TrimPrefix(of.Sel.Name, "Level")), arguments[2:]
	default: // With, Enabled
		return logRecord{}, false
	}
	r := logRecord{level: level, message: messageOf(arguments[0])}
	for i := 1; i < len(arguments); i++ {
		switch a := arguments[i].(type) {
		case *ast.CallExpr: // slog.String and such
			r.attributes = append(r.attributes, messageOf(a.Args[0]))
		default:
			r.attributes = append(r.attributes, messageOf(a))
			i++
		}
	}
	return r, true
}

func isLogger(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name == "log" || x.Name == "logger" || x.Name == "slog"
	case *ast.SelectorExpr:
		return x.Sel.Name == "log" || x.Sel.Name == "Logger"
	case *ast.CallExpr: // of With
		of, isMethod := x.Fun.(*ast.SelectorExpr)
		return isMethod && isLogger(of.X)
	}
	return false
}

// messageOf returns a text, with an ellipsis for what is not constant.
func messageOf(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(x.Value); err == nil {
			return text
		}
	case *ast.BinaryExpr:
		return messageOf(x.X) + messageOf(x.Y)
	}
	return "…"
}

// logTable returns the rows of the table of log records in a document.
func logTable(text string) (rows []logRecord) {
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 5 {
			continue
		}
		code := func(cell string) (found []string) {
			for _, c := range inlineCode.FindAllString(cell, -1) {
				found = append(found, strings.Trim(c, "`"))
			}
			return found
		}
		if from, message := code(cells[0]), code(cells[2]); len(from) == 1 && len(message) == 1 {
			rows = append(rows, logRecord{
				from: from[0], level: strings.TrimSpace(cells[1]), message: message[0], attributes: code(cells[3]), where: message[0],
			})
		}
	}
	return rows
}

// describes reports whether a row of the table is about a record.
func (row logRecord) describes(r logRecord) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(row.message), "…", ".*")
	return row.from == r.from && row.level == r.level && regexp.MustCompile("^"+pattern+"$").MatchString(r.message)
}

// compareLogs says how the table differs from the records.
func compareLogs(rows, records []logRecord) (differences []string) {
	described := make(map[string]map[string]bool) // messages by row
	for _, r := range records {
		n := 0
		for _, row := range rows {
			if !row.describes(r) {
				continue
			}
			n++
			if described[row.where] == nil {
				described[row.where] = make(map[string]bool)
			}
			described[row.where][r.message] = true
			for _, key := range r.attributes {
				if key != "…" && !slices.Contains(row.attributes, key) {
					differences = append(differences, row.where+": the attribute "+key+" is missing")
				}
			}
		}
		if n != 1 {
			differences = append(differences, r.where+": "+strconv.Itoa(n)+" rows for "+r.from+", "+r.level+": "+r.message)
		}
	}
	for _, row := range rows {
		if len(described[row.where]) != 1 {
			differences = append(differences, strconv.Itoa(len(described[row.where]))+" messages for the row "+row.from+", "+row.level+": "+row.message)
		}
	}
	return differences
}

// TestLogTable finds each record that the library logs in the table of
// docs/observability.md, with its level and its attributes, and nothing else there.
func TestLogTable(t *testing.T) {
	var records []logRecord
	for _, name := range files(t, ".go") {
		from := logFrom(name)
		if from == "" {
			continue
		}
		for _, r := range logged(t, filepath.Join(repository(t), filepath.FromSlash(name)), nil) {
			r.from = from
			records = append(records, r)
		}
	}
	var rows []logRecord
	for _, s := range sections(read(t, "docs/observability.md")) {
		if s.heading == "Logs" {
			rows = logTable(s.text)
		}
	}
	if len(rows) < 20 {
		t.Errorf("the table has %d rows", len(rows))
	}
	for _, difference := range compareLogs(rows, records) {
		t.Error(difference)
	}
}

// TestLogTableDifferences shows what TestLogTable finds.
func TestLogTableDifferences(t *testing.T) {
	const source = `package p
func f() {
	t.log.Warn("it failed", "error", err)
	s.settings.Logger.LogAttrs(ctx, slog.LevelInfo, string(op)+" works "+again(), slog.String("blob", b))
	c.log(ctx, slog.LevelDebug, "lost")
	log.With("x", 1).Error("bad")
	t.Error("a test's")
}
func (c claim) log() { c.Logger.LogAttrs(ctx, level, message) }
`
	const table = "| from | level | message | attributes | when |\n|---|---|---|---|---|\n| `p` | warn | `it failed` | `error` | a |\n" +
		"| `p` | info | `… works …` | `blob` | b |\n| `p` | debug | `lost` | | c |\n| `p` | error | `b…` | | d |\n"
	records := logged(t, "p.go", source)
	for i := range records {
		records[i].from = "p"
	}
	for change, want := range map[[2]string]int{
		{"", ""}:                           0,
		{"| warn |", "| error |"}:          2,
		{"it failed", "it fails"}:          2,
		{"| `p` | debug", "| `q` | debug"}: 2,
		{"`error` |", "|"}:                 1,
		{"| `p` | error | `b…` | | d |", "| `p` | error | `b…` | | d |\n| `p` | info | `not there` | | e |"}: 1,
		{"| `p` | error | `b…` | | d |", ""}: 1,
	} {
		if got := compareLogs(logTable(strings.Replace(table, change[0], change[1], 1)), records); len(got) != want {
			t.Errorf("%q: %q", change, got)
		}
	}
}

var prometheusName = regexp.MustCompile("`((?:checkpointstore|messaging)_[a-z_]+)`")

// unknownMetrics returns the names in Prometheus that a document has in its text, and
// not in its table of metrics.
func unknownMetrics(text string) (unknown []string) {
	var known []string
	for line := range strings.Lines(text) {
		if cells := strings.Split(line, "|"); len(cells) == 8 { // six columns
			for _, found := range prometheusName.FindAllStringSubmatch(cells[2], -1) {
				known = append(known, found[1])
			}
		}
	}
	for _, found := range prometheusName.FindAllStringSubmatch(text, -1) {
		name := strings.TrimSuffix(found[1], "_count") // of a histogram
		if !slices.Contains(known, name) {
			unknown = append(unknown, found[1])
		}
	}
	return unknown
}

// TestWatchedMetricsExist finds every metric that docs/observability.md says to watch in
// its table of metrics.
func TestWatchedMetricsExist(t *testing.T) {
	text := read(t, "docs/observability.md")
	if unknown := unknownMetrics(text); len(unknown) > 0 {
		t.Errorf("not in the table: %q", unknown)
	}
	if broken := strings.Replace(text, "`checkpointstore_pending_events`; `Status`", "`checkpointstore_pending_event`; `Status`", 1); len(unknownMetrics(broken)) != 1 {
		t.Error("a wrong name is not found")
	}
}
