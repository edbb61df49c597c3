// Command release prepares and checks a release of the modules of this repository.
//
//	go -C internal/tools run ./release check
//	go -C internal/tools run ./release prepare processor v0.2.0
//
// check publishes a copy of the tree to a module proxy in a temporary directory, as
// the version that the nested modules require, and builds a program that imports
// every package and installs every command, as users do. It changes nothing here.
//
// prepare makes the go.mod and go.sum of a nested module ready for its tag: without
// replace, with the version as that of the modules it requires. Those must have been
// published. See docs/releasing.md.
package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("release: ")
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		log.Fatal(err)
	}
	if err := run(root, os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(root string, args []string) error {
	modules, err := findModules(root)
	if err != nil {
		return err
	}
	switch {
	case len(args) == 1 && args[0] == "check":
		return check(root, modules)
	case len(args) == 3 && args[0] == "prepare":
		return prepare(root, modules, args[1], args[2])
	}
	return errors.New("usage: release check | release prepare directory version")
}

func prepare(root string, modules []*releasable, dir, version string) error {
	for _, m := range modules {
		if m.dir == dir {
			if err := m.release(root, version, modules); err != nil {
				return err
			}
			return command(filepath.Join(root, dir), nil, "go", "mod", "tidy")
		}
	}
	return fmt.Errorf("%s is no module that is released", dir)
}

// check publishes the modules and builds what users build of them.
func check(root string, modules []*releasable) error {
	version, err := requiredVersion(modules)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "release")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	tree := filepath.Join(scratch, "tree")
	if err := copyTree(root, tree); err != nil {
		return err
	}
	proxy := filepath.Join(scratch, "proxy")
	environment, err := userEnvironment(scratch, proxy)
	if err != nil {
		return err
	}
	for _, m := range modules {
		fmt.Println(m.tag(version))
		if err := m.release(tree, version, modules); err != nil {
			return err
		}
		if err := command(filepath.Join(tree, m.dir), environment, "go", "mod", "tidy"); err != nil {
			return err
		}
		if err := m.publish(tree, proxy, version); err != nil {
			return err
		}
	}
	return buildAsUser(filepath.Join(scratch, "user"), environment, version, modules)
}

// userEnvironment is that of a user whose proxy has the release, and who has the
// other modules of this machine's cache; the network is asked for what is missing.
func userEnvironment(scratch, proxy string) ([]string, error) {
	output, err := exec.Command("go", "env", "GOMODCACHE", "GOPROXY").Output()
	if err != nil {
		return nil, err
	}
	cache, proxies, _ := strings.Cut(strings.TrimSpace(string(output)), "\n")
	return append(os.Environ(),
		"GOPROXY=file://"+filepath.ToSlash(proxy)+",file://"+filepath.ToSlash(filepath.Join(cache, "cache", "download"))+","+proxies,
		"GOMODCACHE="+filepath.Join(scratch, "cache"), // the real one must never see this version
		"GOBIN="+filepath.Join(scratch, "bin"),
		"GOFLAGS=-mod=mod -modcacherw -trimpath", // with -trimpath the build cache serves the next check
		"GOSUMDB=off", "GONOPROXY=none", "GOPRIVATE=", "GOWORK=off"), nil
}

func buildAsUser(dir string, environment []string, version string, modules []*releasable) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	get := []string{"get"}
	program := "package main\n\n"
	var install []string
	for _, m := range modules {
		get = append(get, m.path()+"@"+version)
		for _, p := range m.libraries {
			program += fmt.Sprintf("import _ %q\n", p)
		}
		for _, p := range m.commands {
			install = append(install, p+"@"+version)
		}
	}
	program += "\nfunc main() {}\n"
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{{"mod", "init", "example.com/user"}, get, {"build", "-o", os.DevNull, "."}} {
		if err := command(dir, environment, "go", args...); err != nil {
			return err
		}
	}
	for _, p := range install {
		fmt.Println("go install", p)
		if err := command(dir, environment, "go", "install", p); err != nil {
			return err
		}
	}
	return nil
}

// command runs a command, whose output is part of the error only.
func command(dir string, environment []string, name string, args ...string) error {
	c := exec.Command(name, args...)
	c.Dir, c.Env = dir, environment
	if output, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s in %s: %w\n%s", name, strings.Join(args, " "), dir, err, output)
	}
	return nil
}

// copyTree copies the files that git knows, or would add.
func copyTree(from, to string) error {
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = from
	output, err := list.Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(output), "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, not yet committed
		}
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
