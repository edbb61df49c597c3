// Package cli has the commands of checkpointctl.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
)

// The exit statuses.
const (
	exitDone      = 0
	exitFailed    = 1
	exitUsage     = 2
	exitThreshold = 3 // --fail-above
)

// Main runs a command line and returns its exit status. Tables and data go to stdout,
// prose to stderr.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, lookupEnv func(string) (string, bool)) int {
	a := &app{in: stdin, out: stdout, err: stderr, lookupEnv: lookupEnv}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var usage *usageError
	var threshold *thresholdError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &threshold):
		a.say("%s", err)
		return exitThreshold
	case errors.As(err, &usage):
		a.say("checkpointctl: %s", err)
		a.say("Run '%s --help' for its flags.", usage.command)
		return exitUsage
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		a.say("checkpointctl: interrupted: %s", err)
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

// say writes prose to stderr.
func (a *app) say(format string, args ...any) {
	lines := strings.Split(fmt.Sprintf(format, args...), "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	fmt.Fprintln(a.err, strings.Join(lines, "\n"))
}

// printable is text of others without what a terminal would obey: control characters,
// and those that change the direction of writing.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// env returns an environment variable, empty if it is not set.
func (a *app) env(name string) string {
	value, _ := a.lookupEnv(name)
	return strings.TrimSpace(value)
}

// usageError says what is wrong with a command line.
type usageError struct {
	command string
	err     error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usage returns a usageError.
func usage(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd.CommandPath(), fmt.Errorf(format, args...)}
}

// thresholdError says that a lag is above --fail-above.
type thresholdError struct{ text string }

func (e *thresholdError) Error() string { return e.text }

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "checkpointctl",
		Short: "Show and change where Event Hubs consumers are",
		Long: `checkpointctl shows and changes what Event Hubs consumers keep in a checkpoint
container on Azure Blob Storage: who owns each partition, how far behind it is, and
where it resumes.

Commands that change something print their plan, and do nothing without --execute.

Credentials come from the environment, never from flags:
  AZURE_STORAGE_CONNECTION_STRING   of the storage account, with --container
  AZURE_STORAGE_SAS_TOKEN           a SAS for --container-url; without one,
                                    --container-url signs in with DefaultAzureCredential
  EVENTHUB_CONNECTION_STRING        of the event hub, for the commands that ask it;
                                    without it, DefaultAzureCredential

CHECKPOINT_CONTAINER and CHECKPOINT_CONTAINER_URL replace --container and
--container-url. NO_COLOR turns colours off.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 a lag above --fail-above.`,
		Version:                    version(),
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		Args:                       cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(flagError)
	a.connection.add(root.PersistentFlags())
	a.output.add(root)
	root.AddCommand(
		a.groupsCommand(), a.statusCommand(), a.getCommand(),
		a.setCommand(), a.resetCommand(), a.releaseCommand(),
		a.exportCommand(), a.importCommand(), a.migrateCommand(), a.gcCommand(),
		a.doctorCommand(), a.manCommand(),
		a.serveCommand(), a.demoCommand(),
	)
	return root
}

// version returns that of the module, as go install knows it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func unknownCommand(root *cobra.Command, name string) error {
	text := fmt.Sprintf("there is no command %q", name)
	if similar := root.SuggestionsFor(name); len(similar) > 0 {
		text += fmt.Sprintf(": did you mean %s?", strings.Join(similar, " or "))
	}
	return usage(root, "%s", text)
}

// noArgs refuses arguments, as a usage error.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(cmd, "%s takes no arguments, but got %q", cmd.Name(), args)
	}
	return nil
}

// oneArg asks for one argument.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage(cmd, "%s takes one argument, %s, but got %d", cmd.Name(), what, len(args))
		}
		return nil
	}
}
