package securitytest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
)

// TestSecurityFileAgreesWithTheErrors: the role has the data actions that errors
// name, and the table what each call was tested to need.
func TestSecurityFileAgreesWithTheErrors(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "SECURITY.md"))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "```json\n")
	require.True(t, found)
	document, _, _ := strings.Cut(rest, "```")
	var role struct{ Actions, DataActions []string }
	require.NoError(t, json.Unmarshal([]byte(document), &role))
	require.Empty(t, role.Actions)
	action := regexp.MustCompile(`^data action (\S+) \(SAS: \w\)$`)
	var named []string
	for _, n := range []need{toRead, toList, toWrite} {
		found := action.FindStringSubmatch(n.named)
		require.NotNil(t, found, n.named)
		named = append(named, found[1])
	}
	slices.Sort(named)
	require.Equal(t, slices.Compact(named), role.DataActions)

	for _, c := range permissionCalls(checkpointstore.Ownership{}) {
		method, which, _ := strings.Cut(c.name, ", ")
		var sas []string
		for _, n := range c.needs {
			switch n {
			case toCreate:
				sas = append(sas, "w or c")
			case never:
				sas = append(sas, "of the account only: w or c")
			default:
				sas = append(sas, n.anyOf)
			}
		}
		row := regexp.MustCompile("(?m)^\\|[^|]*`" + method + "`" + rowOf(which) + `[^|]*\|[^|]*\|[^|]*\| ` + strings.Join(sas, ", ") + ` \|$`)
		require.Regexp(t, row, string(text), c.name)
	}
}

// rowOf is how the table tells a call apart.
func rowOf(which string) string {
	switch which {
	case "first":
		return ", first( of a partition)?"
	case "rewind":
		return ", first of a tenure, or rewind"
	case "first, " + withoutFence, withoutFence:
		return ", all others, or unfenced"
	case "of none":
		return "[^|]*, if the condition was not met"
	case "":
		return ""
	}
	return ", " + which
}
