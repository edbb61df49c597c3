package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ea947076/checkpointstore/ops"
)

type groupRow struct {
	Namespace string   `json:"fullyQualifiedNamespace"`
	EventHub  string   `json:"eventHubName"`
	Group     string   `json:"consumerGroup"`
	Spellings []string `json:"spellings"`
}

func (a *app) groupsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "groups",
		Short: "List the consumer groups that have records in the container",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := a.store(cmd)
			if err != nil {
				return err
			}
			defer store.Close()
			groups, err := waiting(cmd.Context(), a, "listing consumer groups", func(ctx context.Context) ([]ops.Group, error) {
				return ops.ListGroups(ctx, store)
			})
			if err != nil {
				return err
			}
			d := document{kind: "groups", name: "groups", rowType: groupRow{}, head: []string{"NAMESPACE", "HUB", "GROUP", "SPELLINGS"}}
			d.cells = func(row any) []any {
				r := row.(groupRow)
				return []any{r.Namespace, r.EventHub, r.Group, strings.Join(r.Spellings, ", ")}
			}
			for _, g := range groups {
				r := groupRow{g.Scope.FullyQualifiedNamespace, g.Scope.EventHubName, g.Scope.ConsumerGroup, []string{}}
				for _, s := range g.Spellings {
					r.Spellings = append(r.Spellings, s.String())
				}
				d.rows = append(d.rows, r)
			}
			if len(groups) == 0 {
				a.say("The container has no consumer groups.")
			}
			return a.write(d)
		},
	}
}
