package tools

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// A metric is one row of the table in docs/observability.md.
type metric struct {
	name       string // in Prometheus, without the suffixes of a histogram
	instrument string
	from       string
	labels     []string // with the common ones, and those that Prometheus adds
}

// counts reports whether only the increase of the metric has a meaning.
func (m metric) counts() bool { return m.instrument == "counter" || m.instrument == "histogram" }

var commonLabels = []string{
	"messaging_system", "messaging_destination_name", "messaging_consumer_group_name", "messaging_destination_partition_id", "server_address",
	"job", "instance",
}

// metricName is the label that holds a metric's name.
const metricName = "__name__"

// labelValues are the values of those attributes that have few, by label and metric.
var labelValues = map[string]map[string][]string{
	"outcome": {
		"checkpointstore_checkpoints_total": {"written", "coalesced", "stale", "rewound", "failed"},
		"checkpointstore_claims_total":      {"won", "renewed", "released", "lost", "failed"},
	},
	"method": {"checkpointstore_consumer_lag_duration_seconds": {"metadata", "interpolated", "nothing left"}},
	"state":  {"checkpointstore_partitions": {"live", "expired", "relinquished", "never owned", "not a partition of the hub"}},
}

// notShown are the metrics that no panel and no alert uses, each with the reason.
var notShown = map[string]string{}

// metricTable reads the table of metrics, by name in Prometheus.
func metricTable(t *testing.T) map[string]metric {
	t.Helper()
	table := map[string]metric{}
	var header []string
	for line := range strings.Lines(read(t, "docs/observability.md")) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			header = nil
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if header == nil {
			header = cells
			continue
		}
		cell := func(column string) string {
			if i := slices.Index(header, column); i >= 0 && i < len(cells) {
				return cells[i]
			}
			return ""
		}
		m := metric{name: strings.Trim(cell("in Prometheus"), "`"), instrument: cell("instrument"), from: cell("from"), labels: slices.Clone(commonLabels)}
		if m.name == "" || strings.HasPrefix(m.name, "-") {
			continue
		}
		for _, found := range inlineCode.FindAllString(cell("attributes beyond the common ones"), -1) {
			m.labels = append(m.labels, strings.ReplaceAll(strings.Trim(found, "`"), ".", "_"))
		}
		if _, twice := table[m.name]; twice {
			t.Errorf("the table has %s twice", m.name)
		}
		table[m.name] = m
	}
	if len(table) < 15 {
		t.Fatalf("the table has %d metrics", len(table))
	}
	return table
}

// An expression is a PromQL query that was compared with the table.
type expression struct {
	table    map[string]metric
	used     map[string]bool // names in the table
	problems []string
}

func (x *expression) problem(format string, args ...any) {
	x.problems = append(x.problems, fmt.Sprintf(format, args...))
}

// check parses a query and returns the labels of its result. What it finds wrong
// is in x.problems.
func (x *expression) check(query string) []string {
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		x.problem("%v", err)
		return nil
	}
	parser.Inspect(parsed, func(node parser.Node, path []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			x.checkInstrument(s, path)
		}
		return nil
	})
	return x.resultLabels(parsed)
}

// selected returns the metrics that a selector names, which are several if it matches
// the name with a regular expression, and the names that the table does not have.
func (x *expression) selected(s *parser.VectorSelector) (found []metric, unknown []string) {
	for _, m := range s.LabelMatchers {
		if m.Name != metricName {
			continue
		}
		for _, name := range matchedValues(m) {
			base := name
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if cut, ok := strings.CutSuffix(name, suffix); ok && x.table[cut].instrument == "histogram" {
					base = cut
				}
			}
			row, ok := x.table[base]
			if !ok || row.instrument == "histogram" && base == name { // it has no series without a suffix
				unknown = append(unknown, name)
				continue
			}
			if strings.HasSuffix(name, "_bucket") {
				row.labels = append(slices.Clone(row.labels), labels.BucketLabel)
			}
			found = append(found, row)
		}
	}
	return found, unknown
}

// matchedValues returns the values that a matcher compares with.
func matchedValues(m *labels.Matcher) []string {
	if m.Type == labels.MatchRegexp || m.Type == labels.MatchNotRegexp {
		return strings.Split(m.Value, "|")
	}
	return []string{m.Value}
}

// checkInstrument finds a rate of a gauge, and a counter without one.
func (x *expression) checkInstrument(s *parser.VectorSelector, path []parser.Node) {
	rated := false
	for _, above := range path {
		call, ok := above.(*parser.Call)
		rated = rated || ok && slices.Contains([]string{"rate", "increase"}, call.Func.Name)
	}
	found, _ := x.selected(s)
	for _, m := range found {
		if rated != m.counts() {
			x.problem("%s is a %s, within rate or increase: %v", m.name, m.instrument, rated)
		}
	}
}

// resultLabels returns the labels that the result of an expression can have, and finds
// the labels in it that its operands do not have.
func (x *expression) resultLabels(node parser.Node) []string {
	has := func(all []string, names ...string) {
		for _, name := range names {
			if !slices.Contains(all, name) {
				x.problem("no label %s in %s", name, node)
			}
		}
	}
	switch node := node.(type) {
	case *parser.VectorSelector:
		return x.selectorLabels(node)
	case *parser.AggregateExpr:
		inner := x.resultLabels(node.Expr)
		has(inner, node.Grouping...)
		switch {
		case node.Op == parser.TOPK || node.Op == parser.BOTTOMK:
			return inner
		case node.Without:
			return slices.DeleteFunc(inner, func(name string) bool { return slices.Contains(node.Grouping, name) })
		}
		return slices.Clone(node.Grouping)
	case *parser.BinaryExpr:
		left, right := x.resultLabels(node.LHS), x.resultLabels(node.RHS)
		if node.VectorMatching == nil { // a scalar on one side
			return append(left, right...)
		}
		if node.VectorMatching.On {
			has(left, node.VectorMatching.MatchingLabels...)
			has(right, node.VectorMatching.MatchingLabels...)
			if !node.Op.IsSetOperator() && node.VectorMatching.Card == parser.CardOneToOne {
				return slices.Clone(node.VectorMatching.MatchingLabels)
			}
		}
		return left
	case *parser.Call:
		var inner []string
		for _, arg := range node.Args {
			inner = append(inner, x.resultLabels(arg)...)
		}
		text := func(i int) string { return node.Args[i].(*parser.StringLiteral).Val }
		switch node.Func.Name {
		case "histogram_quantile":
			has(inner, labels.BucketLabel)
			inner = slices.DeleteFunc(inner, func(name string) bool { return name == labels.BucketLabel })
		case "label_join":
			for i := 3; i < len(node.Args); i++ {
				has(inner, text(i))
			}
			inner = append(inner, text(1))
		}
		return inner
	}
	var inner []string
	for child := range parser.ChildrenIter(node) {
		inner = append(inner, x.resultLabels(child)...)
	}
	return inner
}

// selectorLabels returns the labels of the metrics that a selector names, after a look
// at what it matches them with.
func (x *expression) selectorLabels(s *parser.VectorSelector) []string {
	rows, unknown := x.selected(s)
	for _, name := range unknown {
		x.problem("no metric %s", name)
	}
	var all []string
	for _, row := range rows {
		x.used[row.name] = true
		all = append(all, row.labels...)
		for _, m := range s.LabelMatchers {
			if m.Name == metricName {
				continue
			}
			if !slices.Contains(row.labels, m.Name) {
				x.problem("%s has no label %s", row.name, m.Name)
			}
			known := labelValues[m.Name][row.name]
			for _, value := range matchedValues(m) {
				if known != nil && !slices.Contains(known, value) {
					x.problem("%s is never %q in %s", m.Name, value, row.name)
				}
			}
		}
	}
	return all
}

// checkQuery compares a query of Grafana with the table, and returns its result's labels.
func (x *expression) checkQuery(query string, variables []string) []string {
	query, undefined := substitute(query, variables)
	for _, name := range undefined {
		x.problem("no variable %s", name)
	}
	return x.check(query)
}

// legendLabel finds the labels in the legend of a query.
var legendLabel = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)

// TestObservabilityQueries compares each query of the dashboard and of the alerts with
// the table of metrics: names, labels, values and kinds of instruments. Every metric of
// the table is used in one of them.
func TestObservabilityQueries(t *testing.T) {
	table := metricTable(t)
	used := map[string]bool{}
	d, variables := readDashboard(t)
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			x := &expression{table: table, used: used}
			result := x.checkQuery(target.Expr, variables)
			for _, found := range legendLabel.FindAllStringSubmatch(target.LegendFormat, -1) {
				if !slices.Contains(result, found[1]) {
					x.problem("no label %s for the legend", found[1])
				}
			}
			for _, step := range p.Transformations {
				for _, field := range []string{step.Options.ColumnField, step.Options.RowField, step.Options.ValueField} {
					if field != "" && field != "Time" && !slices.Contains(result, field) {
						x.problem("no field %s for %s", field, step.ID)
					}
				}
			}
			for _, problem := range x.problems {
				t.Errorf("panel %q, query %s: %s", p.Title, target.RefID, problem)
			}
		}
	}
	for _, r := range readRules(t) {
		x := &expression{table: table, used: used}
		x.check(r.Expr)
		for _, problem := range x.problems {
			t.Errorf("alert %s: %s", r.Alert, problem)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		if reason, hidden := notShown[name]; used[name] == hidden {
			t.Errorf("%s: used in a panel or an alert: %v, but listed as not shown: %v %s", name, used[name], hidden, reason)
		}
	}
	for name := range notShown {
		if _, ok := table[name]; !ok {
			t.Errorf("not shown: no metric %s", name)
		}
	}
}

// TestQueryProblems: the check finds what is wrong with a query.
func TestQueryProblems(t *testing.T) {
	table := map[string]metric{
		"lag":     {name: "lag", instrument: "gauge", labels: []string{"hub", "instance"}},
		"n_total": {name: "n_total", instrument: "counter", labels: []string{"hub", "outcome"}},
		"time_s":  {name: "time_s", instrument: "histogram", labels: []string{"hub"}},

		"checkpointstore_claims_total": {name: "checkpointstore_claims_total", instrument: "counter", labels: []string{"outcome"}},
	}
	for query, want := range map[string]string{
		`lag`:                                 "hub instance",
		`max by (hub) (lag{hub=~"$hub"}) > 0`: "hub",
		`topk(3, max by (hub) (lag))`:         "hub",
		`rate(n_total[$__rate_interval])`:     "hub outcome",
		`histogram_quantile(0.5, sum by (hub, le) (rate(time_s_bucket[5m])))`: "hub",
		`rate(time_s_count[5m])`:                                      "hub",
		`lag unless on (hub) rate(n_total[5m])`:                       "hub instance",
		`sum by (hub) (lag) / on (hub) sum by (hub) (lag)`:            "hub",
		`label_join(lag, "both", " ", "hub", "instance")`:             "hub instance both",
		`deriv((max by (hub) (lag))[5m:30s])`:                         "hub",
		`sum without (hub) (lag)`:                                     "instance",
		`rate(checkpointstore_claims_total{outcome=~"lost|won"}[5m])`: "outcome",

		`lag{`:                                    "unexpected",
		`other`:                                   "no metric other",
		`{__name__=~"lag|other"}`:                 "no metric other",
		`rate(time_s[5m])`:                        "no metric time_s",
		`rate(lag_bucket[5m])`:                    "no metric lag_bucket",
		`lag{group="x"}`:                          "no label group",
		`sum by (group) (lag)`:                    "no label group",
		`sum by (instance) (sum by (hub) (lag))`:  "no label instance",
		`lag and on (outcome) rate(n_total[5m])`:  "no label outcome",
		`lag and on (instance) rate(n_total[5m])`: "no label instance",
		`label_join(lag, "both", " ", "group")`:   "no label group",
		`rate(lag[5m])`:                           "is a gauge",
		`n_total`:                                 "is a counter",
		`lag{hub="$other"}`:                       "no variable other",
		`histogram_quantile(0.5, sum by (hub) (rate(time_s_bucket[5m])))`: "no label le",
		`rate(checkpointstore_claims_total{outcome="stolen"}[5m])`:        `never "stolen"`,
	} {
		x := &expression{table: table, used: map[string]bool{}}
		got := strings.Join(x.checkQuery(query, []string{"hub"}), " ")
		if len(x.problems) > 0 {
			got = strings.Join(x.problems, "; ")
		}
		if got != want && (len(x.problems) == 0 || !strings.Contains(got, want)) {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}
