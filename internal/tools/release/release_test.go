package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// repository is a small repository of two released modules and one that is not.
func repository() map[string]string {
	return map[string]string{
		"go.mod":          "module example.com/root\n\ngo 1.25.0\n",
		"root.go":         "package root\n\nconst Answer = 42\n",
		"cmd/tell/go.mod": "module example.com/root/cmd/tell\n\ngo 1.25.0\n\nrequire (\n\texample.com/root v0.3.0\n\texample.com/root/nested v0.3.0\n)\n\nreplace example.com/root => ../..\n\nreplace example.com/root/nested => ../../nested\n",
		"cmd/tell/main.go": "package main\n\nimport (\n\t\"example.com/root\"\n\t\"example.com/root/nested\"\n)\n\n" +
			"func main() { println(root.Answer, nested.Answer) }\n",
		"nested/go.mod":      "module example.com/root/nested\n\ngo 1.25.0\n\nrequire example.com/root v0.3.0\n\nreplace example.com/root => ../\n",
		"nested/nested.go":   "package nested\n\nimport \"example.com/root\"\n\nconst Answer = root.Answer\n",
		"proof/go.mod":       "module example.com/root/proof\n\ngo 1.25.0\n\nreplace example.com/absent => ../absent\n",
		"proof/main.go":      "package main\n",
		"nested/test/go.mod": "module example.com/root/nested/test\n\ngo 1.25.0\n\nrequire example.com/root/nested v0.3.0\n\nreplace example.com/absent => ../absent\n",
		"nested/test/x.go":   "package test\n",
		"internal/x/x.go":    "package x\n",
		"testdata/go.mod":    "module example.com/root/testdata\n",
		".gitignore":         "ignored.go\n",
		"nested/unused_x.go": "//go:build absent\n\npackage nested\n",
	}
}

func write(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		name = filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	git := exec.Command("git", "init", "--quiet")
	git.Dir = root
	if output, err := git.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return root
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		change func(map[string]string)
		says   string // of the error; "" is none
	}{
		"as it is": {func(map[string]string) {}, ""},
		"a replace of another's module": {func(files map[string]string) {
			files["nested/go.mod"] += "\nreplace example.com/other => ../other\n"
		}, "nested/go.mod replaces example.com/other"},
		"two versions": {func(files map[string]string) {
			files["nested/go.mod"] = strings.ReplaceAll(files["nested/go.mod"], "v0.3.0", "v0.2.0")
		}, "requires example.com/root@v0."},
		"a circle": {func(files map[string]string) {
			files["go.mod"] += "\nrequire example.com/root/nested v0.3.0\n"
		}, "in a circle"},
		"a file that git ignores": {func(files map[string]string) {
			files["ignored.go"] = files["root.go"]
			files["root.go"] = "package root\n"
		}, "undefined: root.Answer"},
		"a command that does not compile": {func(files map[string]string) {
			files["cmd/tell/main.go"] += "var x int = \"\"\n"
		}, "go install example.com/root/cmd/tell@v0.3.0"},
	} {
		t.Run(name, func(t *testing.T) {
			files := repository()
			c.change(files)
			err := run(write(t, files), []string{"check"})
			switch {
			case c.says == "" && err != nil:
				t.Fatal(err)
			case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
				t.Fatalf("error %v, want %q", err, c.says)
			}
		})
	}
}

// TestModules: tags are made in the order of requirements, and test modules have none.
func TestModules(t *testing.T) {
	modules, err := findModules(write(t, repository()))
	if err != nil {
		t.Fatal(err)
	}
	var tags []string
	for _, m := range modules {
		tags = append(tags, m.tag("v0.3.0"))
	}
	if got := strings.Join(tags, " "); got != "v0.3.0 nested/v0.3.0 cmd/tell/v0.3.0" {
		t.Error(got)
	}
}

// TestPrepare: go.mod is that of a release. The versions that it requires are not
// published here, which is what go mod tidy says.
func TestPrepare(t *testing.T) {
	t.Setenv("GOPROXY", "off")
	root := write(t, repository())
	if err := run(root, []string{"prepare", "nested", "v0.4.0"}); err == nil || !strings.Contains(err.Error(), "module lookup disabled") {
		t.Error(err)
	}
	data, err := os.ReadFile(filepath.Join(root, "nested", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "module example.com/root/nested\n\ngo 1.25.0\n\nrequire example.com/root v0.4.0\n"; string(data) != want {
		t.Errorf("%s", data)
	}
	for _, args := range [][]string{{"prepare", "proof", "v0.4.0"}, {"prepare", "nested"}, {}} {
		if err := run(root, args); err == nil {
			t.Errorf("%q is no error", args)
		}
	}
}
