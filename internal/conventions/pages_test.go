package conventions_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pages returns the text of every Markdown file, by its name.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	walk(t, func(name string) {
		if path.Ext(name) == ".md" && !strings.Contains("/"+name, "/testdata/") {
			all[name] = read(t, name)
		}
	})
	require.NotEmpty(t, all)
	return all
}

func read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	require.NoError(t, err)
	return string(content)
}

// anchors returns what links into a page may name: its headings as GitHub spells them.
func anchors(page string) []string {
	var all []string
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		all = append(all, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, heading[1]))
	}
	return all
}

// A link to another page, or into one, leads somewhere.
func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	all := pages(t)
	for name, text := range all {
		for _, found := range link.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(found[1], "#")
			if strings.Contains(target, ":") {
				continue // another site's
			}
			file := name
			if target != "" {
				file = path.Join(path.Dir(name), target)
				if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(file))); err != nil {
					t.Errorf("%s links to %s, which does not exist", name, found[1])
					continue
				}
			}
			if anchor != "" && !slices.Contains(anchors(all[file]), anchor) {
				t.Errorf("%s links to %s, which has no such heading", name, found[1])
			}
		}
	}
}

// The tables of docs/architecture.md name every package, and none that is gone.
func TestMapIsComplete(t *testing.T) {
	page := read(t, "docs/architecture.md")
	dirs := packages(t)
	for dir := range dirs {
		if dir == "." || strings.HasPrefix(dir, "examples/") || strings.Count(dir, "/") > 1 && !strings.Contains(dir, "/internal/") {
			continue // examples have a row together
		}
		if !strings.Contains(page, "`"+dir+"`") && !strings.Contains(page, "`"+dir+"/`") {
			t.Errorf("docs/architecture.md does not name the package %s", dir)
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z0-9/]+)` \\|").FindAllStringSubmatch(page, -1) {
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(row[1]))); err != nil {
			t.Errorf("docs/architecture.md names %s, which does not exist", row[1])
		}
	}
}

// Go code on a page is code that is compiled: each of its lines is in a Go file.
func TestSnippetsAreCompiled(t *testing.T) {
	lines := map[string]bool{}
	walk(t, func(name string) {
		if path.Ext(name) == ".go" {
			for line := range strings.Lines(read(t, name)) {
				lines[bare(line)] = true
			}
		}
	})
	for name, text := range pages(t) {
		for _, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(text, -1) {
			for line := range strings.Lines(block[1]) {
				if line = bare(line); line != "" && !lines[line] {
					t.Errorf("%s has Go code that is in no Go file: %s", name, line)
				}
			}
		}
	}
}

// bare is a line of Go without its indentation and comment.
func bare(line string) string {
	code, _, _ := strings.Cut(strings.TrimSpace(line), "// ")
	return strings.TrimSpace(code)
}

// An action is pinned by its commit, since a tag can be moved.
func TestActionsArePinned(t *testing.T) {
	n := 0
	walk(t, func(name string) {
		if !strings.HasPrefix(name, ".github/workflows/") {
			return
		}
		for _, uses := range regexp.MustCompile(`uses: *(.*)`).FindAllStringSubmatch(read(t, name), -1) {
			n++
			assert.Regexp(t, `^[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`, uses[1], name)
		}
	})
	assert.NotZero(t, n)
}

// Every module gets updates.
func TestDependabotKnowsEveryModule(t *testing.T) {
	config := read(t, ".github/dependabot.yml")
	walk(t, func(name string) {
		if path.Base(name) == "go.mod" && !strings.Contains("/"+name, "/testdata/") {
			dir := "/" + strings.TrimSuffix(path.Dir(name), ".")
			assert.Contains(t, config, "directory: "+dir+"\n", name)
		}
	})
}
