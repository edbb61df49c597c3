package cli

import (
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
		Short: "Give partitions of dead owners free, so that others claim them at once",
		Args:  noArgs,
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
	flags.StringVar(&options.OwnerID, "owner", "", "only what this owner has")
	flags.BoolVar(&options.Live, "live", false, "partitions of live owners, too: they claim them again, unless others are faster")
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
		Short: "Delete records that are left over",
		Long: `gc deletes records of a consumer group that nobody needs any more: those under the
other spelling of its names after a move, those of partitions that the event hub does not
have, and those of a group in which nothing was written for a long time. It never touches
a partition with a live owner. The credential needs the permission to delete.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !other && !missing && unused == 0 {
				return usage(cmd, "say what to delete: --other-spelling, --missing-partitions or --unused")
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
				hub, closeHub, err := a.hub(scope, scope.ConsumerGroup)
				if err != nil {
					return err
				}
				defer closeHub()
				options.Hub = hub
			}
			plan, err := ops.PlanClean(cmd.Context(), store, scope, options)
			if err != nil {
				return err
			}
			return a.carryOut(cmd.Context(), store, plan, f)
		},
	}
	flags := cmd.Flags()
	a.scope.add(flags)
	expirationFlag(flags, &expiration)
	flags.BoolVar(&other, "other-spelling", false, "records under the spelling that the store does not write, once migrated")
	flags.BoolVar(&missing, "missing-partitions", false, "records of partitions that the event hub does not have")
	flags.Var(&unused, "unused", "all records of the group, if nothing was written for that long: 720h")
	f.add(flags, true, false)
	return cmd
}
