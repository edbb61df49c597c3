package tools

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/OpenPeeDeeP/depguard/v2"
	"golang.org/x/tools/go/analysis"
	"gopkg.in/yaml.v3"
)

// arrows returns the depguard rules of .golangci.yml, for a repository at root.
func arrows(t *testing.T, root string) *depguard.LinterSettings {
	t.Helper()
	var config struct {
		Linters struct {
			Settings struct {
				Depguard struct {
					Rules map[string]struct {
						ListMode string `yaml:"list-mode"`
						Files    []string
						Allow    []string
						Deny     []struct{ Pkg, Desc string }
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, ".golangci.yml")), &config); err != nil {
		t.Fatal(err)
	}
	settings := depguard.LinterSettings{}
	for name, rule := range config.Linters.Settings.Depguard.Rules {
		list := &depguard.List{ListMode: rule.ListMode, Allow: rule.Allow, Deny: map[string]string{}}
		for _, file := range rule.Files {
			list.Files = append(list.Files, strings.ReplaceAll(file, "${config-path}", filepath.ToSlash(root)))
		}
		for _, deny := range rule.Deny {
			list.Deny[deny.Pkg] = deny.Desc
		}
		settings[name] = list
	}
	return &settings
}

// forbidden returns what the rules say about the imports of a file.
func forbidden(t *testing.T, analyzer *analysis.Analyzer, name string, source any) []string {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, source, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var messages []string
	_, err = analyzer.Run(&analysis.Pass{Fset: fset, Files: []*ast.File{file}, Report: func(d analysis.Diagnostic) {
		messages = append(messages, d.Message)
	}})
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

// TestArrows checks the imports of all files, of every system and every module,
// against the depguard rules of .golangci.yml.
func TestArrows(t *testing.T) {
	root := repository(t)
	analyzer, err := depguard.NewAnalyzer(arrows(t, root))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files(t, ".go") {
		for _, message := range forbidden(t, analyzer, filepath.Join(root, filepath.FromSlash(name)), nil) {
			t.Errorf("%s: %s", name, message)
		}
	}
}

// TestArrowsForbid shows that the rules apply to the files that they name: each of
// these imports is forbidden.
func TestArrowsForbid(t *testing.T) {
	const (
		own    = "github.com/ea947076/checkpointstore"
		azblob = "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	)
	root := repository(t)
	analyzer, err := depguard.NewAnalyzer(arrows(t, root))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ file, imports string }{
		{"checkpointstore.go", azblob},
		{"checkpointstore.go", own + "/internal/listing"},
		{"ownership.go", own + "/progress"},
		{"ownership.go", own + "/processor"},
		{"checkpoint.go", own + "/memstore"},
		{"list.go", own + "/internal/fakeblob"},
		{"internal/fence/fence.go", own + "/internal/layout"},
		{"internal/layout/names.go", own + "/internal/listing"},
		{"internal/layout/names.go", own},
		{"internal/listing/listing.go", azblob + "/container"},
		{"internal/redact/redact.go", own + "/internal/layout"},
		{"memstore/memstore.go", azblob},
		{"memstore/memstore.go", own + "/storetest"},
		{"storetest/claims.go", azblob + "/bloberror"},
		{"progress/tracker.go", own + "/processor"},
		{"progress/tracker.go", "github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"},
		{"processor/processor.go", own + "/memstore"},
		{"processor/processor.go", azblob},
		{"processor/internal/balance/decide.go", own + "/internal/fence"},
		{"processor/processor.go", own + "/processor/processortest"},
		{"otel/store.go", "go.opentelemetry.io/otel/sdk/metric"},
		{"otel/store.go", "go.opentelemetry.io/otel/exporters/prometheus"},
		{"otel/store.go", "github.com/prometheus/client_golang/prometheus"},
		{"otel/hooks.go", own + "/processor/opshub"},
		{"otel/hooks.go", own + "/memstore"},
		{"ops/plan.go", "github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"},
		{"ops/plan.go", own + "/memstore"},
		{"processor/opshub/opshub.go", own + "/processor"},
		{"cmd/checkpointctl/internal/cli/cli.go", own + "/processor"},
		{"examples/failover/main.go", own + "/storetest"},
		{"cmd/any/main.go", "testing"},
	} {
		name := filepath.Join(root, filepath.FromSlash(c.file))
		source := "package " + strings.TrimSuffix(path.Base(c.file), ".go") + "\nimport _ \"" + c.imports + "\"\n"
		if len(forbidden(t, analyzer, name, source)) == 0 {
			t.Errorf("%s may import %s", c.file, c.imports)
		}
	}
}
