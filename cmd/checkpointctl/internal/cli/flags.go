package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sosodev/duration"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// scopeFlags name a consumer group.
type scopeFlags struct {
	namespace, eventHub, group string
}

func (f *scopeFlags) add(flags *pflag.FlagSet) {
	flags.StringVarP(&f.namespace, "namespace", "n", "", "fully qualified namespace of the event hub: mynamespace.servicebus.windows.net")
	flags.StringVarP(&f.eventHub, "hub", "e", "", "event hub")
	flags.StringVarP(&f.group, "group", "g", "", `consumer group: '$Default'`)
}

// partitionFlags pick partitions of a consumer group.
type partitionFlags struct{ ids []string }

func (f *partitionFlags) add(flags *pflag.FlagSet) {
	flags.StringSliceVarP(&f.ids, "partitions", "p", nil, "only these partitions: 0,1,5 (default all)")
}

// expirationFlag is after what time an owner counts as dead.
func expirationFlag(flags *pflag.FlagSet, value *time.Duration) {
	flags.Var((*durationValue)(value), "expiration", "PartitionExpirationDuration of the consumers: an owner that wrote within it is live (default 1m)")
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
		return 0, fmt.Errorf("%q is no duration: write 90m, 1h30m or PT1H30M", text)
	case parsed <= 0:
		return 0, fmt.Errorf("%q is not more than nothing", text)
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

// parseTime reads RFC 3339. It refuses a time without a zone, which everybody reads
// in a zone of their own.
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
	return time.Time{}, fmt.Errorf("%q is no time: write RFC 3339, such as 2026-11-21T14:00:00Z", text)
}

// flagError explains what pflag found, and which flag may be meant.
func flagError(cmd *cobra.Command, err error) error {
	text := err.Error()
	name, found := strings.CutPrefix(text, "unknown flag: --")
	if !found {
		return err
	}
	best, distance := "", 3
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if d := editDistance(name, f.Name); d < distance && !f.Hidden {
			best, distance = f.Name, d
		}
	})
	if best == "" {
		return fmt.Errorf("there is no flag --%s", name)
	}
	return fmt.Errorf("there is no flag --%s: did you mean --%s?", name, best)
}

// editDistance is Levenshtein's.
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

// only returns the one flag of several that is set.
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
		return "", usage(cmd, "say where to: one of --%s", strings.Join(names, ", --"))
	}
	return "", usage(cmd, "%s cannot be combined", strings.Join(set, " and "))
}

var errNoConnection = errors.New("no credential: set AZURE_STORAGE_CONNECTION_STRING and --container, or --container-url (with AZURE_STORAGE_SAS_TOKEN or an identity that DefaultAzureCredential finds)")
