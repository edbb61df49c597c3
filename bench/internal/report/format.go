package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/ea947076/checkpointstore/bench/internal/measure"
	"github.com/ea947076/checkpointstore/bench/internal/subject"
	"github.com/ea947076/checkpointstore/bench/internal/workload"
)

// none stands where a subject has no such call.
const none = "-"

// number writes three significant digits, and never an exponent.
func number(x float64) string {
	switch {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return none
	case x == 0:
		return "0"
	}
	digits := max(0, 2-int(math.Floor(math.Log10(math.Abs(x)))))
	text := strconv.FormatFloat(x, 'f', digits, 64)
	if strings.Contains(text, ".") && x == math.Trunc(x) {
		text, _, _ = strings.Cut(text, ".")
	}
	return text
}

// unit is one that fits a time in seconds, and how many of them a second has.
func unit(seconds float64) (name string, perSecond float64) {
	switch {
	case seconds == 0 || seconds >= 1:
		return "s", 1
	case seconds >= 1e-3:
		return "ms", 1e3
	}
	return "µs", 1e6
}

// duration writes seconds in a unit that fits: "5 ms".
func duration(seconds float64) string {
	name, perSecond := unit(seconds)
	return number(seconds*perSecond) + " " + name
}

// spread writes a median with the least and the most: "1.2 (1.1..1.5)".
func spread(s measure.Spread) string {
	return fmt.Sprintf("%s (%s..%s)", number(s.Median), number(s.Min), number(s.Max))
}

// durations writes the spread of seconds in a unit that fits the median:
// "5.2 (5.1..5.5) ms".
func durations(s measure.Spread) string {
	name, perSecond := unit(s.Median)
	return spread(measure.Spread{Min: s.Min * perSecond, Median: s.Median * perSecond, Max: s.Max * perSecond}) + " " + name
}

// parseDurations reads the median that durations wrote, as seconds.
func parseDurations(text string) (float64, error) {
	median, rest, spread := strings.Cut(text, " (")
	_, name, closed := strings.Cut(rest, ") ")
	if !spread || !closed {
		return 0, fmt.Errorf("%q is not a time with its spread", text)
	}
	d, err := time.ParseDuration(median + name)
	return d.Seconds(), err
}

// each writes one number of all three subjects.
func each(row workload.Row, value measure.Value, pick func(measure.Spread) float64, write func(float64) string) string {
	var texts []string
	for _, name := range subject.Names() {
		text := none
		if series := row.Series[name]; series != nil {
			text = write(pick(series.Of(value)))
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, " / ")
}

func median(s measure.Spread) float64 { return s.Median }
func most(s measure.Spread) float64   { return s.Max }

// ratio writes a quotient of two subjects.
func ratio(row workload.Row, over, under string, value measure.Value) string {
	if row.Series[over] == nil || row.Series[under] == nil {
		return none
	}
	return spread(row.Series[over].Ratio(row.Series[under], value))
}

func count(x float64) string { return strconv.FormatFloat(math.Round(x), 'f', 0, 64) }

func kibibytes(x float64) string { return number(x / 1024) }
