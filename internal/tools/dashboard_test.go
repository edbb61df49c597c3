package tools

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

// A panel of a dashboard, as far as the tests look at it.
type panel struct {
	ID                       int
	Type, Title, Description string
	LibraryPanel             any
	Datasource               struct{ UID string }
	GridPos                  struct{ H, W, X, Y int }
	FieldConfig              struct {
		Defaults struct{ Unit string }
	}
	Targets []struct {
		Datasource         struct{ UID string }
		Expr, LegendFormat string
		RefID              string
	}
	Transformations []struct {
		ID      string
		Options struct{ ColumnField, RowField, ValueField string }
	}
	Panels []panel
}

type dashboard struct {
	UID, Title    string
	SchemaVersion int
	ID            *int // which Grafana gives it
	Panels        []panel
	Templating    struct {
		List []struct {
			Name, Type string
			Query      any // of type query: an object with the query
			Datasource struct{ UID string }
		}
	}
}

// variable finds one of Grafana's variables in a query.
var variable = regexp.MustCompile(`\$\{?(\w+)\}?`)

// substitute replaces Grafana's variables, and returns those that are not defined.
func substitute(query string, defined []string) (string, []string) {
	var undefined []string
	query = variable.ReplaceAllStringFunc(query, func(found string) string {
		switch name := variable.FindStringSubmatch(found)[1]; {
		case name == "__rate_interval" || name == "__range":
			return "5m"
		case name == "top":
			return "10"
		case !slices.Contains(defined, name):
			undefined = append(undefined, name)
		}
		return ".*"
	})
	return query, undefined
}

func readDashboard(t *testing.T) (d dashboard, variables []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, "docs/grafana/dashboard.json")), &d); err != nil {
		t.Fatal(err)
	}
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
	}
	if len(d.Panels) < 20 {
		t.Fatalf("%d panels", len(d.Panels))
	}
	return d, variables
}

// grafanaPanels are the panels that come with Grafana and that show a query.
var grafanaPanels = []string{"timeseries", "stat", "state-timeline", "bargauge", "table", "heatmap"}

// faults says what is wrong with a panel apart from its queries.
func (p panel) faults() error {
	var all []error
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			all = append(all, fmt.Errorf(format, args...))
		}
	}
	fault(p.Title == "", "no title")
	fault(p.GridPos.W < 1 || p.GridPos.H < 1 || p.GridPos.X < 0 || p.GridPos.X+p.GridPos.W > 24, "position %+v", p.GridPos)
	fault(p.LibraryPanel != nil, "a library panel")
	fault(len(p.Panels) > 0, "panels within a panel, which no test looks at")
	if p.Type == "row" {
		return errors.Join(all...)
	}
	fault(!slices.Contains(grafanaPanels, p.Type), "type %s", p.Type)
	fault(len(strings.Fields(p.Description)) < 15 || !strings.HasSuffix(p.Description, "."), "the description does not say what it means and what to do: %q", p.Description)
	fault(p.FieldConfig.Defaults.Unit == "" && p.Type != "state-timeline", "no unit")
	fault(p.Datasource.UID != "${datasource}", "data source %q", p.Datasource.UID)
	fault(len(p.Targets) == 0, "no query")
	for _, target := range p.Targets {
		fault(target.Datasource.UID != "${datasource}", "data source %q of query %s", target.Datasource.UID, target.RefID)
		fault(target.Expr == "" || target.RefID == "", "query %+v", target)
		fault(target.LegendFormat == "", "no legend of query %s", target.RefID)
	}
	return errors.Join(all...)
}

func overlap(a, b panel) bool {
	p, q := a.GridPos, b.GridPos
	return p.X < q.X+q.W && q.X < p.X+p.W && p.Y < q.Y+q.H && q.Y < p.Y+p.H
}

// TestDashboardPanels: every panel says what it means, has a unit and asks the chosen
// data source, and a plain Grafana can show it.
func TestDashboardPanels(t *testing.T) {
	d, variables := readDashboard(t)
	if d.UID == "" || d.Title == "" || d.ID != nil || d.SchemaVersion < 39 {
		t.Errorf("uid %q, title %q, id %v, schema %d", d.UID, d.Title, d.ID, d.SchemaVersion)
	}
	for _, name := range []string{"datasource", "eventhub", "group"} {
		if !slices.Contains(variables, name) {
			t.Errorf("no variable %s", name)
		}
	}
	for i, p := range d.Panels {
		if err := p.faults(); err != nil {
			t.Errorf("panel %d %q: %v", p.ID, p.Title, err)
		}
		for _, other := range d.Panels[:i] {
			if p.ID == other.ID || p.Title == other.Title || overlap(p, other) {
				t.Errorf("panels %d %q %+v and %d %q %+v", p.ID, p.Title, p.GridPos, other.ID, other.Title, other.GridPos)
			}
		}
	}
}

// labelQuery is the query of a variable: the values of a label of some metrics.
var labelQuery = regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)

// TestDashboardVariables: the variables offer the values of labels that metrics have.
func TestDashboardVariables(t *testing.T) {
	table := metricTable(t)
	d, variables := readDashboard(t)
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		of, _ := v.Query.(map[string]any)
		text, _ := of["query"].(string)
		found := labelQuery.FindStringSubmatch(text)
		if found == nil || v.Datasource.UID != "${datasource}" {
			t.Errorf("variable %s: query %v, data source %q", v.Name, v.Query, v.Datasource.UID)
			continue
		}
		x := &expression{table: table, used: map[string]bool{}}
		query, undefined := substitute(found[1], variables)
		result, err := parser.NewParser(parser.Options{}).ParseExpr(query)
		if err != nil || len(undefined) > 0 {
			t.Errorf("variable %s: %v, undefined: %v", v.Name, err, undefined)
			continue
		}
		if !slices.Contains(x.resultLabels(result), found[2]) {
			x.problem("no label %s", found[2])
		}
		for _, problem := range x.problems {
			t.Errorf("variable %s: %s", v.Name, problem)
		}
	}
}

func TestPanelFaults(t *testing.T) {
	const good = `{"type":"stat","title":"a","description":"one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen.",
		"gridPos":{"w":4,"h":4},"fieldConfig":{"defaults":{"unit":"s"}},"datasource":{"uid":"${datasource}"},
		"targets":[{"expr":"x","refId":"A","legendFormat":"l","datasource":{"uid":"${datasource}"}}]}`
	for change, faulty := range map[string]bool{
		``: false, `"title":"a"|"title":""`: true, `fourteen fifteen.|fifteen.`: true, `"w":4|"w":25`: true, `"unit":"s"|"unit":""`: true,
		`"type":"stat"|"type":"other-panel"`: true, `"expr":"x"|"expr":""`: true, `"type":"stat"|"type":"stat","libraryPanel":{}`: true,
		`"type":"stat"|"type":"stat","panels":[{}]`: true, `"uid":"${datasource}"|"uid":"prom"`: true, `"legendFormat":"l"|"legendFormat":""`: true,
	} {
		from, to, _ := strings.Cut(change, "|")
		var p panel
		if err := json.Unmarshal([]byte(strings.Replace(good, from, to, 1)), &p); err != nil {
			t.Fatal(err)
		}
		if err := p.faults(); (err != nil) != faulty {
			t.Errorf("%s: %v", change, err)
		}
	}
}

// everyMetric scripts series of all metrics of the table, from two processors that own
// a partition each, or from serve, which reports both.
func everyMetric(table map[string]metric, serve bool) []string {
	var lines []string
	add := func(m metric, instance string, of []string) {
		values := " 1x20"
		if m.counts() {
			values = " 0+1x20"
		}
		of = append(of, `job="j"`, `instance="`+instance+`"`)
		show := func(name string, more ...string) {
			lines = append(lines, name+"{"+strings.Join(append(slices.Clone(of), more...), ",")+"}"+values)
		}
		if m.instrument != "histogram" {
			show(m.name)
			return
		}
		show(m.name + "_sum")
		show(m.name + "_count")
		show(m.name+"_bucket", `le="1"`)
		show(m.name+"_bucket", `le="+Inf"`)
	}
	for _, m := range table {
		switch fromServe := strings.Contains(m.from, "`serve`"); {
		case serve && !fromServe, !serve && m.from == "`serve`":
			continue
		case serve && strings.HasPrefix(m.name, "checkpointstore_round_"): // of all consumer groups
			add(m, "s", nil)
			continue
		case strings.Contains(m.from, "`Policy`"): // it does not know the consumer group
			for _, of := range combinations(m, nil) {
				add(m, "a", of)
			}
			continue
		}
		for partition, instance := range []string{"a", "b"} {
			if serve {
				instance = "s"
			}
			for _, of := range combinations(m, []string{fmt.Sprintf("$P%d", partition)}) {
				add(m, instance, of)
			}
		}
	}
	return lines
}

// combinations returns the labels of the series of one partition: one for each value
// that an attribute can have.
func combinations(m metric, of []string) [][]string {
	all := [][]string{of}
	for _, name := range m.labels[len(commonLabels):] {
		values := labelValues[name][m.name]
		if name == "method" || values == nil {
			values = []string{"some"}
		}
		var more [][]string
		for _, with := range all {
			for _, value := range values {
				more = append(more, append(slices.Clone(with), fmt.Sprintf("%s=%q", name, value)))
			}
		}
		all = more
	}
	return all
}

// TestDashboardSources: every query has a result. It is the same whether the processors
// and serve both report, or one of them alone, which means that nothing counts twice.
func TestDashboardSources(t *testing.T) {
	table := metricTable(t)
	d, variables := readDashboard(t)
	processors, serve := everyMetric(table, false), everyMetric(table, true)
	alone := map[bool]scripted{false: script(t, processors), true: script(t, serve)}
	both := script(t, slices.Concat(processors, serve))
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			query, _ := substitute(target.Expr, variables)
			want := alone[false].show(t, query)
			ofServe := alone[true].show(t, query)
			if want == "" {
				want = ofServe
			}
			got := both.show(t, query)
			if got == "" {
				t.Errorf("panel %q, query %s has no result", p.Title, target.RefID)
			}
			if got != want || ofServe != "" && got != ofServe {
				t.Errorf("panel %q, query %s: from both\n%s\nfrom processors\n%s\nfrom serve\n%s", p.Title, target.RefID, got, want, ofServe)
			}
		}
	}
}
