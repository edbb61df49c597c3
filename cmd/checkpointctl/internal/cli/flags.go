package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sosodev/duration"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ea947076/checkpointstore/ops"
)

// scopeFlags name a consumer group. Those that are not given are taken from the
// container, if only one consumer group fits.
type scopeFlags struct {
	namespace, eventHub, group string
}

func (f *scopeFlags) add(flags *pflag.FlagSet) {
	flags.StringVarP(&f.namespace, "namespace", "n", "", "fully qualified namespace of the event hub: contoso.servicebus.windows.net")
	flags.StringVarP(&f.eventHub, "hub", "e", "", "event hub")
	flags.StringVarP(&f.group, "group", "g", "", "consumer group: '$Default'")
}

// whole returns the consumer group if the flags name all of it, else nil.
func (f *scopeFlags) whole() *ops.Scope {
	if f.namespace == "" || f.eventHub == "" || f.group == "" {
		return nil
	}
	return &ops.Scope{FullyQualifiedNamespace: f.namespace, EventHubName: f.eventHub, ConsumerGroup: f.group}
}

// partitionFlags pick partitions of a consumer group.
type partitionFlags struct{ ids []string }

func (f *partitionFlags) add(flags *pflag.FlagSet) {
	flags.StringSliceVarP(&f.ids, "partitions", "p", nil, "only these partitions, such as 0,1,5 (default all)")
}

// expirationFlag is the time after which an owner counts as dead.
func expirationFlag(flags *pflag.FlagSet, value *time.Duration) {
	flags.Var((*durationValue)(value), "expiration", "PartitionExpirationDuration of the consumers: an owner that renewed within it is live (default 1m)")
}

// durationValue is a flag with a duration of Go ("90m") or ISO 8601 ("PT1H30M").
type durationValue time.Duration

func (d *durationValue) String() string {
	if *d == 0 {
		return ""
	}
	return time.Duration(*d).String()
}

func (d *durationValue) Type() string { return "duration" }

func (d *durationValue) Set(text string) error {
	parsed, err := parseDuration(text)
	*d = durationValue(parsed)
	return err
}

func parseDuration(text string) (time.Duration, error) {
	parsed, err := time.ParseDuration(text)
	if err != nil {
		var iso *duration.Duration
		if iso, err = duration.Parse(text); err == nil {
			parsed = iso.ToTimeDuration()
		}
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not a duration: write 90m, 1h30m or PT1H30M", text)
	case parsed <= 0:
		return 0, fmt.Errorf("%q is not a positive duration", text)
	}
	return parsed, nil
}

// timeValue is a flag with a time.
type timeValue struct{ at *time.Time }

func (t *timeValue) String() string {
	if t.at == nil {
		return ""
	}
	return t.at.Format(time.RFC3339Nano)
}

func (t *timeValue) Type() string { return "time" }

func (t *timeValue) Set(text string) error {
	at, err := parseTime(text)
	if err != nil {
		return err
	}
	t.at = &at
	return nil
}

// parseTime reads RFC 3339. It refuses a time without a zone: people read one in the
// zone that they are in.
func parseTime(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err == nil {
		return at.UTC(), nil
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if at, err := time.Parse(layout, text); err == nil {
			return time.Time{}, fmt.Errorf("%q has no time zone: write %s for UTC, or an offset such as +02:00", text, at.Format(time.RFC3339))
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time in RFC 3339, such as 2026-11-21T14:00:00Z", text)
}

// flagError explains what is wrong with a flag, and which one may be meant.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown) && !cmd.HasParent() && cmd.Flags().NArg() > 0:
		return unknownCommand(cmd, cmd.Flags().Arg(0)) // whose flag it may be
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		return usage(cmd, "there is no flag -%s", unknown.GetSpecifiedName())
	case errors.As(err, &unknown):
		return usage(cmd, "%s", unknownFlag(cmd.Flags(), unknown.GetSpecifiedName()))
	case errors.As(err, &invalid):
		cause := invalid.Unwrap()
		if number := (*strconv.NumError)(nil); errors.As(cause, &number) {
			cause = fmt.Errorf("%q is not a whole number of 64 bits", invalid.GetValue())
		}
		return usage(cmd, "--%s: %w", invalid.GetFlag().Name, cause)
	}
	return &usageError{cmd.CommandPath(), err}
}

func unknownFlag(flags *pflag.FlagSet, name string) string {
	best, distance := "", 3
	flags.VisitAll(func(f *pflag.Flag) {
		if d := editDistance(name, f.Name); d < distance && !f.Hidden {
			best, distance = f.Name, d
		}
	})
	if best == "" {
		return fmt.Sprintf("there is no flag --%s", name)
	}
	return fmt.Sprintf("there is no flag --%s: did you mean --%s?", name, best)
}

// editDistance returns how many letters to insert, delete or replace (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// only returns the one of several flags that is set, without its dashes.
func only(cmd *cobra.Command, names ...string) (string, error) {
	var set []string
	for _, name := range names {
		if cmd.Flags().Changed(name) {
			set = append(set, "--"+name)
		}
	}
	switch len(set) {
	case 1:
		return strings.TrimPrefix(set[0], "--"), nil
	case 0:
		return "", usage(cmd, "no target: give one of --%s", strings.Join(names, ", --"))
	}
	return "", usage(cmd, "%s cannot be combined", strings.Join(set, " and "))
}
