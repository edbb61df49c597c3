package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ea947076/checkpointstore/ops"
)

func (a *app) exportCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the checkpoints of a consumer group as JSON, for import and reset --from-file",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := a.store(cmd)
			if err != nil {
				return err
			}
			defer store.Close()
			s, err := a.read(cmd.Context(), cmd, store, nil)
			if err != nil {
				return err
			}
			if file != "" {
				_, err := writeExport(file, s.Export())
				return err
			}
			text, err := json.MarshalIndent(s.Export(), "", "  ")
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%s\n", text)
			return err
		},
	}
	a.scope.add(cmd.Flags())
	cmd.Flags().StringVar(&file, "file", "", "write to this `file`, which must not exist (default stdout)")
	return cmd
}

func (a *app) importCommand() *cobra.Command {
	var partitions partitionFlags
	var f executeFlags
	var options ops.ImportOptions
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Store the checkpoints of an export, in the same consumer group or another one",
		Long: `import stores the checkpoints of an export, in the consumer group that it is from unless
--namespace, --hub or --group say otherwise. Positions that are not ahead of what is stored
are skipped, unless --lower is given.`,
		Args: oneArg("the file of an export"),
		RunE: func(cmd *cobra.Command, args []string) error {
			export, err := a.readExport(cmd, args[0])
			if err != nil {
				return err
			}
			store, err := a.store(cmd)
			if err != nil {
				return err
			}
			defer store.Close()
			a.scopeOf(export)
			scope := a.scope.whole()
			if scope == nil {
				return usage(cmd, "the export does not name its consumer group: give --namespace, --hub and --group")
			}
			options.Partitions = partitions.ids
			plan, err := ops.PlanImport(cmd.Context(), store, *scope, export, &options)
			if err != nil {
				return err
			}
			return a.carryOut(cmd.Context(), store, plan, f)
		},
	}
	flags := cmd.Flags()
	a.scope.add(flags)
	partitions.add(flags)
	expirationFlag(flags, &options.Expiration)
	flags.BoolVar(&options.Lower, "lower", false, "also positions behind the stored ones")
	f.add(flags, true, false)
	return cmd
}

// scopeOf fills in the names that the flags leave open from an export.
func (a *app) scopeOf(e *ops.Export) {
	f := &a.scope
	f.namespace = orElse(f.namespace, e.FullyQualifiedNamespace)
	f.eventHub = orElse(f.eventHub, e.EventHubName)
	f.group = orElse(f.group, e.ConsumerGroup)
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (a *app) migrateCommand() *cobra.Command {
	var f executeFlags
	var options ops.MigrateOptions
	var layout, sourceContainer, sourceFolder string
	cmd := &cobra.Command{
		Use:   "migrate --layout LAYOUT",
		Short: "Take over the checkpoints of another package",
		Long: `migrate stores the checkpoints of another package in this store's format. It does not
change the source, and a second run changes nothing. It refuses while consumers of the
source or of the target are running.

Layouts:
  typed-names      the official Go and Rust stores: the same container, with names as typed
  go-track1        azure-event-hubs-go v3, package storage; --prefix
  go-track1-files  azure-event-hubs-go v3, FilePersister; --source-folder
  dotnet-eph       Microsoft.Azure.EventHubs.Processor (.NET); --prefix
  java-eph         azure-eventhubs-eph (Java); --prefix
  python-eph       azure-eventhub 1 (Python)
  functions        Azure Functions before extension 5; --source-container azure-webjobs-eventhub
  dapr             Dapr before 1.10`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options.Layout = ops.Layout(layout)
			scope := a.scope.whole()
			switch {
			case layout == "":
				return usage(cmd, "no layout: give --layout with one of %s", strings.Join(layoutNames(), ", "))
			case !slices.Contains(layoutNames(), layout):
				return usage(cmd, "there is no layout %q: give one of %s", layout, strings.Join(layoutNames(), ", "))
			case scope == nil:
				return usage(cmd, "give --namespace, --hub and --group as they were typed: blob names alone are ambiguous")
			}
			store, err := a.store(cmd)
			if err != nil {
				return err
			}
			defer store.Close()
			source, err := a.source(cmd, options.Layout, sourceContainer, sourceFolder)
			if err != nil {
				return err
			}
			plan, err := waiting(cmd.Context(), a, "reading the source", func(ctx context.Context) (*ops.Plan, error) {
				return ops.PlanMigrate(ctx, store, source, *scope, options)
			})
			if err != nil {
				return err
			}
			return a.carryOut(cmd.Context(), store, plan, f)
		},
	}
	flags := cmd.Flags()
	a.scope.add(flags)
	expirationFlag(flags, &options.Expiration)
	flags.StringVar(&layout, "layout", "", "`layout` of the other package's checkpoints")
	completeWith(cmd, "layout", layoutNames()...)
	flags.StringVar(&options.Prefix, "prefix", "", "`prefix` of blob names that the application gave the other package")
	flags.StringVar(&sourceContainer, "source-container", "", "`container` of the source, in the same account (default the checkpoint container)")
	flags.StringVar(&sourceFolder, "source-folder", "", "`folder` of the source's files")
	flags.BoolVar(&options.MapStartToEarliest, "map-start-to-earliest", false, `take "-1", the start of a partition, for the earliest position instead of skipping it`)
	flags.BoolVar(&options.Lower, "lower", false, "also positions behind the stored ones")
	f.add(flags, true, false)
	return cmd
}

func layoutNames() []string {
	var names []string
	for _, l := range ops.Layouts() {
		names = append(names, string(l))
	}
	return names
}

// source opens what a layout is read from.
func (a *app) source(cmd *cobra.Command, layout ops.Layout, containerName, folder string) (ops.Source, error) {
	switch {
	case layout == ops.LayoutTypedNames:
		if containerName != "" || folder != "" {
			return nil, usage(cmd, "typed-names reads the checkpoint container itself: leave out --source-container and --source-folder")
		}
		return nil, nil
	case (layout == ops.LayoutGoTrack1Files) != (folder != ""):
		return nil, usage(cmd, "--source-folder is for go-track1-files, and needed there")
	case folder != "":
		if at, err := os.Stat(folder); err != nil || !at.IsDir() {
			return nil, usage(cmd, "--source-folder: there is no folder %q", folder)
		}
		return ops.FolderSource(os.DirFS(folder)), nil
	}
	at, err := a.locate(cmd)
	if err != nil {
		return nil, err
	}
	if containerName != "" {
		if at.connectionString == "" {
			return nil, usage(cmd, "--source-container needs AZURE_STORAGE_CONNECTION_STRING")
		}
		at.container = containerName
	}
	client, err := at.client()
	if err != nil {
		return nil, err
	}
	return ops.ContainerSource(client), nil
}
