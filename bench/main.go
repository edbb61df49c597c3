// Command bench measures the store beside the official one and beside bare calls
// of azblob, and prints tables with the ratios. With -update it writes them, and
// the chart, into the documentation.
//
// It exits with 1 if it fails, or if a target that is a count is not met; a
// target that is a time depends on the machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/ea947076/checkpointstore/bench/internal/backend"
	"github.com/ea947076/checkpointstore/bench/internal/report"
	"github.com/ea947076/checkpointstore/bench/internal/workload"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	quick, update, list bool
	only                *regexp.Regexp
	docs                string
}

func parseOptions(args []string, errors io.Writer) (options, error) {
	var o options
	var only string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(errors)
	flags.BoolVar(&o.quick, "quick", false, "measure less, for half a minute: enough for the targets that are counts")
	flags.BoolVar(&o.update, "update", false, "write the results and the chart into the documentation")
	flags.BoolVar(&o.list, "list", false, "print the names of what would be measured")
	flags.StringVar(&only, "run", "", "measure only what has a name that matches this `regexp`, such as ^tls/renew/256/5ms")
	flags.StringVar(&o.docs, "docs", filepath.Join("..", "docs"), "the `folder` of performance.md")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	var err error
	if o.only, err = regexp.Compile(only); err != nil {
		return o, fmt.Errorf("-run: %w", err)
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unknown argument %q", flags.Arg(0))
	case o.update && (o.quick || only != ""):
		return o, fmt.Errorf("-update writes the results of everything: leave out -quick and -run")
	}
	return o, nil
}

func (o options) works() []workload.Work {
	all := workload.All()
	if o.quick {
		all = workload.Quick()
	}
	var chosen []workload.Work
	for _, w := range all {
		if o.only.MatchString(w.Name()) {
			chosen = append(chosen, w)
		}
	}
	return chosen
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	o, err := parseOptions(args, progress)
	if err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	works := o.works()
	if o.list {
		for _, w := range works {
			fmt.Fprintln(out, w.Name())
		}
		return nil
	}
	if len(works) == 0 {
		return fmt.Errorf("nothing has a name that matches %s: -list prints them", o.only)
	}
	rows, err := measureAll(ctx, works, o.quick, progress)
	if err != nil {
		return err
	}
	command := strings.Join(append([]string{"go run ."}, args...), " ")
	measured := report.Measured(rows, "(cd bench && "+command+")", time.Now())
	fmt.Fprintln(out, measured)
	if o.update {
		if err := report.Update(o.docs, measured); err != nil {
			return err
		}
	}
	for _, t := range report.Targets(rows) {
		if t.Counted && !t.Met {
			return fmt.Errorf("not met: %s: %s", t.Text, t.Measured)
		}
	}
	return nil
}

// measureAll measures one work after another.
func measureAll(ctx context.Context, works []workload.Work, quick bool, progress io.Writer) (rows []workload.Row, err error) {
	var backends backend.Backends
	defer backends.Close()
	for i, w := range works {
		on, err := backends.Get(ctx, w.Backend)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(progress, "%d/%d %s\n", i+1, len(works), w.Name())
		rounds, atLeast := w.Rounds(), 60*time.Millisecond
		if quick {
			rounds, atLeast = 3, 10*time.Millisecond
		}
		row, err := workload.Run(ctx, w, on, rounds, atLeast)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}
