package tools

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
	"gopkg.in/yaml.v3"
)

// A rule is one of docs/grafana/alerts.yaml.
type rule struct {
	Alert, Expr         string
	For                 time.Duration
	Labels, Annotations map[string]string
}

func readRules(t *testing.T) []rule {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string
			Rules []rule
		}
	}
	decoder := yaml.NewDecoder(strings.NewReader(read(t, "docs/grafana/alerts.yaml")))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	var rules []rule
	for _, g := range file.Groups {
		rules = append(rules, g.Rules...)
	}
	if len(rules) < 5 {
		t.Fatalf("%d rules", len(rules))
	}
	return rules
}

// TestAlertRules: every rule waits, has a severity, and says what to do.
func TestAlertRules(t *testing.T) {
	rules := readRules(t)
	for i, r := range rules {
		if r.For < time.Minute {
			t.Errorf("%s: for %v", r.Alert, r.For)
		}
		if !slices.Contains([]string{"warning", "critical"}, r.Labels["severity"]) {
			t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
		}
		if r.Annotations["summary"] == "" || len(strings.Fields(r.Annotations["description"])) < 15 {
			t.Errorf("%s: annotations %q", r.Alert, r.Annotations)
		}
		if slices.ContainsFunc(rules[:i], func(other rule) bool { return other.Alert == r.Alert }) {
			t.Errorf("two alerts %s", r.Alert)
		}
	}
}

// sample is a float at a time in milliseconds.
type sample struct {
	t int64
	f float64
}

func (s sample) T() int64                      { return s.t }
func (s sample) ST() int64                     { return 0 }
func (s sample) F() float64                    { return s.f }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }

// scripted is the storage of series that a scenario describes in the notation of
// promtool's tests: a value each minute.
type scripted struct {
	engine  *promql.Engine
	series  []*storage.SeriesEntry
	minutes int
}

// script reads series. $GROUP stands for the labels of a consumer group, $P0 for those
// of its partition 0, and so on.
func script(t *testing.T, lines []string) scripted {
	t.Helper()
	all := scripted{engine: promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1e6, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, Parser: parser.NewParser(parser.Options{}),
	})}
	for _, line := range lines {
		line = expandLabels(line)
		of, values, err := parser.NewParser(parser.Options{}).ParseSeriesDesc(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		var samples []chunks.Sample
		for i, v := range values {
			if !v.Omitted {
				samples = append(samples, sample{int64(i) * time.Minute.Milliseconds(), v.Value})
			}
		}
		all.series = append(all.series, storage.NewListSeries(of, samples))
		all.minutes = max(all.minutes, len(values))
	}
	return all
}

func (s scripted) queryable() storage.Queryable {
	return &storage.MockQueryable{MockQuerier: &storage.MockQuerier{
		SelectMockFunction: func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
			return &selection{series: slices.DeleteFunc(slices.Clone(s.series), func(entry *storage.SeriesEntry) bool {
				return slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(entry.Lset.Get(m.Name)) })
			})}
		},
	}}
}

// selection is a storage.SeriesSet.
type selection struct {
	series []*storage.SeriesEntry
	next   int
}

func (s *selection) Next() bool                        { s.next++; return s.next <= len(s.series) }
func (s *selection) At() storage.Series                { return s.series[s.next-1] }
func (s *selection) Err() error                        { return nil }
func (s *selection) Warnings() annotations.Annotations { return nil }

// evaluate returns the result of a query in one minute.
func (s scripted) evaluate(t *testing.T, query string, minute int) promql.Vector {
	t.Helper()
	q, err := s.engine.NewInstantQuery(t.Context(), s.queryable(), nil, query, time.UnixMilli(0).Add(time.Duration(minute)*time.Minute))
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer q.Close()
	result, err := q.Exec(t.Context()).Vector()
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return slices.Clone(result)
}

// show returns the result in the last minute, a line for each series.
func (s scripted) show(t *testing.T, query string) string {
	t.Helper()
	var lines []string
	for _, of := range s.evaluate(t, query, s.minutes-1) {
		lines = append(lines, fmt.Sprintf("%s %v", of.Metric, of.F))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// firings evaluates the rules every minute, as Prometheus does. It returns a line for
// each alert that fires: from which minute to which, its name, and what it is about.
func (s scripted) firings(t *testing.T, rules []rule) []string {
	t.Helper()
	type alert struct{ active, last int } // minutes
	var lines []string
	for _, r := range rules {
		alerts := map[string]alert{}
		about := map[string]promql.Sample{}
		wait := int(r.For / time.Minute)
		end := func(key string) {
			if a := alerts[key]; a.last-a.active >= wait {
				of := about[key]
				lines = append(lines, strings.Join(strings.Fields(fmt.Sprintf("%d-%d %s %s %s", a.active+wait, a.last, r.Alert,
					of.Metric.Get("messaging_destination_partition_id"), of.Metric.Get("instance"))), " "))
				r.announce(t, of)
			}
			delete(alerts, key)
		}
		for minute := range s.minutes {
			for _, of := range s.evaluate(t, r.Expr, minute) {
				key := of.Metric.String()
				a, active := alerts[key]
				if !active {
					a.active = minute
				}
				a.last, about[key] = minute, of
				alerts[key] = a
			}
			for key, a := range alerts {
				if a.last < minute {
					end(key)
				}
			}
		}
		for key := range alerts {
			end(key)
		}
	}
	slices.Sort(lines)
	return lines
}

// announce fills in the annotations, which name only labels that the alert has.
func (r rule) announce(t *testing.T, of promql.Sample) {
	t.Helper()
	show := func(value float64) string { return fmt.Sprint(value) }
	for name, text := range r.Annotations {
		parsed, err := template.New(name).Option("missingkey=error").
			Funcs(template.FuncMap{"humanize": show, "humanizeDuration": show}).
			Parse("{{$labels := .Labels}}{{$value := .Value}}" + text)
		if err == nil {
			err = parsed.Execute(new(strings.Builder), map[string]any{"Labels": of.Metric.Map(), "Value": of.F})
		}
		if err != nil {
			t.Errorf("%s: %v", r.Alert, err)
		}
	}
}

// scenarios describe an hour and which alerts fire in it: none in the healthy ones,
// which come first.
var scenarios = []struct {
	name   string
	series []string
	fires  []string // from which minute to which, alert, partition, instance
}{
	{
		name: "an idle partition that both a processor and serve report",
		series: []string{
			`checkpointstore_consumer_lag_events{$P0,job="app",instance="a"} 0x60`,
			`checkpointstore_consumer_lag_events{$P0,job="serve",instance="s"} 0x60`,
			`checkpointstore_consumer_lag_duration_seconds{$P0,job="app",instance="a",method="metadata"} 0x60`,
			`checkpointstore_consumer_lag_duration_seconds{$P0,job="serve",instance="s",method="interpolated"} 0x60`,
			`checkpointstore_checkpoint_age_seconds{$P0,job="app",instance="a"} 7200+60x60`,
			`checkpointstore_checkpoint_age_seconds{$P0,job="serve",instance="s"} 7200+60x60`,
			`checkpointstore_consumer_lost_events{$P0,job="serve",instance="s"} 0x60`,
			`checkpointstore_partition_owned{$P0,job="app",instance="a"} 1x60`,
			`checkpointstore_partition_owned{$P0,job="serve",instance="s"} 1x60`,
			`checkpointstore_pending_events{$P0,job="app",instance="a"} 0x60`,
			`checkpointstore_pending_oldest_age_seconds{$P0,job="app",instance="a"} 0x60`,
			`checkpointstore_storage_outage_seconds{$GROUP,job="app",instance="a"} 0x60`,
			`checkpointstore_processor_restarts_total{$GROUP,job="app",instance="a"} 0x60`,
			`checkpointstore_claims_total{$P0,job="app",instance="a",outcome="renewed"} 0+6x60`,
			`checkpointstore_round_timestamp_seconds{job="serve",instance="s"} 0+60x60`,
		},
	},
	{
		name: "an event reaches a partition that was idle for an hour, and is handled within two minutes",
		series: []string{
			`checkpointstore_consumer_lag_events{$P0,instance="a"} 0x30 1 1 0x28`,
			`checkpointstore_checkpoint_age_seconds{$P0,instance="a"} 3600+60x32 0+60x28`,
		},
	},
	{
		name: "a consumer that writes a checkpoint every five minutes",
		series: []string{
			`checkpointstore_consumer_lag_events{$P0,instance="a"} ` + strings.Repeat("0 50 100 150 200 ", 12),
			`checkpointstore_consumer_lag_duration_seconds{$P0,instance="a",method="metadata"} ` + strings.Repeat("0 60 120 180 240 ", 12),
			`checkpointstore_checkpoint_age_seconds{$P0,instance="a"} ` + strings.Repeat("0 60 120 180 240 ", 12),
			`checkpointstore_pending_oldest_age_seconds{$P0,instance="a"} ` + strings.Repeat("0 60 120 180 240 ", 12),
		},
	},
	{
		name: "a consumer that is an hour behind and catches up",
		series: []string{
			`checkpointstore_consumer_lag_events{$P0,instance="a"} 90000-1500x60`,
			`checkpointstore_consumer_lag_duration_seconds{$P0,instance="a",method="metadata"} 3600-60x60`,
			`checkpointstore_checkpoint_age_seconds{$P0,instance="a"} ` + strings.Repeat("0 60 ", 30),
		},
	},
	{
		name: "a consumer that is an hour behind and keeps pace",
		series: []string{
			`checkpointstore_consumer_lag_duration_seconds{$P0,instance="a",method="interpolated"} ` + strings.Repeat("3600 3620 3590 3610 ", 15),
		},
	},
	{
		name: "a burst of ten minutes",
		series: []string{
			`checkpointstore_consumer_lag_duration_seconds{$P0,instance="a",method="metadata"} 0x10 0+60x10 600-30x20 0x20`,
			`checkpointstore_consumer_lag_events{$P0,instance="a"} 0x10 0+6000x10 60000-3000x20 0x20`,
			`checkpointstore_checkpoint_age_seconds{$P0,instance="a"} 30x60`,
		},
	},
	{
		name: "the previous owner reports a partition for some time after it lost it",
		series: []string{
			`checkpointstore_consumer_lag_events{$P0,instance="a"} 100x60`,
			`checkpointstore_consumer_lag_events{$P0,instance="b"} 5x60`,
			`checkpointstore_checkpoint_age_seconds{$P0,instance="a"} 0+60x60`,
			`checkpointstore_checkpoint_age_seconds{$P0,instance="b"} 20x60`,
		},
	},
	{
		name: "a deployment: partitions change hands, some claims are lost",
		series: []string{
			`checkpointstore_claims_total{$P0,instance="a",outcome="renewed"} 0+24x60`,
			`checkpointstore_claims_total{$P0,instance="a",outcome="won"} 0x20 1+1x4 5x34`,
			`checkpointstore_claims_total{$P0,instance="a",outcome="lost"} 0x20 1+1x8 9x30`,
			// b begins, and loses at first more than it wins.
			`checkpointstore_claims_total{$P0,instance="b",outcome="lost"} _x20 0 3 6 7 7x35`,
			`checkpointstore_claims_total{$P0,instance="b",outcome="won"} _x20 0 0 1 2 3 4x34`,
			`checkpointstore_claims_total{$P0,instance="b",outcome="renewed"} _x20 0 0 0 6+24x36`,
			// c is a spare: it claims nothing but a partition that is free for a moment.
			`checkpointstore_claims_total{$P0,instance="c",outcome="lost"} 0x20 2x39`,
			`checkpointstore_partition_owned{$P0,instance="s"} 1x20 0x3 1x35`,
			`checkpointstore_partition_owned{$P1,instance="s"} 1x23 0x3 1x32`,
			`checkpointstore_partition_owned{$P2,instance="s"} 1x26 0x3 1x29`,
			`checkpointstore_partition_owned{$P3,instance="s"} 1x29 0x3 1x26`,
		},
	},
	{
		name: "an outage of a minute, after which the processor restarts",
		series: []string{
			`checkpointstore_storage_outage_seconds{$GROUP,instance="a"} 0x20 5 65 0x37`,
			`checkpointstore_processor_restarts_total{$GROUP,instance="a",error_type="ServerTimeout"} 0x22 1x37`,
		},
	},

	{
		name: "a handler hangs: its partition is stuck, and both a processor and serve report it",
		series: []string{
			`checkpointstore_consumer_lag_events{$P0,job="app",instance="a"} 0+10x60`,
			`checkpointstore_consumer_lag_events{$P0,job="serve",instance="s"} 0+10x60`,
			`checkpointstore_checkpoint_age_seconds{$P0,job="app",instance="a"} 0+60x60`,
			`checkpointstore_checkpoint_age_seconds{$P0,job="serve",instance="s"} 0+60x60`,
			`checkpointstore_consumer_lag_duration_seconds{$P0,job="app",instance="a",method="metadata"} 0+60x60`,
			`checkpointstore_consumer_lag_duration_seconds{$P0,job="serve",instance="s",method="interpolated"} 0+60x60`,
			`checkpointstore_pending_oldest_age_seconds{$P0,job="app",instance="a"} 0+60x60`,
			// Its neighbour works.
			`checkpointstore_consumer_lag_events{$P1,job="app",instance="a"} 5x60`,
			`checkpointstore_checkpoint_age_seconds{$P1,job="app",instance="a"} 10x60`,
			`checkpointstore_consumer_lag_duration_seconds{$P1,job="app",instance="a",method="metadata"} 10x60`,
			`checkpointstore_pending_oldest_age_seconds{$P1,job="app",instance="a"} 10x60`,
		},
		fires: []string{"16-60 CheckpointstoreHandlerStuck 0 a", "16-60 CheckpointstorePartitionStuck 0", "21-60 CheckpointstoreLagGrowing 0"},
	},
	{
		name: "a partition is stuck for half an hour, then catches up",
		series: []string{
			`checkpointstore_consumer_lag_events{$P0,instance="a"} 0+10x30 300-10x30`,
			`checkpointstore_checkpoint_age_seconds{$P0,instance="a"} 0+60x30 30x30`,
			`checkpointstore_consumer_lag_duration_seconds{$P0,instance="a",method="metadata"} 0+60x30 1800-60x30`,
		},
		fires: []string{"16-30 CheckpointstorePartitionStuck 0", "21-34 CheckpointstoreLagGrowing 0"},
	},
	{
		name: "a consumer is a tenth too slow",
		series: []string{
			`checkpointstore_consumer_lag_events{$P0,instance="a"} 1000+60x60`,
			`checkpointstore_checkpoint_age_seconds{$P0,instance="a"} 10x60`,
			`checkpointstore_consumer_lag_duration_seconds{$P0,instance="a",method="metadata"} 60+6x60`,
		},
		fires: []string{"56-60 CheckpointstoreLagGrowing 0"},
	},
	{
		name: "no consumer runs",
		series: []string{
			`checkpointstore_partition_owned{$P0,instance="s"} 1x10 0x50`,
			`checkpointstore_partition_owned{$P1,instance="s"} 1x10 0x50`,
			`checkpointstore_consumer_lag_events{$P0,instance="s"} 0x20 1+1x40`,
			`checkpointstore_consumer_lag_events{$P1,instance="s"} 0x60`,
			`checkpointstore_checkpoint_age_seconds{$P0,instance="s"} 0x10 0+60x50`,
			`checkpointstore_checkpoint_age_seconds{$P1,instance="s"} 0x10 0+60x50`,
		},
		fires: []string{"20-61 CheckpointstorePartitionsWithoutOwner", "27-61 CheckpointstorePartitionStuck 0"},
	},
	{
		name: "events are lost, and the consumer resumes after the gap",
		series: []string{
			`checkpointstore_consumer_lost_events{$P0,instance="s"} 0x20 500 500 0x37`,
			`checkpointstore_consumer_lost_events{$P0,instance="a"} 0x20 500 0x38`,
		},
		fires: []string{"22-31 CheckpointstoreEventsLost 0"},
	},
	{
		name: "two processes have the same owner ID, so each loses half of its claims",
		series: []string{
			`checkpointstore_claims_total{$P0,instance="a",outcome="renewed"} 0+3x60`,
			`checkpointstore_claims_total{$P0,instance="a",outcome="lost"} 0+3x60`,
			`checkpointstore_claims_total{$P0,instance="b",outcome="renewed"} 0+3x60`,
			`checkpointstore_claims_total{$P0,instance="b",outcome="lost"} 0+3x60`,
			`checkpointstore_claims_total{$P1,instance="c",outcome="renewed"} 0+6x60`,
		},
		fires: []string{"11-60 CheckpointstoreClaimsLost a", "11-60 CheckpointstoreClaimsLost b"},
	},
	{
		name: "a processor restarts every two minutes because of its credential",
		series: []string{
			`checkpointstore_processor_restarts_total{$GROUP,instance="a",error_type="AuthorizationFailure"} 0x10 1 1 2 2 3 3 4 4 5 5 6 6 7 7 8 8 9 9 10 10`,
			`checkpointstore_processor_restarts_total{$GROUP,instance="b",error_type="AuthorizationFailure"} 0x10 1x50`,
		},
		fires: []string{"22-53 CheckpointstoreProcessorRestarting a"},
	},
	{
		name: "the storage account refuses one instance",
		series: []string{
			`checkpointstore_storage_outage_seconds{$GROUP,instance="a"} 0x10 0+60x20 0x30`,
			`checkpointstore_storage_outage_seconds{$GROUP,instance="b"} 0x60`,
		},
		fires: []string{"15-31 CheckpointstoreStorageOutage a"},
	},
	{
		name: "serve no longer reads the container",
		series: []string{
			`checkpointstore_round_timestamp_seconds{job="serve",instance="s"} 0+60x10 600x50`,
			`checkpointstore_round_timestamp_seconds{job="serve",instance="t"} 0+60x60`,
		},
		fires: []string{"21-61 CheckpointctlServeNotReading s"},
	},
}

// shorthand finds what stands for labels in a scenario.
var shorthand = regexp.MustCompile(`\$(GROUP|P(\d+))`)

func expandLabels(line string) string {
	return shorthand.ReplaceAllStringFunc(line, func(found string) string {
		of := `server_address="contoso.servicebus.windows.net",messaging_destination_name="orders",messaging_consumer_group_name="orders-app"`
		if partition := shorthand.FindStringSubmatch(found)[2]; partition != "" {
			of += `,messaging_destination_partition_id="` + partition + `"`
		}
		return of
	})
}

// TestAlertScenarios evaluates every rule with Prometheus' own engine: it fires in its
// situation, for as long as that lasts, and stays silent in all the healthy ones.
func TestAlertScenarios(t *testing.T) {
	rules := readRules(t)
	fired := map[string]bool{}
	for _, scenario := range scenarios {
		t.Run(scenario.name, func(t *testing.T) {
			got := script(t, scenario.series).firings(t, rules)
			if !slices.Equal(got, scenario.fires) {
				t.Errorf("fires\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(scenario.fires, "\n\t"))
			}
			for _, line := range got {
				fired[strings.Fields(line)[1]] = true
			}
		})
	}
	for _, r := range rules {
		if !fired[r.Alert] {
			t.Errorf("%s fires in no scenario", r.Alert)
		}
	}
}
