package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/report"
	"github.com/ea947076/checkpointstore/ops"
)

type statusAbout struct {
	Namespace  string          `json:"fullyQualifiedNamespace"`
	EventHub   string          `json:"eventHubName"`
	Group      string          `json:"consumerGroup"`
	Time       time.Time       `json:"time"`
	Lag        *int64          `json:"lag"`
	Lost       *int64          `json:"lost"`
	LagTime    *report.Seconds `json:"lagSeconds"`
	LagUnknown *int            `json:"lagUnknownPartitions"`
}

// threshold is the value of --fail-above: events, or time.
type threshold struct {
	set    bool
	events int64
	time   time.Duration
}

func (t *threshold) String() string { return "" }
func (t *threshold) Type() string   { return "lag" }

func (t *threshold) Set(text string) error {
	t.set = true
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
		t.events = n
		return nil
	}
	d, err := parseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is neither a number of events nor a duration such as 5m", text)
	}
	t.time = d
	return nil
}

// exceeded returns a thresholdError if a partition is above the threshold, or may be as
// its lag is not known. A partition that the hub does not have is not.
func (t threshold) exceeded(partitions []ops.Partition, lags []ops.Lag) error {
	n, first := 0, ""
	for i, l := range lags {
		var why string
		switch {
		case l.State == ops.LagNoPartition:
			continue
		case l.State != ops.LagKnown && l.State != ops.LagEmpty:
			var p report.Partition
			p.AddLag(l)
			why = string(lagState(p))
		case t.time == 0 && *l.Events > t.events:
			why = fmt.Sprintf("%d events", *l.Events)
		case t.time > 0 && l.Time == nil:
			why = "its lag in time is not known"
		case t.time > 0 && *l.Time > t.time:
			why = shortDuration(*l.Time)
		default:
			continue
		}
		if n++; n == 1 {
			first = fmt.Sprintf("partition %s: %s", partitions[i].ID, why)
		}
	}
	if n == 0 {
		return nil
	}
	return &thresholdError{fmt.Sprintf("%d of %d partitions are above --fail-above (%s)", n, len(lags), first)}
}

func (a *app) statusCommand() *cobra.Command {
	var lag bool
	var watch durationValue
	var above threshold
	var expiration time.Duration
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show who owns each partition of a consumer group, and how far it is",
		Long: `status shows who owns each partition of a consumer group, when the owner renewed
it, and where the checkpoint is. With --lag it also asks the event hub how many events
are not handled, and how much older the last handled event is than the newest one.

The names of the consumer group can be left out if the container has only one that fits.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && watch != 0 {
				return usage(cmd, "an interval is written with an equals sign: --watch=%s", args[0])
			}
			return noArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := a.store(cmd)
			if err != nil {
				return err
			}
			defer store.Close()
			s := &status{app: a, cmd: cmd, store: store, expiration: expiration, lag: lag || above.set, above: above, history: ops.NewHistory(0)}
			defer func() { s.closeHub() }()
			if watch == 0 {
				return s.once(cmd.Context())
			}
			return s.watch(cmd.Context(), time.Duration(watch))
		},
	}
	flags := cmd.Flags()
	a.scope.add(flags)
	expirationFlag(flags, &expiration)
	flags.BoolVar(&lag, "lag", false, "ask the event hub how far behind the partitions are")
	flags.Var(&above, "fail-above", "exit with 3 if a partition is further behind than so many events or such a duration, or if that is not known; implies --lag")
	flags.VarP(&watch, "watch", "w", "show it again and again, at this interval, until interrupted")
	flags.Lookup("watch").NoOptDefVal = "10s"
	return cmd
}

// status is one run of the command.
type status struct {
	*app
	cmd        *cobra.Command
	store      ops.Store
	expiration time.Duration
	lag        bool
	above      threshold
	history    *ops.History

	hub   ops.EventHub // nil before it is needed
	close func()
}

// openHub opens the event hub of a scope, once.
func (s *status) openHub(scope ops.Scope) (err error) {
	if s.hub == nil {
		s.hub, s.close, err = s.app.hub(s.cmd, scope, scope.ConsumerGroup)
	}
	return err
}

func (s *status) closeHub() {
	if s.close != nil {
		s.close()
	}
}

// once shows the status one time.
func (s *status) once(ctx context.Context) error {
	snapshot, err := waiting(ctx, s.app, "reading the container", func(ctx context.Context) (*ops.Snapshot, error) {
		return s.read(ctx, s.cmd, s.store, &ops.ReadOptions{Expiration: s.expiration})
	})
	if err != nil {
		return err
	}
	about := statusAbout{
		Namespace: snapshot.Scope.FullyQualifiedNamespace, EventHub: snapshot.Scope.EventHubName, Group: snapshot.Scope.ConsumerGroup, Time: snapshot.Time,
	}
	var lags []ops.Lag
	var hub *ops.Hub
	if s.lag {
		if err := s.openHub(snapshot.Scope); err != nil {
			return err
		}
		if hub, err = waiting(ctx, s.app, "asking the event hub", func(ctx context.Context) (*ops.Hub, error) {
			return ops.ReadHub(ctx, s.hub, nil)
		}); err != nil {
			return hubError(snapshot.Scope, err)
		}
		s.history.Add(hub)
		snapshot = snapshot.WithHub(hub)
		for _, p := range snapshot.Partitions {
			lags = append(lags, hub.Lag(p, s.history))
		}
		total := ops.Total(lags)
		about.Lag, about.Lost, about.LagTime, about.LagUnknown = &total.Events, &total.Lost, report.SecondsOf(total.Time), &total.Unknown
	}
	if err := s.write(statusDocument(snapshot, about, lags)); err != nil {
		return err
	}
	s.sayMore(snapshot, about, hub)
	if s.above.set {
		return s.above.exceeded(snapshot.Partitions, lags)
	}
	return nil
}

// statusDocument is a snapshot, with lags if they are not nil.
func statusDocument(snapshot *ops.Snapshot, about statusAbout, lags []ops.Lag) document {
	d := document{kind: "status", about: about, name: "partitions", rowType: report.Partition{}}
	d.head = []string{"PARTITION", "STATE", "OWNER", "RENEWED", "SEQUENCE", "CHECKPOINTED"}
	if lags != nil {
		d.head = append(d.head, "LAG", "LAG TIME", "LAG STATE")
	}
	d.cells = func(row any) []any {
		r := row.(report.Partition)
		cells := []any{r.PartitionID, state(r.State), r.OwnerID, ago(r.OwnershipAge), r.SequenceNumber, ago(r.CheckpointAge)}
		if lags != nil {
			cells = append(cells, r.Lag, r.LagTime, lagState(r))
		}
		return cells
	}
	for i, p := range snapshot.Partitions {
		row := report.PartitionOf(p)
		if lags != nil {
			row.AddLag(lags[i])
		}
		d.rows = append(d.rows, row)
	}
	return d
}

func ago(age *report.Seconds) any {
	if age == nil {
		return nil
	}
	return shortDuration(age.Duration()) + " ago"
}

// lagState is the state of a partition's lag with its number.
func lagState(p report.Partition) state {
	switch ops.LagState(*p.LagState) {
	case ops.LagExpired:
		return state(fmt.Sprintf("expired (%d events lost)", *p.Lost))
	case ops.LagAhead:
		return state(fmt.Sprintf("ahead (by %d: was the hub recreated?)", *p.Ahead))
	case ops.LagNoCheckpoint:
		return state(fmt.Sprintf("no checkpoint (%d events kept)", *p.Kept))
	}
	return state(*p.LagState)
}

// sayMore says what the table does not show.
func (s *status) sayMore(snapshot *ops.Snapshot, about statusAbout, hub *ops.Hub) {
	if s.output.format == "table" {
		text := "Consumer group " + snapshot.Scope.String()
		if about.Lag != nil {
			text += fmt.Sprintf(": %d events behind", *about.Lag)
			if *about.LagUnknown > 0 {
				text += fmt.Sprintf(", not known for %s", count(*about.LagUnknown, "partition"))
			}
			if *about.Lost > 0 {
				text += fmt.Sprintf(", %d events lost", *about.Lost)
			}
		}
		s.say("%s.", text)
	}
	if hub != nil {
		for _, p := range hub.Partitions {
			if p.Err != nil {
				s.say("warning: partition %s: %s", p.ID, p.Err)
			}
		}
	}
	n, live := 0, 0
	var other ops.Scope
	for _, p := range snapshot.Partitions {
		if p.Other != nil {
			n++
			other = p.Other.Scope
			if p.Other.State == ops.Live {
				live++
			}
		}
	}
	if n > 0 {
		s.say("warning: there are records of %s under the spelling %s, too, %d with a live owner.", count(n, "partition"), other.String(), live)
	}
}

// count is a number of things in words.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// watch shows the status until it is interrupted, which is no error. On a terminal each
// round replaces the one before. A failed round is reported, and ends it only if it is
// the first.
func (s *status) watch(ctx context.Context, interval time.Duration) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for first := true; ; first = false {
		if isTerminal(s.out) && s.output.format == "table" {
			fmt.Fprint(s.out, "\x1b[H\x1b[2J")
		}
		err := s.once(ctx)
		var above *thresholdError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &above), err != nil && first:
			return err
		case err != nil:
			s.say("checkpointctl: %s", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
