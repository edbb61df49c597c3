package script

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const example = `# What the file is about.

# What the case is about.
case one
put a k=v 'two=with spaces'
# between
call get a
----
=> v

case two
call get b
----
`

func TestAScriptIsReadAsItStands(t *testing.T) {
	cases, err := parse("x.txt", example)
	require.NoError(t, err)
	require.Len(t, cases, 2)
	require.Equal(t, "one", cases[0].Name)
	require.Equal(t, "=> v\n", cases[0].want)
	require.Equal(t, []*Command{
		{Word: "put", args: []string{"a", "k=v", "two=with spaces"}, at: "x.txt:5"},
		{Word: "call", args: []string{"get", "a"}, at: "x.txt:7"},
	}, cases[0].Commands)
	require.Equal(t, example, format(cases))
}

func TestArgumentsAreTakenInOrder(t *testing.T) {
	c := &Command{Word: "call", args: []string{"get", "a", "etag=\"0x1\"", "owner="}, at: "x.txt:7"}
	inner, err := c.Command()
	require.NoError(t, err)
	require.NoError(t, c.Done())
	require.Equal(t, "get", inner.Word)
	for _, want := range [][2]string{{"a", ""}, {"etag", `"0x1"`}} {
		key, value, ok := inner.Next()
		require.True(t, ok)
		require.Equal(t, want, [2]string{key, value})
	}
	require.EqualError(t, inner.Done(), `x.txt:7: "get" does not take "owner="`)
	_, err = c.Command()
	require.EqualError(t, err, `x.txt:7: "call" takes a command`)
}

func TestTakeRefusesUnknownKeys(t *testing.T) {
	took := ""
	keys := map[string]func(string) error{
		"k":   func(v string) error { took += v; return nil },
		"bad": func(string) error { return errors.New("no number") },
	}
	c := Command{Word: "put", args: []string{"k=1", "k=2"}, at: "x.txt:7"}
	require.NoError(t, c.Take(keys))
	require.Equal(t, "12", took)
	c.args = []string{"k=1", "other=2"}
	require.EqualError(t, c.Take(keys), `x.txt:7: "put" does not take "other=2"`)
	c.args = []string{"bad=1"}
	require.EqualError(t, c.Take(keys), "x.txt:7: bad: no number")
}

func TestMistakesAreNamedByFileAndLine(t *testing.T) {
	for text, want := range map[string]string{
		"case a\ncall\n":                                  "x.txt: the last case has no ----",
		"case a\ncall\n\ncase b\ncall\n----\n":            `x.txt:3: the case "a" has no ----`,
		"case a\n----\n":                                  "x.txt:2: a case without commands",
		"call\n----\n":                                    `x.txt:1: a case begins with "case <name>"`,
		"case a\ncall\n----\n\ncase a\ncall\n----\n":      `x.txt:5: a second case "a"`,
		"case a\ncall 'b\n----\n":                         `x.txt:2: cannot be split into words: "call 'b"`,
		"case a\ncall\n----\n=> x\n\n\n# the end\n----\n": "x.txt:8: a case without commands",
	} {
		_, err := parse("x.txt", text)
		require.EqualError(t, err, want, "%q", text)
	}
}

func TestUpdateRewritesTheResultsOnly(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "x.txt")
	require.NoError(t, os.WriteFile(file, []byte(example), 0o600))
	result := func(_ *testing.T, c *Case) (string, error) { return "=> " + c.Name + "\n", nil }
	Run(t, folder, true, result)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	cases, err := parse(file, string(text))
	require.NoError(t, err)
	for _, c := range cases {
		require.Equal(t, "=> "+c.Name+"\n", c.want)
		c.want = map[string]string{"one": "=> v\n"}[c.Name]
	}
	require.Equal(t, example, format(cases))
}
