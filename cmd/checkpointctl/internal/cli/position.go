package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/report"
	"github.com/ea947076/checkpointstore/ops"
)

func (a *app) getCommand() *cobra.Command {
	var expiration time.Duration
	cmd := &cobra.Command{
		Use:   "get PARTITION",
		Short: "Show everything that is stored of one partition",
		Args:  oneArg("a partition"),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := a.store(cmd)
			if err != nil {
				return err
			}
			defer store.Close()
			s, err := a.read(cmd.Context(), cmd, store, &ops.ReadOptions{Expiration: expiration})
			if err != nil {
				return err
			}
			p := s.Partition(args[0])
			if p.Ownership == nil && p.Checkpoint == nil && p.Other == nil {
				var ids []string
				for _, p := range s.Partitions {
					ids = append(ids, p.ID)
				}
				return fmt.Errorf("partition %q has no records in %s, which has %s", args[0], s.Scope.String(), strings.Join(ids, ", "))
			}
			row := report.PartitionOf(p)
			names, values, err := flatten(row)
			if err != nil {
				return err
			}
			if a.output.format != "table" {
				return a.write(document{kind: "partition", name: "partitions", rowType: report.Partition{}, rows: []any{row}})
			}
			d := document{head: []string{"FIELD", "VALUE"}}
			d.cells = func(row any) []any { f := row.([2]string); return []any{f[0], f[1]} }
			for i, name := range names {
				if values[i] != "" {
					d.rows = append(d.rows, [2]string{name, values[i]})
				}
			}
			return a.write(d)
		},
	}
	a.scope.add(cmd.Flags())
	expirationFlag(cmd.Flags(), &expiration)
	return cmd
}

func (a *app) setCommand() *cobra.Command {
	var position ops.Position
	var enqueued timeValue
	var f executeFlags
	var expiration time.Duration
	cmd := &cobra.Command{
		Use:   "set PARTITION --sequence-number N --offset TEXT",
		Short: "Store a position exactly as given",
		Long: `set stores the position of the last event that was handled: consumers resume at the
event after it. It does not ask the event hub, and so cannot tell whether there is such
an event; reset finds positions by itself.`,
		Args: oneArg("a partition"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("sequence-number") || position.Offset == "" {
				return usage(cmd, "a position needs both --sequence-number and --offset: consumers of other packages fail without one of them (reset --to-sequence-number finds the offset)")
			}
			position.EnqueuedTime = enqueued.at
			return a.reset(cmd, ops.ToPosition(position), resetting{partitions: args, execute: f, expiration: expiration})
		},
	}
	flags := cmd.Flags()
	a.scope.add(flags)
	expirationFlag(flags, &expiration)
	flags.Int64Var(&position.SequenceNumber, "sequence-number", 0, "sequence number of the event")
	flags.StringVar(&position.Offset, "offset", "", "offset of the event")
	flags.Var(&enqueued, "enqueued-time", "when the event was enqueued, RFC 3339")
	f.add(flags, true, true)
	return cmd
}

func (a *app) resetCommand() *cobra.Command {
	var partitions partitionFlags
	var f executeFlags
	var expiration time.Duration
	var to struct {
		sequenceNumber, shift int64
		offset, file          string
		at                    timeValue
		ago                   durationValue
	}
	var viaGroup string
	cmd := &cobra.Command{
		Use:   "reset",
		Short: "Move a consumer group to another position",
		Long: `reset moves a consumer group, or some of its partitions, to another position. Its flags
say which event is handled next. A position before the oldest event that is kept becomes
the earliest one, and a position past the end becomes the latest, with a warning.

It refuses partitions with a live owner. With --release it takes them away: owners under
processor.Run resume at the new position within two rounds, without a restart.

Positions between the ends are found by reading events, which Event Hubs allows only in a
consumer group without live owners: with --release, name another group of the hub with
--via-group.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var target ops.Target
			flag, err := only(cmd, "to-earliest", "to-latest", "to-sequence-number", "to-offset", "to-time", "by-duration", "shift-by", "from-file")
			if err != nil {
				return err
			}
			needsHub := true
			switch flag {
			case "to-earliest":
				target = ops.ToEarliest()
			case "to-latest":
				target = ops.ToLatest()
			case "to-sequence-number":
				target = ops.ToSequenceNumber(to.sequenceNumber)
			case "to-offset":
				target = ops.ToOffset(to.offset)
			case "to-time":
				target = ops.ToTime(*to.at.at)
			case "by-duration":
				target = ops.Ago(time.Duration(to.ago))
			case "shift-by":
				target = ops.ShiftBy(to.shift)
			case "from-file":
				export, err := a.readExport(cmd, to.file)
				if err != nil {
					return err
				}
				if from := (ops.Scope{FullyQualifiedNamespace: export.FullyQualifiedNamespace, EventHubName: export.EventHubName, ConsumerGroup: export.ConsumerGroup}); !a.fits(from) {
					a.say("warning: the file has the positions of %s", from.String())
				}
				a.scopeOf(export)
				target, needsHub = ops.ToExport(export), false
			}
			return a.reset(cmd, target, resetting{partitions: partitions.ids, execute: f, expiration: expiration, hub: needsHub, viaGroup: viaGroup})
		},
	}
	flags := cmd.Flags()
	a.scope.add(flags)
	partitions.add(flags)
	expirationFlag(flags, &expiration)
	flags.Bool("to-earliest", false, "starts with the oldest event that is kept")
	flags.Bool("to-latest", false, "starts with the next event that arrives")
	flags.Int64Var(&to.sequenceNumber, "to-sequence-number", 0, "the event with this sequence `number` is next")
	flags.StringVar(&to.offset, "to-offset", "", "the event with this `offset` is next")
	flags.Var(&to.at, "to-time", "the first event enqueued at this time or later is next, such as 2026-11-21T14:00:00Z")
	flags.Var(&to.ago, "by-duration", "the first event enqueued within this duration is next, such as 90m or PT1H30M")
	flags.Int64Var(&to.shift, "shift-by", 0, "move by this `number` of events, back if negative: --shift-by=-100")
	flags.StringVar(&to.file, "from-file", "", "the positions in this `file`, an export or a backup; - is stdin")
	flags.StringVar(&viaGroup, "via-group", "", "read events in this consumer `group` (default that of --group)")
	f.add(flags, true, true)
	return cmd
}

// resetting is what reset and set have in common.
type resetting struct {
	partitions []string
	execute    executeFlags
	expiration time.Duration
	hub        bool
	viaGroup   string
}

func (a *app) reset(cmd *cobra.Command, target ops.Target, r resetting) error {
	ctx := cmd.Context()
	store, err := a.store(cmd)
	if err != nil {
		return err
	}
	defer store.Close()
	scope, err := a.scopeToWrite(ctx, cmd, store)
	if err != nil {
		return err
	}
	var hub ops.EventHub
	if r.hub {
		via := orElse(r.viaGroup, scope.ConsumerGroup)
		var closeHub func()
		if hub, closeHub, err = a.hub(cmd, scope, via); err != nil {
			return err
		}
		defer closeHub()
	}
	plan, err := waiting(ctx, a, "finding positions", func(ctx context.Context) (*ops.Plan, error) {
		return ops.PlanReset(ctx, store, hub, scope, target, &ops.ResetOptions{Partitions: r.partitions, Expiration: r.expiration})
	})
	if err != nil {
		return hubError(scope, err)
	}
	return a.carryOut(ctx, store, plan, r.execute)
}
