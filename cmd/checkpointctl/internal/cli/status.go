package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/ea947076/checkpointstore/ops"
)

// statusRow is one partition of a status.
type statusRow struct {
	PartitionID    string     `json:"partitionId"`
	State          string     `json:"state"`
	OwnerID        *string    `json:"ownerId"`
	OwnershipAge   *seconds   `json:"ownershipAgeSeconds"`
	SequenceNumber *int64     `json:"sequenceNumber"`
	Offset         *string    `json:"offset"`
	Generation     *int64     `json:"generation"`
	Writer         *string    `json:"writer"`
	EnqueuedTime   *time.Time `json:"enqueuedTime"`
	CheckpointTime *time.Time `json:"checkpointTime"`
	CheckpointAge  *seconds   `json:"checkpointAgeSeconds"`
	Spelling       *string    `json:"checkpointSpelling"`
	LagState       *string    `json:"lagState"`
	Lag            *int64     `json:"lag"`
	Lost           *int64     `json:"lost"`
	LagTime        *seconds   `json:"lagSeconds"`
	LagMethod      *string    `json:"lagMethod"`
}

type statusAbout struct {
	Namespace  string    `json:"fullyQualifiedNamespace"`
	EventHub   string    `json:"eventHubName"`
	Group      string    `json:"consumerGroup"`
	Time       time.Time `json:"time"`
	Lag        *int64    `json:"lag"`
	Lost       *int64    `json:"lost"`
	LagTime    *seconds  `json:"lagSeconds"`
	LagUnknown *int      `json:"lagUnknownPartitions"`
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

// exceeded says which partitions are above the threshold. A lag that is not known is:
// nobody knows that it is not.
func (t threshold) exceeded(ids []string, lags []ops.Lag) error {
	n, first := 0, ""
	for i, l := range lags {
		var why string
		switch {
		case l.State != ops.LagKnown && l.State != ops.LagEmpty:
			why = string(l.State)
		case t.time == 0 && *l.Events > t.events:
			why = fmt.Sprintf("%d events", *l.Events)
		case t.time > 0 && l.Time == nil:
			why = "the time is not known"
		case t.time > 0 && *l.Time > t.time:
			why = l.Time.String()
		default:
			continue
		}
		if n++; n == 1 {
			first = fmt.Sprintf("partition %s: %s", ids[i], why)
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
it, and where the checkpoint is. With --lag it also asks the event hub how far behind
that is.

If the container has one consumer group that fits the flags, that one is taken.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := a.store(cmd)
			if err != nil {
				return err
			}
			defer store.Close()
			scope, err := a.findScope(cmd.Context(), cmd, store)
			if err != nil {
				return err
			}
			s := &status{app: a, store: store, scope: scope, expiration: expiration, above: above}
			if lag || above.set {
				hub, closeHub, err := a.hub(scope, scope.ConsumerGroup)
				if err != nil {
					return err
				}
				defer closeHub()
				s.hub, s.history = hub, ops.NewHistory(0)
			}
			if watch == 0 {
				return s.once(cmd.Context(), cmd)
			}
			return s.watch(cmd.Context(), cmd, time.Duration(watch))
		},
	}
	flags := cmd.Flags()
	a.scope.add(flags)
	expirationFlag(flags, &expiration)
	flags.BoolVar(&lag, "lag", false, "ask the event hub how far behind the partitions are")
	flags.Var(&above, "fail-above", "exit with 3 if a partition is further behind than so many events, or than a duration, or if that is not known; implies --lag")
	flags.VarP(&watch, "watch", "w", "show it again and again, at this interval")
	flags.Lookup("watch").NoOptDefVal = "10s"
	return cmd
}

// status is one run of the command.
type status struct {
	*app
	store      ops.Store
	scope      ops.Scope
	hub        ops.EventHub // nil without --lag
	history    *ops.History
	expiration time.Duration
	above      threshold
}

// once shows the status one time.
func (s *status) once(ctx context.Context, cmd *cobra.Command) error {
	snapshot, err := waiting(ctx, s.app, "reading the container", func(ctx context.Context) (*ops.Snapshot, error) {
		return ops.Read(ctx, s.store, s.scope, &ops.ReadOptions{Expiration: s.expiration})
	})
	if err != nil {
		return err
	}
	if len(snapshot.Partitions) == 0 {
		if _, err := s.knownScope(ctx, cmd, s.store); err != nil {
			return err
		}
	}
	about := statusAbout{
		Namespace: s.scope.FullyQualifiedNamespace, EventHub: s.scope.EventHubName, Group: s.scope.ConsumerGroup, Time: snapshot.Time,
	}
	partitions := snapshot.Partitions
	var lags []ops.Lag
	if s.hub != nil {
		hub, err := waiting(ctx, s.app, "asking the event hub", func(ctx context.Context) (*ops.Hub, error) {
			return ops.ReadHub(ctx, s.hub, nil)
		})
		if err != nil {
			return err
		}
		s.history.Add(hub)
		partitions = withHubPartitions(snapshot, hub)
		for _, p := range partitions {
			lags = append(lags, hub.Lag(p, s.history))
		}
		total := ops.Total(lags)
		about.Lag, about.Lost, about.LagTime, about.LagUnknown = &total.Events, &total.Lost, secondsOf(total.Time), &total.Unknown
	}
	d := document{kind: "status", about: about, name: "partitions"}
	d.head = []string{"PARTITION", "STATE", "OWNER", "RENEWED", "SEQUENCE", "CHECKPOINTED"}
	if lags != nil {
		d.head = append(d.head, "LAG", "LAG TIME", "LAG STATE")
	}
	d.cells = func(row any) []any {
		r := row.(statusRow)
		cells := []any{r.PartitionID, r.State, r.OwnerID, ago(r.OwnershipAge), r.SequenceNumber, ago(r.CheckpointAge)}
		if lags != nil {
			cells = append(cells, r.Lag, r.LagTime, r.LagState)
		}
		return cells
	}
	var ids []string
	for i, p := range partitions {
		row := statusRowOf(snapshot, p)
		if lags != nil {
			row.addLag(lags[i])
		}
		d.rows = append(d.rows, row)
		ids = append(ids, p.ID)
	}
	if err := s.write(d); err != nil {
		return err
	}
	s.sayOtherSpelling(snapshot)
	if s.above.set {
		return s.above.exceeded(ids, lags)
	}
	return nil
}

func ago(age *seconds) any {
	if age == nil {
		return nil
	}
	return shortDuration(age.duration()) + " ago"
}

// withHubPartitions are the partitions of a snapshot and those that only the hub has.
func withHubPartitions(s *ops.Snapshot, hub *ops.Hub) []ops.Partition {
	var all []ops.Partition
	for _, p := range hub.Partitions {
		all = append(all, s.Partition(p.ID))
	}
	for _, p := range s.Partitions {
		if _, found := hub.Partition(p.ID); !found {
			all = append(all, p)
		}
	}
	return all
}

func statusRowOf(s *ops.Snapshot, p ops.Partition) statusRow {
	row := statusRow{PartitionID: p.ID, State: string(p.State)}
	if o := p.Ownership; o != nil {
		row.OwnershipAge = secondsOf(&p.OwnershipAge)
		if o.OwnerID != "" {
			row.OwnerID = &o.OwnerID
		}
	}
	if c := p.Checkpoint; c != nil {
		spelling := c.FullyQualifiedNamespace + "/" + c.EventHubName + "/" + c.ConsumerGroup
		row.SequenceNumber, row.Offset, row.Generation, row.EnqueuedTime = c.SequenceNumber, c.Offset, &c.Generation, c.EnqueuedTime
		row.CheckpointTime, row.CheckpointAge, row.Spelling = &c.LastModifiedTime, secondsOf(&p.CheckpointAge), &spelling
		if c.ClientID != "" {
			row.Writer = &c.ClientID
		}
	}
	return row
}

func (r *statusRow) addLag(l ops.Lag) {
	state := string(l.State)
	r.LagState, r.Lag, r.LagTime = &state, l.Events, secondsOf(l.Time)
	if l.State == ops.LagExpired {
		r.Lost = &l.Lost
	}
	if l.Method != "" {
		method := string(l.Method)
		r.LagMethod = &method
	}
}

// sayOtherSpelling tells of records that the table does not show.
func (s *status) sayOtherSpelling(snapshot *ops.Snapshot) {
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
		s.say("%d partitions also have records under %s, %d of them with a live owner.", n, scopeText(other), live)
	}
}

// watch shows the status until it is interrupted. On a terminal it begins at the top
// each time.
func (s *status) watch(ctx context.Context, cmd *cobra.Command, interval time.Duration) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if isTerminal(s.out) && s.output.format == "table" {
			fmt.Fprint(s.out, "\x1b[H\x1b[2J")
		}
		err := s.once(ctx, cmd)
		var above *thresholdError
		switch {
		case ctx.Err() != nil:
			return nil // interrupted, which is how it ends
		case errors.As(err, &above):
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
