package tools

import (
	"path"
	"slices"
	"testing"

	"gopkg.in/yaml.v3"
)

// TestDependabotSeesEveryManifest finds the folder of every manifest in
// .github/dependabot.yml, and no other folder.
func TestDependabotSeesEveryManifest(t *testing.T) {
	var config struct {
		Updates []struct {
			Ecosystem   string `yaml:"package-ecosystem"`
			Directory   string
			Directories []string
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, ".github/dependabot.yml")), &config); err != nil {
		t.Fatal(err)
	}
	listed := map[string][]string{}
	for _, u := range config.Updates {
		folders := u.Directories
		if u.Directory != "" {
			folders = append(folders, u.Directory)
		}
		listed[u.Ecosystem] = append(listed[u.Ecosystem], folders...)
	}
	for ecosystem, manifest := range map[string]string{
		"gomod": "go.mod", "npm": "package.json", "pip": "requirements.txt", "cargo": "Cargo.toml",
	} {
		var there []string
		for _, name := range files(t, manifest) {
			if path.Base(name) == manifest {
				there = append(there, path.Join("/", path.Dir(name)))
			}
		}
		slices.Sort(there)
		slices.Sort(listed[ecosystem])
		if !slices.Equal(there, listed[ecosystem]) {
			t.Errorf("%s: listed %q, there are %q", ecosystem, listed[ecosystem], there)
		}
	}
}
