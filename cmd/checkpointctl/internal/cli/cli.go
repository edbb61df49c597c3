// Package cli is the command checkpointctl, but for its process.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// The exit statuses.
const (
	exitDone      = 0
	exitFailed    = 1
	exitUsage     = 2
	exitThreshold = 3 // --fail-above
)

// Main runs the command line and returns its exit status. Tables and data go to
// stdout, prose to stderr.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, lookupEnv func(string) (string, bool)) int {
	a := &app{in: stdin, out: stdout, err: stderr, lookupEnv: lookupEnv}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	var usage *usageError
	var threshold *thresholdError
	switch {
	case errors.As(err, &threshold):
		a.say("%s", err)
		return exitThreshold
	case errors.As(err, &usage):
		a.say("checkpointctl: %s", err)
		a.say("Run '%s --help' for its flags.", usage.command)
		return exitUsage
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		a.say("checkpointctl: interrupted")
	default:
		a.say("checkpointctl: %s", err)
	}
	return exitFailed
}

// app is one run of the command.
type app struct {
	in        io.Reader
	out, err  io.Writer
	lookupEnv func(string) (string, bool)

	connection connectionFlags
	scope      scopeFlags
	output     outputFlags
}

// say writes a line of prose.
func (a *app) say(format string, args ...any) {
	fmt.Fprintf(a.err, strings.TrimRight(format, "\n")+"\n", args...)
}

// env is the value of an environment variable, empty if it is not set.
func (a *app) env(name string) string {
	value, _ := a.lookupEnv(name)
	return strings.TrimSpace(value)
}

// usageError is a command line that cannot be meant.
type usageError struct {
	command string
	err     error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usage makes a usageError.
func usage(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd.CommandPath(), fmt.Errorf(format, args...)}
}

// thresholdError is a lag above --fail-above.
type thresholdError struct{ text string }

func (e *thresholdError) Error() string { return e.text }

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "checkpointctl",
		Short: "Show and change where Event Hubs consumers are",
		Long: `checkpointctl shows and changes what Event Hubs consumers keep in a checkpoint
container on Azure Blob Storage: who owns each partition, how far behind it is, and
from where it goes on.

Commands that change something print their plan and do nothing without --execute.

Credentials come from the environment, never from flags:
  AZURE_STORAGE_CONNECTION_STRING   of the storage account, with --container
  AZURE_STORAGE_SAS_TOKEN           for --container-url; without it, and without a
                                    connection string, DefaultAzureCredential is used
  EVENTHUB_CONNECTION_STRING        of the event hub, where a command asks it; without
                                    it, DefaultAzureCredential is used

CHECKPOINT_CONTAINER and CHECKPOINT_CONTAINER_URL stand for --container and
--container-url.

Exit status: 0 done, 1 failed, 2 usage, 3 a lag above --fail-above.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			text := fmt.Sprintf("there is no command %q", args[0])
			if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
				text += fmt.Sprintf(": did you mean %s?", strings.Join(similar, " or "))
			}
			return usage(cmd, "%s", text)
		},
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return &usageError{cmd.CommandPath(), flagError(cmd, err)} })
	a.connection.add(root.PersistentFlags())
	a.output.add(root.PersistentFlags())
	root.AddCommand(
		a.groupsCommand(), a.statusCommand(), a.getCommand(),
		a.setCommand(), a.resetCommand(), a.releaseCommand(),
		a.exportCommand(), a.importCommand(), a.migrateCommand(), a.gcCommand(),
		a.doctorCommand(), a.manCommand(),
		a.serveCommand(), a.demoCommand(),
	)
	return root
}

// noArgs refuses arguments, as a usage error.
func noArgs(cmd *cobra.Command, args []string) error { return exactArgs(0)(cmd, args) }

// exactArgs asks for n arguments, as a usage error.
func exactArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usage(cmd, "%s takes %d arguments, and not %d: %s", cmd.Name(), n, len(args), cmd.UseLine())
		}
		return nil
	}
}
