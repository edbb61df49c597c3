package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/ea947076/checkpointstore/ops"
)

type findingRow struct {
	Name     string  `json:"name"`
	Severity string  `json:"severity"`
	Detail   string  `json:"detail"`
	Do       *string `json:"do"`
}

func (a *app) doctorCommand() *cobra.Command {
	var options ops.CheckOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check the container: permissions, settings, conditions, clock, latency",
		Long: `doctor checks whether checkpoints are safe in the container, and what slows them down.
It writes a blob of its own and deletes it again. It exits with 1 if there is a problem.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := a.locate(cmd)
			if err != nil {
				return err
			}
			store, err := a.store(cmd)
			if err != nil {
				return err
			}
			defer store.Close()
			client, err := at.client()
			if err != nil {
				return err
			}
			options.Store = store
			findings, err := waiting(cmd.Context(), a, "checking the container", func(ctx context.Context) ([]ops.Finding, error) {
				return ops.Check(ctx, client, &options)
			})
			if err != nil {
				return err
			}
			d := document{kind: "doctor", name: "findings", rowType: findingRow{}, head: []string{"CHECK", "RESULT", "FOUND", "DO"}}
			d.cells = func(row any) []any {
				r := row.(findingRow)
				return []any{r.Name, state(r.Severity), r.Detail, r.Do}
			}
			problems := 0
			for _, f := range findings {
				row := findingRow{Name: f.Name, Severity: string(f.Severity), Detail: f.Detail}
				if f.Do != "" {
					row.Do = &f.Do
				}
				if f.Severity == ops.SeverityProblem {
					problems++
				}
				d.rows = append(d.rows, row)
			}
			if err := a.write(d); err != nil {
				return err
			}
			if problems > 0 {
				return fmt.Errorf("%d of %d findings are problems", problems, len(findings))
			}
			return nil
		},
	}
	expirationFlag(cmd.Flags(), &options.Expiration)
	return cmd
}

func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man FOLDER",
		Short: "Write manual pages into a folder",
		Args:  oneArg("a folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o777); err != nil {
				return err
			}
			return doc.GenManTree(cmd.Root(), &doc.GenManHeader{Title: "CHECKPOINTCTL", Section: "1"}, args[0])
		},
	}
}
