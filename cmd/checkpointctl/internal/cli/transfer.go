package cli

import (
	"encoding/json"
	"fmt"
	"os"
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
			scope, err := a.knownScope(cmd.Context(), cmd, store)
			if err != nil {
				return err
			}
			s, err := ops.Read(cmd.Context(), store, scope, nil)
			if err != nil {
				return err
			}
			if file != "" {
				_, err := writeBackup(file, s.Export())
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
	cmd.Flags().StringVar(&file, "file", "", "write to this file, which must not exist (default stdout)")
	return cmd
}

func (a *app) importCommand() *cobra.Command {
	var partitions partitionFlags
	var f executeFlags
	var options ops.ImportOptions
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Store the checkpoints of an export, in the same consumer group or another one",
		Long: `import stores the checkpoints of an export. Positions that are not ahead of what is
stored are skipped, unless --lower is given; reset --from-file goes to all of them.`,
		Args: exactArgs(1),
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
			scope := ops.Scope{
				FullyQualifiedNamespace: orElse(a.scope.namespace, export.FullyQualifiedNamespace),
				EventHubName:            orElse(a.scope.eventHub, export.EventHubName),
				ConsumerGroup:           orElse(a.scope.group, export.ConsumerGroup),
			}
			options.Partitions = partitions.ids
			plan, err := ops.PlanImport(cmd.Context(), store, scope, export, &options)
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
	flags.BoolVar(&options.Lower, "lower", false, "positions behind the stored ones, too")
	f.add(flags, true, false)
	return cmd
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
		Long: `migrate takes over the checkpoints of another package. The source is not changed,
and a second run changes nothing. It refuses while consumers of the source or of the target
are running.

Layouts:
  typed-names      the official Go and Rust stores: the same container, with names as typed
  go-track1        azure-event-hubs-go v3, in blobs; --prefix
  go-track1-files  its FilePersister; --source-folder
  dotnet-eph       Microsoft.Azure.EventHubs.Processor (.NET); --prefix
  java-eph         azure-eventhubs-eph (Java); --prefix
  python-eph       azure-eventhub 1 (Python)
  functions        Azure Functions before extension 5; --source-container azure-webjobs-eventhub
  dapr             Dapr before 1.10`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if layout == "" {
				return usage(cmd, "give --layout: one of %s", layoutNames())
			}
			options.Layout = ops.Layout(layout)
			if !strings.Contains(" "+layoutNames()+",", " "+layout+",") {
				return usage(cmd, "there is no layout %q: it is one of %s", layout, layoutNames())
			}
			if a.scope.namespace == "" || a.scope.eventHub == "" || a.scope.group == "" {
				return usage(cmd, "give --namespace, --hub and --group: they are not taken out of blob names, which are ambiguous")
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
			scope := ops.Scope{FullyQualifiedNamespace: a.scope.namespace, EventHubName: a.scope.eventHub, ConsumerGroup: a.scope.group}
			plan, err := ops.PlanMigrate(cmd.Context(), store, source, scope, options)
			if err != nil {
				return err
			}
			return a.carryOut(cmd.Context(), store, plan, f)
		},
	}
	flags := cmd.Flags()
	a.scope.add(flags)
	expirationFlag(flags, &options.Expiration)
	flags.StringVar(&layout, "layout", "", "how the other package keeps its checkpoints")
	flags.StringVar(&options.Prefix, "prefix", "", "prefix that the application gave the other package, as it gave it")
	flags.StringVar(&sourceContainer, "source-container", "", "container of the source, in the same account (default the checkpoint container)")
	flags.StringVar(&sourceFolder, "source-folder", "", "folder of the source's files")
	flags.BoolVar(&options.MapStartToEarliest, "map-start-to-earliest", false, `take "-1", the start of a partition, for the earliest position, and do not skip it`)
	flags.BoolVar(&options.Lower, "lower", false, "positions behind the stored ones, too")
	f.add(flags, true, false)
	return cmd
}

func layoutNames() string {
	var names []string
	for _, l := range ops.Layouts() {
		names = append(names, string(l))
	}
	return strings.Join(names, ", ")
}

// source opens what a layout is read from.
func (a *app) source(cmd *cobra.Command, layout ops.Layout, containerName, folder string) (ops.Source, error) {
	switch {
	case layout == ops.LayoutTypedNames:
		if containerName != "" || folder != "" {
			return nil, usage(cmd, "typed-names is in the checkpoint container itself: leave out --source-container and --source-folder")
		}
		return nil, nil
	case (layout == ops.LayoutGoTrack1Files) != (folder != ""):
		return nil, usage(cmd, "--source-folder is for go-track1-files, and needed there")
	case folder != "":
		return ops.FolderSource(os.DirFS(folder)), nil
	}
	p, err := a.place(cmd)
	if err != nil {
		return nil, err
	}
	if containerName != "" {
		if p.connectionString == "" {
			return nil, usage(cmd, "--source-container needs AZURE_STORAGE_CONNECTION_STRING")
		}
		p.container = containerName
	}
	client, err := p.client()
	if err != nil {
		return nil, err
	}
	return ops.ContainerSource(client), nil
}
