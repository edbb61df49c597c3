package tools

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// A section of a Markdown file begins with a heading and ends before the next one.
type section struct {
	heading string // as it is written, "" before the first heading
	level   int    // 1 for a title, 0 before the first heading
	anchor  string // what a link names, as GitHub makes it
	text    string // without code blocks
	code    string // the code blocks
}

var (
	fence   = regexp.MustCompile("^\\s*(```|~~~)")
	heading = regexp.MustCompile(`^(#{1,6}) +(.+?) *#*$`)
	// A link or an image, its target in the first group. Titles are not used.
	link = regexp.MustCompile(`\]\(<?([^)\s>]+)>?\)`)
	// A link's definition, and what HTML links with.
	definition = regexp.MustCompile(`(?m)^\[[^\]]+\]: *(\S+)|(?:src|href)="([^"]+)"`)
	inlineCode = regexp.MustCompile("`[^`\n]+`")
)

// sections splits the text of a Markdown file. Code blocks are fenced, or indented
// by four spaces after an empty line.
func sections(text string) []section {
	all := []section{{}}
	seen := map[string]int{}
	var fenced, indented bool
	blank := true
	for line := range strings.Lines(text) {
		s := &all[len(all)-1]
		if fence.MatchString(line) {
			fenced = !fenced
			s.code += "\n"
			continue
		}
		isBlank := strings.TrimSpace(line) == ""
		if !fenced {
			indented = strings.HasPrefix(line, "    ") && (blank || indented) || isBlank && indented
		}
		blank = isBlank
		if fenced || indented {
			s.code += line
			continue
		}
		if found := heading.FindStringSubmatch(strings.TrimRight(line, "\r\n")); found != nil {
			anchor := slug(found[2])
			n := seen[anchor]
			seen[anchor]++
			if n > 0 {
				anchor = fmt.Sprintf("%s-%d", anchor, n)
			}
			all = append(all, section{heading: found[2], level: len(found[1]), anchor: anchor})
			continue
		}
		s.text += line
	}
	return all
}

// slug returns the anchor that GitHub gives a heading.
func slug(heading string) string {
	heading = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(heading, "$1")
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			return unicode.ToLower(r)
		case r == ' ':
			return '-'
		}
		return -1
	}, heading)
}

// links returns the targets of the links in the text of a section.
func (s section) links() []string {
	prose := inlineCode.ReplaceAllString(s.text, "`x`")
	var targets []string
	for _, found := range link.FindAllStringSubmatch(prose, -1) {
		targets = append(targets, found[1])
	}
	for _, found := range definition.FindAllStringSubmatch(prose, -1) {
		targets = append(targets, found[1]+found[2])
	}
	return targets
}

// resolve returns the file, relative to the repository, and the anchor that a link
// in a file names. It reports false for links that leave the repository.
func resolve(from, target string) (file, anchor string, inside bool) {
	const here = "https://github.com/ea947076/checkpointstore/"
	if rest, found := strings.CutPrefix(target, here); found {
		_, rest, found = strings.Cut(rest, "/main/") // after blob, tree or raw
		if !found {
			return "", "", false
		}
		file, anchor, _ = strings.Cut(rest, "#")
		return path.Clean(file), anchor, true
	}
	if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
		return "", "", false
	}
	file, anchor, _ = strings.Cut(target, "#")
	if file == "" {
		return from, anchor, true
	}
	return path.Join(path.Dir(from), file), anchor, true
}

// brokenLink says what is wrong with a link in a file, or "".
func brokenLink(t *testing.T, from, target string) string {
	t.Helper()
	file, anchor, inside := resolve(from, target)
	if !inside {
		return ""
	}
	if _, err := os.Stat(filepath.Join(repository(t), filepath.FromSlash(file))); err != nil {
		return "no such file"
	}
	if anchor == "" || !strings.HasSuffix(file, ".md") {
		return ""
	}
	for _, s := range sections(read(t, file)) {
		if s.anchor == anchor {
			return ""
		}
	}
	return "no such heading"
}

// TestLinksResolve follows every link of every Markdown file that stays inside the
// repository, to a heading too.
func TestLinksResolve(t *testing.T) {
	followed := 0
	for _, name := range files(t, ".md") {
		for _, s := range sections(read(t, name)) {
			for _, target := range s.links() {
				if _, _, inside := resolve(name, target); inside {
					followed++
				}
				if broken := brokenLink(t, name, target); broken != "" {
					t.Errorf("%s, section %q: %s: %s", name, s.heading, target, broken)
				}
			}
		}
	}
	if followed < 20 {
		t.Errorf("followed %d links", followed)
	}
}

func TestBrokenLinks(t *testing.T) {
	for target, want := range map[string]string{
		"README.md":               "",
		"README.md#install":       "",
		"#storage-format":         "",
		"docs":                    "",
		"https://example.com/x#y": "",
		"https://github.com/ea947076/checkpointstore/issues":                      "",
		"https://github.com/ea947076/checkpointstore/blob/main/README.md#install": "",
		"https://github.com/ea947076/checkpointstore/blob/main/absent.md":         "no such file",
		"absent.md":           "no such file",
		"docs/../absent/":     "no such file",
		"README.md#absent":    "no such heading",
		"#Install":            "no such heading",
		"SECURITY.md#install": "no such heading",
	} {
		if got := brokenLink(t, "README.md", target); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
	text := "# A\n[b](c.md) `[not](a-link)` [d]\n\n    [nor](this)\n\n[d]: e.md\n```\n[or](that)\n```\n## B `c`, *d*\n## A\n"
	all := sections(text)
	if got := strings.Join(all[1].links(), " "); got != "c.md e.md" {
		t.Errorf("links %q", got)
	}
	if len(all) != 4 || all[2].anchor != "b-c-d" || all[3].anchor != "a-1" {
		t.Errorf("sections %+v", all)
	}
}

// figure finds what reads like a measurement: a ratio, a count of duplicates or
// allocations, a size that was used, a duration with a fraction or in units that
// nobody sets, or any duration that something "took" or "takes". Other durations
// and sizes are taken for settings.
var figure = regexp.MustCompile(`\b\d[\d,.]*\s?(?:ns|µs|×|MB|KiB|times (?:less|fewer|more|faster|as|that|those|the)|duplicates|allocations)\b|` +
	`\b\d[\d,.]*\s?×|\b\d+\.\d+\s?(?:ms|s)\b|` +
	`\b(?:took|takes?|taking)\s(?:about\s|at most\s)?\d[\d,.]*\s(?:ms|s|seconds|minutes)\b`)

// command finds what a reader can type to measure again.
var command = regexp.MustCompile(`\bgo (?:-C \S+ )?(?:run|test|build)\b|\bmake [a-z]|\.ci/run\b`)

// unmeasured returns the anchors of the sections with a figure for which nothing says
// how to measure it, each with the figure: there is no command in the section, in one
// that it is part of (the title's apart), or where a link in it leads.
func unmeasured(t *testing.T, name, text string) map[string]string {
	t.Helper()
	found := map[string]string{}
	var above []section // the sections that this one is part of, and itself
	for _, s := range sections(text) {
		for len(above) > 0 && above[len(above)-1].level >= s.level {
			above = above[:len(above)-1]
		}
		above = append(above, s)
		first := figure.FindString(inlineCode.ReplaceAllString(s.text, "`x`"))
		told := func(part section) bool { return part.level > 1 && part.tellsHow(t, name) }
		if first != "" && !s.tellsHow(t, name) && !slices.ContainsFunc(above, told) {
			found[s.anchor] = strings.TrimSpace(first)
		}
	}
	return found
}

// tellsHow reports whether a section has a command, or a link to a section with one or
// to another document with one.
func (s section) tellsHow(t *testing.T, name string) bool {
	t.Helper()
	if command.MatchString(s.text + s.code) {
		return true
	}
	for _, target := range s.links() {
		file, anchor, inside := resolve(name, target)
		if !inside || !strings.HasSuffix(file, ".md") || file == name && anchor == "" {
			continue
		}
		for _, other := range sections(read(t, file)) {
			if (anchor == "" || other.anchor == anchor) && command.MatchString(other.text+other.code) {
				return true
			}
		}
	}
	return false
}

// TestFiguresNameTheirCommand: who reads a measured figure in a document finds the
// command that measures it.
func TestFiguresNameTheirCommand(t *testing.T) {
	for _, name := range files(t, ".md") {
		for anchor, figure := range unmeasured(t, name, read(t, name)) {
			t.Errorf("%s#%s has a figure, %q, but neither a command that measures it nor a link to one", name, anchor, figure)
		}
	}
}

func TestUnmeasuredFigures(t *testing.T) {
	for text, unmeasuredText := range map[string]bool{
		"claims took 54 ms":         true,
		"a claim takes 2 seconds":   true,
		"26 times less than before": true,
		"| 150 × |":                 true,
		"175 duplicates":            true,
		"1.4 s":                     true,
		"8 µs":                      true,
		"claims took 54 ms, by `go test -bench .`":               false,
		"claims took 54 ms:\n\n    go test -bench .\n":           false,
		"claims took 54 ms:\n```\nmake bench\n```\n":             false,
		"claims took 54 ms, see [it](docs/performance.md)":       false,
		"claims took 54 ms, see [it](docs/claims.svg)":           true,
		"claims took 54 ms, see [above](#use)":                   true,
		"at most 5 times, 3 retries from 200 ms on, each of 7 s": false,
		"`1.4 s`":                              false,
		"2 owners\n### C\n175 duplicates\n":    true,
		"`go test .`\n### C\n175 duplicates\n": false,
		"`go test .`\n## C\n175 duplicates\n":  true,
		"none\n## C\n`go test .`\n# D\n8 µs\n": true,
	} {
		if got := unmeasured(t, "README.md", "# A\n`go run .`\n## B\n"+text); (len(got) > 0) != unmeasuredText {
			t.Errorf("%q: unmeasured %v", text, got)
		}
	}
}
