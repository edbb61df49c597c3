package checkpointstore_test

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDocumentsShowWhatRuns finds every Go snippet of every document in the file
// that the comment above it names, and every changed line of a diff. The file is
// part of a package that has tests.
func TestDocumentsShowWhatRuns(t *testing.T) {
	shown := make(map[string]int)
	for _, document := range documents(t) {
		lines := strings.Split(read(t, document), "\n")
		for i, line := range lines {
			kind, isFence := strings.CutPrefix(line, "```")
			if !isFence || kind != "go" && kind != "diff" {
				continue
			}
			require.Positive(t, i, document)
			source, named := strings.CutPrefix(lines[i-1], "<!-- from ")
			source = strings.TrimSuffix(source, " -->")
			require.True(t, named, "%s:%d: the line above the snippet must be <!-- from folder/file.go -->", document, i+1)
			length := slices.Index(lines[i+1:], "```")
			require.Positive(t, length, "%s:%d", document, i+1)
			snippet := lines[i+1 : i+1+length]
			compiled := trimmed(read(t, source))
			if kind == "go" {
				require.Contains(t, "\n"+compiled, "\n"+trimmed(strings.Join(snippet, "\n"))+"\n", "%s:%d is not in %s", document, i+1, source)
			} else {
				requireLines(t, snippet, strings.Split(compiled, "\n"))
			}
			tests, err := filepath.Glob(filepath.Join(filepath.FromSlash(path.Dir(source)), "*_test.go"))
			require.NoError(t, err)
			require.NotEmpty(t, tests, "%s:%d: nothing tests %s", document, i+1, source)
			shown[document]++
		}
	}
	require.Positive(t, shown["README.md"])
	require.Positive(t, shown["processor/README.md"])
}

// requireLines finds what a diff takes away and what it adds.
func requireLines(t *testing.T, diff, compiled []string) {
	t.Helper()
	changes := make(map[byte]int)
	for _, line := range diff {
		require.NotEmpty(t, line)
		require.Contains(t, compiled, strings.TrimSpace(line[1:]))
		changes[line[0]]++
	}
	require.Positive(t, changes['-'])
	require.Positive(t, changes['+'])
}

// documents are the Markdown files of the repository.
func documents(t *testing.T) (names []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(name, ".md") {
			names = append(names, filepath.ToSlash(name))
		}
		return err
	}))
	return names
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(name))
	require.NoError(t, err)
	return string(text)
}

// trimmed is text without the white space around each line.
func trimmed(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.Join(lines, "\n")
}

// TestREADMEsNameEveryOptionAndError finds each field of the options, and each
// sentinel error, in a table of the README.
func TestREADMEsNameEveryOptionAndError(t *testing.T) {
	for _, c := range []struct{ readme, folder, options string }{
		{"README.md", ".", "BlobCheckpointStoreOptions"},
		{"processor/README.md", "processor", "Options"},
		{"processor/README.md", "processor", "BatchOptions"},
	} {
		rows := ""
		for line := range strings.Lines(read(t, c.readme)) {
			if first, _, isRow := strings.Cut(strings.TrimPrefix(line, "|"), "|"); isRow {
				rows += first + "\n"
			}
		}
		names := exported(t, c.folder, c.options)
		require.Greater(t, len(names), 10, c.options)
		for _, name := range names {
			require.Contains(t, rows, "`"+name+"`", "%s has no row for it", c.readme)
		}
	}
}

// exported returns the fields of a struct type and the Err variables of a package.
func exported(t *testing.T, folder, structType string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	require.NoError(t, err)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(gotoken.NewFileSet(), file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, declaration := range parsed.Decls {
			general, isGeneral := declaration.(*ast.GenDecl)
			if !isGeneral {
				continue
			}
			for _, spec := range general.Specs {
				switch spec := spec.(type) {
				case *ast.ValueSpec:
					if strings.HasPrefix(spec.Names[0].Name, "Err") {
						names = append(names, spec.Names[0].Name)
					}
				case *ast.TypeSpec:
					if fields, isStruct := spec.Type.(*ast.StructType); isStruct && spec.Name.Name == structType {
						for _, field := range fields.Fields.List {
							for _, name := range field.Names {
								names = append(names, name.Name)
							}
						}
					}
				}
			}
		}
	}
	return names
}
