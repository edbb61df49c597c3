// Package script reads golden test scripts: cases that say in words what is set up and called, with what comes of it
// below:
//
//	# Comments may stand above a case and between its commands.
//	case a first claim is lost to whoever created the blob
//	put group/ownership/0 ownerid=b
//	call claim owner=a partition=0
//	----
//	PUT  /c/ns.example/hub/group/ownership/0  if-none-match=*  ownerid="a" -> 409 BlobAlreadyExists
//	=> won
//
// A blank line ends a case. A command is a word and its arguments, each a word or key=value; single quotes hold an
// argument with spaces together. What the words mean is up to the caller of [Run].
package script

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const separator = "----"

// A Case is one case of a script.
type Case struct {
	Name     string
	Commands []*Command

	head []string // the lines above the separator, as they stand
	want string   // the lines below it
}

// A Command is a word with its arguments.
type Command struct {
	Word string
	args []string
	at   string // file and line
}

// Next removes the next argument and returns its key and value. An argument without "=" has no value.
func (c *Command) Next() (key, value string, ok bool) {
	if len(c.args) == 0 {
		return "", "", false
	}
	key, value, _ = strings.Cut(c.args[0], "=")
	c.args = c.args[1:]
	return key, value, true
}

// Take hands each argument that is left to the function of its key, in order. A key without a function is an error.
func (c *Command) Take(keys map[string]func(value string) error) error {
	for {
		key, value, ok := c.Next()
		if !ok {
			return nil
		}
		take, known := keys[key]
		if !known {
			return c.Errorf("%q does not take %q", c.Word, strings.TrimSuffix(key+"="+value, "="))
		}
		if err := take(value); err != nil {
			return c.Errorf("%s: %w", key, err)
		}
	}
}

// Command removes the arguments that are left and returns them as a command of their own.
func (c *Command) Command() (*Command, error) {
	if len(c.args) == 0 {
		return nil, c.Errorf("%q takes a command", c.Word)
	}
	inner := &Command{Word: c.args[0], args: c.args[1:], at: c.at}
	c.args = nil
	return inner, nil
}

// Done returns an error if arguments are left.
func (c *Command) Done() error {
	if len(c.args) > 0 {
		return c.Errorf("%q does not take %q", c.Word, c.args[0])
	}
	return nil
}

// Errorf returns an error that names the file and the line of the command.
func (c *Command) Errorf(format string, args ...any) error {
	return fmt.Errorf("%s: %w", c.at, fmt.Errorf(format, args...))
}

// Run runs every case of the scripts *.txt in a folder and compares what run returns with what stands in the script.
// If update is set, it writes what run returns there instead; the commands stay as they are.
func Run(t *testing.T, folder string, update bool, run func(*testing.T, *Case) (string, error)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts in %s: %v", folder, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cases, err := parse(file, string(text))
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range cases {
				t.Run(c.Name, func(t *testing.T) {
					got, err := run(t, c)
					switch {
					case err != nil:
						t.Fatal(err)
					case update:
						c.want = got
					case got != c.want:
						t.Errorf("%s: got:\n%s\nwant:\n%s", c.Commands[0].at, got, c.want)
					}
				})
			}
			if update && !t.Failed() {
				if err := os.WriteFile(file, []byte(format(cases)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// parse reads a script. Its errors name the file and the line.
func parse(file, text string) ([]*Case, error) {
	var cases []*Case
	names := make(map[string]bool)
	c, below := &Case{}, false
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		at := fmt.Sprintf("%s:%d", file, i+1)
		switch {
		case below && line == "":
			c, below = &Case{}, false
			continue
		case below:
			c.want += line + "\n"
			continue
		case line == separator:
			if len(c.Commands) == 0 {
				return nil, fmt.Errorf("%s: a case without commands", at)
			}
			cases, below = append(cases, c), true
			continue
		}
		c.head = append(c.head, line)
		name, isCase := strings.CutPrefix(line, "case ")
		switch {
		case strings.HasPrefix(line, "#"), line == "" && c.Name == "":
		case line == "":
			return nil, fmt.Errorf("%s: the case %q has no %s", at, c.Name, separator)
		case isCase && c.Name == "" && names[name]:
			return nil, fmt.Errorf("%s: a second case %q", at, name)
		case isCase && c.Name == "":
			c.Name, names[name] = name, true
		case c.Name == "":
			return nil, fmt.Errorf("%s: a case begins with %q", at, "case <name>")
		default:
			command, err := ParseCommand(at, line)
			if err != nil {
				return nil, err
			}
			c.Commands = append(c.Commands, command)
		}
	}
	if !below {
		return nil, fmt.Errorf("%s: the last case has no %s", file, separator)
	}
	return cases, nil
}

// ParseCommand parses one line. Its errors, and those of the command, begin with at.
func ParseCommand(at, line string) (*Command, error) {
	quoted := false
	words := strings.FieldsFunc(line, func(r rune) bool {
		if r == '\'' {
			quoted = !quoted
		}
		return r == ' ' && !quoted
	})
	if quoted || len(words) == 0 {
		return nil, fmt.Errorf("%s: cannot be split into words: %q", at, line)
	}
	for i := range words {
		words[i] = strings.ReplaceAll(words[i], "'", "")
	}
	return &Command{Word: words[0], args: words[1:], at: at}, nil
}

// format is the opposite of parse.
func format(cases []*Case) string {
	texts := make([]string, len(cases))
	for i, c := range cases {
		texts[i] = strings.Join(c.head, "\n") + "\n" + separator + "\n" + c.want
	}
	return strings.Join(texts, "\n")
}
