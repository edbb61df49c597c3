package cli

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"golang.org/x/term"

	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/report"
	"github.com/ea947076/checkpointstore/ops"
)

// schemaVersion is that of all JSON and YAML. It grows when a field is removed or
// changes its meaning, not when one is added.
const schemaVersion = 1

// outputFlags say how to write.
type outputFlags struct{ format formatValue }

func (f *outputFlags) add(root *cobra.Command) {
	f.format = "table"
	root.PersistentFlags().VarP(&f.format, "output", "o", strings.Join(formats[:len(formats)-1], ", ")+" or "+formats[len(formats)-1])
	completeWith(root, "output", formats...)
}

// completeWith lets a shell complete the values of a flag.
func completeWith(cmd *cobra.Command, flag string, values ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // there is no such flag
	}
}

var formats = []string{"table", "json", "jsonl", "csv", "yaml"}

type formatValue string

func (f *formatValue) String() string { return string(*f) }
func (f *formatValue) Type() string   { return "format" }

func (f *formatValue) Set(text string) error {
	if !slices.Contains(formats, text) {
		return fmt.Errorf("%q is not one of %s", text, strings.Join(formats, ", "))
	}
	*f = formatValue(text)
	return nil
}

// document is what a command shows.
type document struct {
	kind    string // "status"
	about   any    // a struct with JSON tags: fields of the whole
	name    string // of the rows in JSON: "partitions"
	rowType any    // the zero value of a row: a struct with JSON tags, without structs in it
	rows    []any
	head    []string // of the table
	cells   func(row any) []any
}

// write writes a document to stdout in the format asked for. JSON and YAML are one
// object with schemaVersion and kind; JSON lines and CSV have the rows alone. Unknown
// values are null, and empty in CSV.
func (a *app) write(d document) error {
	switch a.output.format {
	case "json":
		return a.writeJSON(d)
	case "yaml":
		return a.writeYAML(d)
	case "jsonl":
		lines := json.NewEncoder(a.out)
		for _, row := range d.rows {
			if err := lines.Encode(row); err != nil {
				return err
			}
		}
		return nil
	case "csv":
		return a.writeCSV(d)
	}
	return a.writeTable(d)
}

// object is the document as one JSON object, with its fields in order.
func (d document) object() ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"schemaVersion":%d,"kind":%q`, schemaVersion, d.kind)
	if d.about != nil {
		about, err := json.Marshal(d.about)
		if err != nil {
			return nil, err
		}
		if inner := strings.TrimSuffix(strings.TrimPrefix(string(about), "{"), "}"); inner != "" {
			b.WriteString("," + inner)
		}
	}
	if d.name != "" {
		rows := d.rows
		if rows == nil {
			rows = []any{}
		}
		text, err := json.Marshal(rows)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, ",%q:%s", d.name, text)
	}
	b.WriteString("}")
	return b.Bytes(), nil
}

func (a *app) writeJSON(d document) error {
	object, err := d.object()
	if err != nil {
		return err
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, object, "", "  "); err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.out, indented.String())
	return err
}

func (a *app) writeYAML(d document) error {
	object, err := d.object()
	if err != nil {
		return err
	}
	var node yaml.Node // JSON is YAML, and a node keeps the order of the fields
	if err := yaml.Unmarshal(object, &node); err != nil {
		return err
	}
	blockStyle(&node)
	encoder := yaml.NewEncoder(a.out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&node); err != nil {
		return err
	}
	return encoder.Close()
}

// blockStyle writes a node on lines of its own, and quotes text that would be read as
// something else.
func blockStyle(n *yaml.Node) {
	n.Style &^= yaml.FlowStyle
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		n.Style = 0
	}
	for _, child := range n.Content {
		blockStyle(child)
	}
}

func (a *app) writeCSV(d document) error {
	names, _, err := flatten(d.rowType)
	if err != nil {
		return err
	}
	lines := [][]string{names}
	for _, row := range d.rows {
		_, values, err := flatten(row)
		if err != nil {
			return err
		}
		lines = append(lines, values)
	}
	return csv.NewWriter(a.out).WriteAll(lines)
}

// flatten returns the JSON names and values of a struct's fields.
func flatten(row any) (names, values []string, err error) {
	v := reflect.ValueOf(row)
	for i := range v.NumField() {
		if !v.Type().Field(i).IsExported() {
			continue
		}
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		raw, err := json.Marshal(v.Field(i).Interface())
		if err != nil {
			return nil, nil, err
		}
		value := string(raw)
		var s string
		switch {
		case value == "null":
			value = ""
		case json.Unmarshal(raw, &s) == nil:
			value = s
		}
		names, values = append(names, name), append(values, value)
	}
	return names, values, nil
}

func (a *app) writeTable(d document) error {
	w := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatDefault
	w.SetStyle(style)
	w.SuppressTrailingSpaces()
	head := make(table.Row, len(d.head))
	for i, h := range d.head {
		head[i] = h
	}
	w.AppendHeader(head)
	for _, row := range d.rows {
		cells := d.cells(row)
		for i, c := range cells {
			cells[i] = a.cellText(c)
		}
		w.AppendRow(cells)
	}
	_, err := fmt.Fprintln(a.out, w.Render())
	return err
}

// cellText is a cell of a table. What is not known is "-".
func (a *app) cellText(cell any) string {
	v := reflect.ValueOf(cell)
	if v.Kind() == reflect.Pointer && !v.IsNil() {
		cell = v.Elem().Interface()
	}
	switch {
	case !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil():
		return "-"
	case cell == "":
		return "-"
	}
	switch c := cell.(type) {
	case report.Seconds:
		return shortDuration(c.Duration())
	case time.Time:
		return c.UTC().Format(time.RFC3339)
	case state:
		return a.coloured(c)
	}
	return printable(fmt.Sprint(cell))
}

// state is a cell that says how good something is.
type state string

// coloured is a state in colours on a terminal.
func (a *app) coloured(s state) string {
	plain := printable(string(s))
	if a.env("NO_COLOR") != "" || !isTerminal(a.out) {
		return plain
	}
	word, _, _ := strings.Cut(plain, " (")
	switch word {
	case string(ops.Live), string(ops.SeverityOK), resultDone:
		return text.FgGreen.Sprint(plain)
	case string(ops.Expired), string(ops.NotOfHub), string(ops.SeverityWarning), string(ops.LagNoCheckpoint), string(ops.SeverityUnknown):
		return text.FgYellow.Sprint(plain)
	case string(ops.SeverityProblem), string(ops.LagAhead), resultFailed:
		return text.FgRed.Sprint(plain)
	}
	return plain
}

// shortDuration is a duration for people: "3d4h", "2m5s", "350ms".
func shortDuration(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		days := d / (24 * time.Hour)
		return fmt.Sprintf("%dd%dh", days, (d-days*24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d >= time.Second:
		return fmt.Sprintf("%ds", d/time.Second)
	case d == 0:
		return "0s"
	}
	return d.Round(time.Millisecond).String()
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// waiting calls f. On a terminal it shows what is waited for if that takes longer than
// a second.
func waiting[T any](ctx context.Context, a *app, what string, f func(context.Context) (T, error)) (T, error) {
	if !isTerminal(a.err) {
		return f(ctx)
	}
	done, shown := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(shown)
		select {
		case <-done:
		case <-time.After(time.Second):
			a.showProgress(what, done)
		}
	}()
	value, err := f(ctx)
	close(done)
	<-shown
	return value, err
}

// showProgress shows a bar until done is closed, and removes it.
func (a *app) showProgress(what string, done <-chan struct{}) {
	w := progress.NewWriter()
	w.SetOutputWriter(a.err)
	w.SetAutoStop(true)
	w.SetUpdateFrequency(100 * time.Millisecond)
	w.SetStyle(progress.StyleDefault)
	w.Style().Visibility = progress.StyleVisibility{Time: true, Tracker: true}
	tracker := &progress.Tracker{Message: what, RemoveOnCompletion: true}
	w.AppendTracker(tracker)
	go func() {
		<-done
		tracker.MarkAsDone()
	}()
	w.Render()
}
