// These tests compare the pages with the programs that they describe.
package examples_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

func TestMain(m *testing.M) { os.Exit(modtest.Main(m)) }

const root = ".."

// files returns the files of the project with one of the endings, by name.
func files(t *testing.T, endings ...string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == ".git") {
			return filepath.SkipDir
		}
		if slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(path, e) }) {
			b, err := os.ReadFile(path)
			all[filepath.ToSlash(strings.TrimPrefix(path, root+string(filepath.Separator)))] = string(b)
			return err
		}
		return nil
	}))
	require.NotEmpty(t, all)
	return all
}

// found returns the first group of each match.
func found(pattern, text string) (all []string) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// help returns what -h says for each server of the root module, and the flags of each
// example: those of examples/cluster, a module of its own, are read from its source.
func help(t *testing.T) (texts map[string]string, flags map[string][]string) {
	t.Helper()
	texts, flags = map[string]string{}, map[string][]string{}
	for _, name := range []string{"proxy", "registry", "gateway"} {
		bin := filepath.Join(t.TempDir(), name)
		out, err := exec.Command("go", "build", "-o", bin, "./"+name).CombinedOutput()
		require.NoError(t, err, string(out))
		out, _ = exec.Command(bin, "-h").CombinedOutput() // -h is an error
		texts[name] = string(out)
		flags[name] = found(`(?m)^  -([a-z-]+)`, texts[name])
		require.NotEmpty(t, flags[name], name)
	}
	for name, text := range files(t, ".go") {
		for folder, example := range map[string]string{"store/": "store", "internal/storetool/": "store", "publish/": "publish"} {
			if strings.HasPrefix(name, "examples/"+folder) && !strings.HasSuffix(name, "_test.go") {
				flags[example] = append(flags[example], found(`(?:String|Int|Int64|Bool|Duration|Func|Var)\((?:&[\w.]+, )?"([a-z-]+)"`, text)...)
			}
		}
		if dir, ok := strings.CutPrefix(name, "examples/cluster/"); ok && !strings.HasSuffix(name, "_test.go") {
			example, _, nested := strings.Cut(dir, "/")
			if !nested {
				example = "cluster"
			} else {
				example = "cluster/" + example
			}
			flags[example] = append(flags[example], found(`(?:String|Int|Int64|Bool|Duration|Var)\((?:&[\w.]+, )?"([a-z-]+)"`, text)...)
		}
	}
	// The replica shares the other servers' flags.
	flags["cluster/replica"] = append(flags["cluster/replica"], flags["proxy"]...)
	return texts, flags
}

// The table of a server's page has the flags that -h shows and no others, with their defaults.
// A command that starts an example gives it flags that it has, and a flag in the text is a flag
// of some example.
func TestFlagsOnPages(t *testing.T) {
	texts, flags := help(t)
	t.Run("tables", func(t *testing.T) {
		for _, name := range []string{"proxy", "registry"} {
			page, err := os.ReadFile(filepath.Join(root, "docs", name+".md"))
			require.NoError(t, err)
			assert.ElementsMatch(t, flags[name], found("(?m)^\\| `-([a-z-]+)` \\|", string(page)), "docs/%s.md", name)
		}
	})
	t.Run("operations", func(t *testing.T) { checkOperations(t, texts, flags) })
	t.Run("defaults", func(t *testing.T) { checkDefaults(t, texts) })
	t.Run("names", func(t *testing.T) { checkFlags(t, flags) })
}

// checkOperations compares the table of all servers' flags with what they say themselves.
func checkOperations(t *testing.T, texts map[string]string, flags map[string][]string) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
	require.NoError(t, err)
	_, section, _ := strings.Cut(string(page), "\n## Every flag and its bound\n")
	section, _, _ = strings.Cut(section, "\n## ")
	listed := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `-([a-z-]+)` \\| ([^|]+) \\| ([^|]*) \\| ([^|]+) \\|$").FindAllStringSubmatch(section, -1) {
		name, servers, def := row[1], row[2], row[3]
		assert.False(t, listed[name], "-%s is there twice", name)
		listed[name] = true
		for server, text := range texts {
			has := servers == "all" || slices.Contains(strings.Split(servers, ", "), server)
			assert.Equal(t, slices.Contains(flags[server], name), has, "%s -%s", server, name)
			_, about, _ := strings.Cut(text, "\n  -"+name+" ")
			about, _, _ = strings.Cut(about, "\n  -")
			for _, value := range found(`\(default "?([^")]+)"?\)`, about) {
				assert.Contains(t, def, "`"+value+"`", "%s: the default of -%s", server, name)
			}
		}
		if servers == "all" || strings.Contains(servers, "replica") { // its source shares those of a registry's ledger
			assert.Contains(t, slices.Concat(flags["cluster/replica"], flags["registry"]), name)
		}
	}
	for _, server := range []string{"proxy", "registry", "gateway", "cluster/replica"} {
		for _, name := range flags[server] {
			assert.True(t, listed[name], "docs/operations.md lacks -%s of %s", name, server)
		}
	}
}

func checkDefaults(t *testing.T, texts map[string]string) {
	for name, text := range texts {
		page, err := os.ReadFile(filepath.Join(root, "docs", name+".md"))
		if os.IsNotExist(err) {
			continue
		}
		require.NoError(t, err)
		row := regexp.MustCompile("(?m)^\\| `-([a-z-]+)` \\| ([^|]*) \\|")
		for _, cells := range row.FindAllStringSubmatch(string(page), -1) {
			_, about, _ := strings.Cut(text, "\n  -"+cells[1]+" ")
			about, _, _ = strings.Cut(about, "\n  -")
			for _, def := range found(`\(default "?([^")]+)"?\)`, about) {
				assert.Equal(t, "`"+def+"`", cells[2], "docs/%s.md: the default of -%s", name, cells[1])
			}
		}
	}
}

func checkFlags(t *testing.T, flags map[string][]string) {
	var all []string
	for _, names := range flags {
		all = append(all, names...)
	}
	command := regexp.MustCompile(`go run \./examples/([a-z/]+)([^\n#` + "`" + `]*)`)
	n := 0
	for name, text := range files(t, ".md") {
		for _, m := range command.FindAllStringSubmatch(text, -1) {
			n++
			known := flags[m[1]]
			require.NotEmpty(t, known, "%s: there is no program examples/%s", name, m[1])
			for _, flag := range found(` -([a-z][a-z-]*)`, m[2]) {
				assert.Contains(t, known, flag, "%s: %s", name, m[0])
			}
		}
		if !strings.HasPrefix(name, "bench/") && name != "docs/performance.md" && name != "CONTRIBUTING.md" {
			for _, flag := range found("`-([a-z][a-z-]+)[ `]", text) {
				assert.Contains(t, all, flag, "%s: no example has the flag -%s", name, flag)
			}
		}
	}
	assert.NotZero(t, n)
}

// A test, a make target and a step of CI that a page names exist.
func TestCommandsOnPagesExist(t *testing.T) {
	var tests, targets, steps []string
	for name, text := range files(t, "_test.go", "Makefile", filepath.Join(".ci", "run")) {
		switch {
		case strings.HasSuffix(name, ".go"):
			tests = append(tests, found(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`, text)...)
		case name == "Makefile":
			targets = append(targets, found(`(?m)^([a-z]+):`, text)...)
		case name == ".ci/run":
			steps = append(steps, found(`(?m)^([a-z]+)\(\)`, text)...)
		}
	}
	for name, text := range files(t, ".md") {
		for _, test := range found("`((?:Test|Fuzz|Benchmark)[A-Z]\\w*)`", text) {
			assert.Contains(t, tests, test, name)
		}
		for _, run := range found(`go test [^`+"`"+`\n]*-(?:run|bench|fuzz)[ =]'?([^ '`+"`"+`\n]+)`, text) {
			run, _, _ = strings.Cut(run, "/") // what follows is about subtests
			pattern, err := regexp.Compile(run)
			require.NoError(t, err, "%s: %s", name, run)
			assert.True(t, slices.ContainsFunc(tests, pattern.MatchString), "%s: no test matches %s", name, run)
		}
		for _, target := range found("(?m)(?:^|`)make ([a-z]+)", text) {
			assert.Contains(t, targets, target, "%s: make", name)
		}
		for _, step := range found(`\.ci/run ([a-z]+)`, text) {
			assert.Contains(t, steps, step, "%s: .ci/run", name)
		}
	}
}

// An option that a page names is a field of such an Options struct.
func TestOptionsOnPagesExist(t *testing.T) {
	fields := map[string][]string{} // by package
	for name, text := range files(t, ".go") {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != "Options" {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range s.Fields.List {
					for _, id := range field.Names {
						fields[f.Name.Name] = append(fields[f.Name.Name], id.Name)
						fields[""] = append(fields[""], id.Name)
					}
				}
			}
			return true
		})
	}
	n := 0
	for name, text := range files(t, ".md") {
		for _, m := range regexp.MustCompile(`\b(?:(\w+)\.)?Options\.([A-Z]\w+)`).FindAllStringSubmatch(text, -1) {
			n++
			pkg := m[1]
			if pkg == "queue" { // as examples/cluster imports it
				pkg = "nats"
			}
			assert.Contains(t, fields[pkg], m[2], "%s: %s", name, m[0])
		}
	}
	for _, column := range found("(?m)^\\|.*\\| ((?:`\\w+`(?:, )?)+) \\|$", files(t, "access.md")["docs/access.md"]) {
		for _, field := range found("`(\\w+)`", column) {
			assert.Contains(t, fields["fetcher"], field, "docs/access.md")
		}
	}
	assert.NotZero(t, n)
}
