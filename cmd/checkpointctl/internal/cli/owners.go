package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/ea947076/checkpointstore/ops"
)

func (a *app) releaseCommand() *cobra.Command {
	var partitions partitionFlags
	var f executeFlags
	var options ops.ReleaseOptions
	cmd := &cobra.Command{
		Use:   "release",
		Short: "Relinquish the partitions of dead owners, so that others can claim them at once",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := a.store(cmd)
			if err != nil {
				return err
			}
			defer store.Close()
			scope, err := a.knownScope(cmd.Context(), cmd, store)
			if err != nil {
				return err
			}
			options.Partitions = partitions.ids
			plan, err := ops.PlanRelease(cmd.Context(), store, scope, &options)
			if err != nil {
				return err
			}
			f.release = options.Live
			return a.carryOut(cmd.Context(), store, plan, f)
		},
	}
	flags := cmd.Flags()
	a.scope.add(flags)
	partitions.add(flags)
	expirationFlag(flags, &options.Expiration)
	flags.StringVar(&options.OwnerID, "owner", "", "only the partitions of this owner")
	flags.BoolVar(&options.Live, "live", false, "also the partitions of live owners, who may claim them again")
	f.add(flags, false, false)
	return cmd
}

func (a *app) gcCommand() *cobra.Command {
	var f executeFlags
	var other, missing bool
	var unused durationValue
	var expiration time.Duration
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Delete records that nobody needs any more",
		Long: `gc deletes records of a consumer group that nobody needs any more: under the other
spelling of its names after a move, of partitions that the event hub does not have, and
of a group in which nothing was written for a long time. It never deletes records of a
partition with a live owner. The credential needs the permission to delete.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !other && !missing && unused == 0 {
				return usage(cmd, "nothing to look for: give --other-spelling, --missing-partitions or --unused")
			}
			store, err := a.store(cmd)
			if err != nil {
				return err
			}
			defer store.Close()
			scope, err := a.knownScope(cmd.Context(), cmd, store)
			if err != nil {
				return err
			}
			options := ops.CleanOptions{OtherSpelling: other, Unused: time.Duration(unused), Expiration: expiration}
			if missing {
				hub, closeHub, err := a.hub(cmd, scope, scope.ConsumerGroup)
				if err != nil {
					return err
				}
				defer closeHub()
				options.Hub = hub
			}
			plan, err := waiting(cmd.Context(), a, "looking for what is left over", func(ctx context.Context) (*ops.Plan, error) {
				return ops.PlanClean(ctx, store, scope, options)
			})
			if err != nil {
				return hubError(scope, err)
			}
			return a.carryOut(cmd.Context(), store, plan, f)
		},
	}
	flags := cmd.Flags()
	a.scope.add(flags)
	expirationFlag(flags, &expiration)
	flags.BoolVar(&other, "other-spelling", false, "records under the spelling that this store does not write, once they are migrated")
	flags.BoolVar(&missing, "missing-partitions", false, "records of partitions that the event hub does not have")
	flags.Var(&unused, "unused", "all records of the group, if nothing was written for such a duration: 720h")
	f.add(flags, true, false)
	return cmd
}
