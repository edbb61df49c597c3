package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ea947076/checkpointstore/ops"
)

// changeRow is one change of a plan.
type changeRow struct {
	PartitionID          string     `json:"partitionId"`
	BeforeSequenceNumber *int64     `json:"beforeSequenceNumber"`
	BeforeOffset         *string    `json:"beforeOffset"`
	BeforeGeneration     *int64     `json:"beforeGeneration"`
	State                string     `json:"state"`
	OwnerID              *string    `json:"ownerId"`
	Action               string     `json:"action"`
	AfterSequenceNumber  *int64     `json:"afterSequenceNumber"`
	AfterOffset          *string    `json:"afterOffset"`
	AfterEnqueuedTime    *time.Time `json:"afterEnqueuedTime"`
	Why                  string     `json:"why"`
	Warnings             []string   `json:"warnings"`
	Result               *string    `json:"result"`
	Error                *string    `json:"error"`
}

type planAbout struct {
	Namespace string        `json:"fullyQualifiedNamespace"`
	EventHub  string        `json:"eventHubName"`
	Group     string        `json:"consumerGroup"`
	Time      time.Time     `json:"time"`
	Executed  bool          `json:"executed"`
	Backup    *string       `json:"backup"`
	Skipped   []skippedText `json:"skipped"`
	Warnings  []string      `json:"warnings"`
}

type skippedText struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// executeFlags are those of every command that changes something.
type executeFlags struct {
	execute bool
	backup  string
	release bool
}

func (f *executeFlags) add(flags *pflag.FlagSet, backup, release bool) {
	flags.BoolVar(&f.execute, "execute", false, "carry the plan out; without it, it is only shown")
	if backup {
		flags.StringVar(&f.backup, "backup", "", "`file` for the checkpoints as they were, which must not exist; none writes none (default checkpointctl-<hub>-<group>-<time>.json in this folder)")
	}
	if release {
		flags.BoolVar(&f.release, "release", false, "take partitions from live owners: those under processor.Run resume at the new position, those of other packages may undo it")
	}
}

// carryOut shows a plan, and applies it if asked to.
func (a *app) carryOut(ctx context.Context, store ops.Store, plan *ops.Plan, f executeFlags) error {
	if len(plan.Changes) == 0 || !f.execute {
		if err := a.showPlan(plan, nil, nil); err != nil {
			return err
		}
		if len(plan.Changes) == 0 {
			a.say("There is nothing to change.")
		} else {
			a.say("Nothing was changed: add --execute to carry this plan out.")
		}
		return nil
	}
	var backup *string
	options := &ops.ApplyOptions{Release: f.release}
	if f.backup != "none" && plan.Kind != ops.PlanToRelease {
		options.Backup = func(e *ops.Export) error {
			path, err := writeExport(f.backup, e)
			if err == nil {
				backup = &path
			}
			return err
		}
	}
	result, err := waiting(ctx, a, "changing partitions", func(ctx context.Context) (*ops.Result, error) {
		return ops.Apply(ctx, store, plan, options)
	})
	if showErr := a.showPlan(plan, result, backup); showErr != nil {
		return errors.Join(err, showErr)
	}
	if backup != nil {
		a.say("The checkpoints as they were are in %s.", *backup)
	}
	if errors.Is(err, ops.ErrLive) && (plan.Kind == ops.PlanToReset || plan.Kind == ops.PlanToRelease) && !f.release {
		return fmt.Errorf("%w with %s", err, map[ops.PlanKind]string{ops.PlanToReset: "--release", ops.PlanToRelease: "--live"}[plan.Kind])
	}
	return err
}

// showPlan writes a plan, and what became of it if it was carried out.
func (a *app) showPlan(plan *ops.Plan, result *ops.Result, backup *string) error {
	about := planAbout{
		Namespace: plan.Scope.FullyQualifiedNamespace, EventHub: plan.Scope.EventHubName, Group: plan.Scope.ConsumerGroup,
		Time: plan.Time, Executed: result != nil, Backup: backup, Skipped: []skippedText{}, Warnings: append([]string{}, plan.Warnings...),
	}
	for _, s := range plan.Skipped {
		about.Skipped = append(about.Skipped, skippedText{s.Name, s.Why})
	}
	d := document{kind: string(plan.Kind), about: about, name: "changes", rowType: changeRow{}}
	d.head = []string{"PARTITION", "STATE", "BEFORE", "AFTER", "WHY"}
	if result != nil {
		d.head = append(d.head, "RESULT")
	}
	d.cells = func(row any) []any {
		r := row.(changeRow)
		after := any(r.AfterSequenceNumber)
		if r.AfterSequenceNumber == nil {
			after = r.Action
		}
		cells := []any{r.PartitionID, state(r.State), r.BeforeSequenceNumber, after, r.Why}
		if result != nil {
			cells = append(cells, state(*r.Result))
		}
		return cells
	}
	for i, c := range plan.Changes {
		row := changeRowOf(plan.Kind, c)
		if result != nil {
			row.add(result.Changes[i])
		}
		d.rows = append(d.rows, row)
	}
	if len(d.rows) > 0 || a.output.format != "table" {
		if err := a.write(d); err != nil {
			return err
		}
	}
	for _, s := range plan.Skipped {
		a.say("skipped %s: %s", s.Name, s.Why)
	}
	for _, w := range plan.Warnings {
		a.say("warning: %s", w)
	}
	a.sayWarnings(plan.Changes)
	return nil
}

// sayWarnings says each warning once, with the partitions that it is about.
func (a *app) sayWarnings(changes []ops.Change) {
	var warnings []string
	partitions := make(map[string][]string)
	for _, c := range changes {
		for _, w := range c.Warnings {
			if partitions[w] == nil {
				warnings = append(warnings, w)
			}
			partitions[w] = append(partitions[w], c.PartitionID)
		}
	}
	for _, w := range warnings {
		ids, noun := partitions[w], "partition"
		if len(ids) > 1 {
			noun = "partitions"
		}
		a.say("warning: %s %s: %s", noun, strings.Join(ids, ", "), w)
	}
}

func changeRowOf(kind ops.PlanKind, c ops.Change) changeRow {
	row := changeRow{PartitionID: c.PartitionID, State: string(c.Before.State), Why: c.Why, Warnings: append([]string{}, c.Warnings...)}
	if o := c.Before.Ownership; o != nil && o.OwnerID != "" {
		row.OwnerID = &o.OwnerID
	}
	before := c.Before.Checkpoint
	switch kind {
	case ops.PlanToMigrate:
		before = c.Before.Own // the other spelling's is what is taken over
	case ops.PlanToClean:
		before = c.DeleteCheckpoint
	}
	if before != nil {
		row.BeforeSequenceNumber, row.BeforeOffset, row.BeforeGeneration = before.SequenceNumber, before.Offset, &before.Generation
	}
	switch {
	case c.After != nil:
		row.Action = "store"
		row.AfterSequenceNumber, row.AfterOffset, row.AfterEnqueuedTime = &c.After.SequenceNumber, &c.After.Offset, c.After.EnqueuedTime
	case c.Release:
		row.Action = "release"
	default:
		var kinds []string
		if c.DeleteOwnership != nil {
			kinds = append(kinds, "ownership")
		}
		if c.DeleteCheckpoint != nil {
			kinds = append(kinds, "checkpoint")
		}
		row.Action = "delete " + strings.Join(kinds, " and ")
	}
	return row
}

// The results of a change.
const (
	resultDone   = "done"
	resultFailed = "failed"
)

func (r *changeRow) add(result ops.ChangeResult) {
	text := resultDone
	if !result.Done {
		text = resultFailed
	}
	if result.Err != nil {
		reason := result.Err.Error()
		r.Error = &reason
	}
	r.Result = &text
}

// writeExport writes an export to a file that does not exist yet, and returns its path.
func writeExport(path string, e *ops.Export) (string, error) {
	if path == "" {
		name := fmt.Sprintf("checkpointctl-%s-%s-%s.json", e.EventHubName, e.ConsumerGroup, time.Now().UTC().Format("20060102T150405.000Z"))
		path = regexp.MustCompile(`[^A-Za-z0-9._-]+`).ReplaceAllString(name, "")
	}
	text, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return path, err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return path, err
	}
	_, err = file.Write(append(text, '\n'))
	return path, errors.Join(err, file.Close())
}

// readExport reads an export from a file, or from stdin for "-".
func (a *app) readExport(cmd *cobra.Command, path string) (*ops.Export, error) {
	if path == "-" {
		return ops.ReadExport(a.in)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, usage(cmd, "%s", err)
	}
	defer file.Close()
	e, err := ops.ReadExport(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return e, nil
}
