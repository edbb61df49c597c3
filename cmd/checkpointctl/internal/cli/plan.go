package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	flags.BoolVar(&f.execute, "execute", false, "do it, after the plan is shown")
	if backup {
		flags.StringVar(&f.backup, "backup", "", "file for the checkpoints as they were (default checkpointctl-<hub>-<group>-<time>.json in this folder; 'none' writes none)")
	}
	if release {
		flags.BoolVar(&f.release, "release", false, "take partitions from live owners: those under processor.Run go on from the new position, those of other packages may undo it")
	}
}

// carryOut shows a plan, and applies it if asked to.
func (a *app) carryOut(ctx context.Context, store ops.Store, plan *ops.Plan, f executeFlags) error {
	if len(plan.Changes) == 0 || !f.execute {
		if err := a.showPlan(plan, nil, false, nil); err != nil {
			return err
		}
		if len(plan.Changes) == 0 {
			a.say("Nothing to change.")
		} else {
			a.say("Nothing was changed. Add --execute to do it.")
		}
		return nil
	}
	var backup *string
	options := &ops.ApplyOptions{Release: f.release}
	if f.backup != "none" && plan.Kind != ops.PlanToRelease {
		options.Backup = func(e *ops.Export) error {
			path, err := writeBackup(f.backup, e)
			backup = &path
			return err
		}
	}
	result, err := waiting(ctx, a, "changing partitions", func(ctx context.Context) (*ops.Result, error) {
		return ops.Apply(ctx, store, plan, options)
	})
	if result == nil {
		if showErr := a.showPlan(plan, nil, false, backup); showErr != nil {
			return showErr
		}
		if errors.Is(err, ops.ErrLive) {
			return fmt.Errorf("%w%s", err, liveAdvice(plan))
		}
		return err
	}
	if showErr := a.showPlan(plan, result, true, backup); showErr != nil {
		return showErr
	}
	if backup != nil {
		a.say("The checkpoints as they were are in %s.", *backup)
	}
	return err
}

func liveAdvice(plan *ops.Plan) string {
	if plan.Kind == ops.PlanToMigrate || plan.Kind == ops.PlanToClean || plan.Kind == ops.PlanToImport {
		return ""
	}
	return " (--release)"
}

// showPlan writes a plan, and what became of it.
func (a *app) showPlan(plan *ops.Plan, result *ops.Result, executed bool, backup *string) error {
	about := planAbout{
		Namespace: plan.Scope.FullyQualifiedNamespace, EventHub: plan.Scope.EventHubName, Group: plan.Scope.ConsumerGroup,
		Time: plan.Time, Executed: executed, Backup: backup, Skipped: []skippedText{}, Warnings: append([]string{}, plan.Warnings...),
	}
	for _, s := range plan.Skipped {
		about.Skipped = append(about.Skipped, skippedText{s.Name, s.Why})
	}
	d := document{kind: string(plan.Kind), about: about, name: "changes"}
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
		cells := []any{r.PartitionID, r.State, r.BeforeSequenceNumber, after, r.Why}
		if result != nil {
			cells = append(cells, r.Result)
		}
		return cells
	}
	for i, c := range plan.Changes {
		row := changeRowOf(c)
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
	for _, c := range plan.Changes {
		for _, w := range c.Warnings {
			a.say("warning: partition %s: %s", c.PartitionID, w)
		}
	}
	return nil
}

func changeRowOf(c ops.Change) changeRow {
	row := changeRow{PartitionID: c.PartitionID, State: string(c.Before.State), Why: c.Why, Warnings: append([]string{}, c.Warnings...)}
	if o := c.Before.Ownership; o != nil && o.OwnerID != "" {
		row.OwnerID = &o.OwnerID
	}
	if at := c.Before.Position(); at != nil {
		row.BeforeSequenceNumber, row.BeforeOffset = &at.SequenceNumber, &at.Offset
		row.BeforeGeneration = &c.Before.Checkpoint.Generation
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

func (r *changeRow) add(result ops.ChangeResult) {
	text := "done"
	if !result.Done {
		text = "failed"
	}
	if result.Err != nil {
		reason := result.Err.Error()
		r.Error = &reason
	}
	r.Result = &text
}

// writeBackup writes an export to a file that does not exist yet.
func writeBackup(path string, e *ops.Export) (string, error) {
	if path == "" {
		name := fmt.Sprintf("checkpointctl-%s-%s-%s.json", e.EventHubName, e.ConsumerGroup, time.Now().UTC().Format("20060102T150405.000Z"))
		path = strings.Map(func(r rune) rune {
			if r == filepath.Separator || r == '/' || r == ':' {
				return '-'
			}
			return r
		}, name)
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
