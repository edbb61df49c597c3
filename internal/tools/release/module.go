package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/build"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// unreleased are the directories whose modules have only tests, measurements or
// tools. A module anywhere else is released, unless it is in a directory test.
var unreleased = []string{"bench", "interop", "internal", "proof"}

// A releasable is a module that users require.
type releasable struct {
	dir       string // relative to the repository, "." for the root
	file      *modfile.File
	libraries []string // packages that users can import
	commands  []string // packages that users can install
}

func (m *releasable) path() string { return m.file.Module.Mod.Path }

// tag returns the tag that go get looks for.
func (m *releasable) tag(version string) string { return path.Join(m.dir, version) }

// findModules returns the modules that are released, each after those it requires.
func findModules(root string) ([]*releasable, error) {
	var found []*releasable
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		switch base := entry.Name(); {
		case entry.IsDir() && (base == ".git" || base == "node_modules" || base == "testdata" || base == "test" || dir == "." && slices.Contains(unreleased, base)):
			return fs.SkipDir
		case base != "go.mod":
			return nil
		}
		m, err := readModule(root, filepath.ToSlash(dir))
		found = append(found, m)
		return err
	})
	if err != nil {
		return nil, err
	}
	return ordered(found)
}

func readModule(root, dir string) (*releasable, error) {
	name := filepath.Join(root, dir, "go.mod")
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	file, err := modfile.Parse(name, data, nil)
	if err != nil {
		return nil, err
	}
	m := &releasable{dir: dir, file: file}
	return m, m.findPackages(filepath.Join(root, dir))
}

// findPackages fills in libraries and commands.
func (m *releasable) findPackages(top string) error {
	return filepath.WalkDir(top, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		base := entry.Name()
		if name != top {
			if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil || base == "internal" || base == "testdata" || base == "node_modules" || strings.HasPrefix(base, ".") {
				return fs.SkipDir
			}
		}
		p, err := build.ImportDir(name, 0)
		if none := (*build.NoGoError)(nil); errors.As(err, &none) {
			return nil
		} else if err != nil {
			return err
		}
		relative, err := filepath.Rel(top, name)
		if err != nil {
			return err
		}
		imported := path.Join(m.path(), filepath.ToSlash(relative))
		switch {
		case len(p.GoFiles)+len(p.CgoFiles) == 0: // tests only
		case p.IsCommand():
			m.commands = append(m.commands, imported)
		default:
			m.libraries = append(m.libraries, imported)
		}
		return nil
	})
}

// own returns the modules among all that m requires.
func (m *releasable) own(all []*releasable) []*releasable {
	return slices.DeleteFunc(slices.Clone(all), func(other *releasable) bool {
		return !slices.ContainsFunc(m.file.Require, func(r *modfile.Require) bool { return r.Mod.Path == other.path() })
	})
}

// ordered puts each module after those it requires.
func ordered(modules []*releasable) ([]*releasable, error) {
	var done []*releasable
	for len(done) < len(modules) {
		before := len(done)
		for _, m := range modules {
			missing := slices.ContainsFunc(m.own(modules), func(other *releasable) bool { return !slices.Contains(done, other) })
			if !missing && !slices.Contains(done, m) {
				done = append(done, m)
			}
		}
		if len(done) == before {
			return nil, errors.New("modules require each other in a circle")
		}
	}
	return done, nil
}

// requiredVersion returns the one version of each other that the modules require.
func requiredVersion(modules []*releasable) (string, error) {
	version := ""
	for _, m := range modules {
		for _, r := range m.file.Require {
			if !slices.ContainsFunc(modules, func(other *releasable) bool { return other.path() == r.Mod.Path }) {
				continue
			}
			if version != "" && version != r.Mod.Version {
				return "", fmt.Errorf("%s/go.mod requires %s, another module requires %s", m.dir, r.Mod, version)
			}
			version = r.Mod.Version
		}
	}
	if version == "" {
		return "", errors.New("no module requires another one, so that there is no version to check")
	}
	return version, nil
}

// release rewrites the module's go.mod as that of a release.
func (m *releasable) release(root, version string, all []*releasable) error {
	for _, other := range m.own(all) {
		if err := m.file.AddRequire(other.path(), version); err != nil {
			return err
		}
		if err := m.file.DropReplace(other.path(), ""); err != nil {
			return err
		}
	}
	m.file.Cleanup()
	if n := len(m.file.Replace); n > 0 {
		return fmt.Errorf("%s/go.mod replaces %s, which a user's build does not", m.dir, m.file.Replace[0].Old.Path)
	}
	data, err := m.file.Format()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, m.dir, "go.mod"), data, 0o644)
}

// publish writes the module to a directory in the format of a module proxy.
func (m *releasable) publish(root, proxy, version string) error {
	escaped, err := module.EscapePath(m.path())
	if err != nil {
		return err
	}
	to := filepath.Join(proxy, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	mod, err := os.ReadFile(filepath.Join(root, m.dir, "go.mod"))
	if err != nil {
		return err
	}
	info, err := json.Marshal(struct{ Version string }{version})
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{"list": []byte(version + "\n"), version + ".mod": mod, version + ".info": info} {
		if err := os.WriteFile(filepath.Join(to, name), data, 0o644); err != nil {
			return err
		}
	}
	archive, err := os.Create(filepath.Join(to, version+".zip"))
	if err != nil {
		return err
	}
	return errors.Join(
		zip.CreateFromDir(archive, module.Version{Path: m.path(), Version: version}, filepath.Join(root, m.dir)),
		archive.Close())
}
