package conventions_test

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// SECURITY.md and docs/reliability.md name the tests that try each promise. One that was
// renamed or removed would leave a promise with nothing behind it.
func TestPromisesNameTests(t *testing.T) {
	tests := map[string]bool{}
	for _, f := range sources(t) {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.test && fn.Recv == nil {
				tests[fn.Name.Name] = true
			}
		}
	}
	var text []byte
	for _, file := range []string{"SECURITY.md", "docs/reliability.md"} {
		var err error
		text, err = os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
		require.NoError(t, err)
		named := regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`").FindAllStringSubmatch(string(text), -1)
		require.NotEmpty(t, named)
		for _, name := range named {
			if !tests[name[1]] {
				t.Errorf("%s: there is no test %s", file, name[1])
			}
		}
	}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) == 5 && !strings.Contains(line, "---") && !strings.Contains(line, "tried by") &&
			!strings.Contains(cells[2], "`Test") && !strings.Contains(cells[2], "`Fuzz") && !strings.Contains(cells[2], "no test") {
			t.Errorf("docs/reliability.md: no test and not said so: %s", line)
		}
	}
}

// The packages whose tests run on Windows are listed by name, and only there would a wrong
// one be noticed.
func TestPortablePackagesExist(t *testing.T) {
	script, err := os.ReadFile(filepath.Join(root, ".ci", "run"))
	require.NoError(t, err)
	list := regexp.MustCompile(`\./internal/\{([a-z,]+)\}/`).FindSubmatch(script)
	require.NotNil(t, list)
	for name := range strings.SplitSeq(string(list[1]), ",") {
		require.DirExists(t, filepath.Join(root, "internal", name), ".ci/run, portable")
	}
}

// The code of docs/write-a-backend.md is that of the example, which is compiled and
// passes the kit.
func TestWalkThroughIsCompiled(t *testing.T) {
	var code []byte
	for _, name := range []string{"backend.go", "backend_test.go"} {
		b, err := os.ReadFile(filepath.Join(root, "examples", "backend", name))
		require.NoError(t, err)
		code = append(code, b...)
	}
	doc, err := os.ReadFile(filepath.Join(root, "docs", "write-a-backend.md"))
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(doc), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		if !strings.Contains(string(code), block[1]) {
			t.Errorf("docs/write-a-backend.md has code that examples/backend has not:\n%s", block[1])
		}
	}
}
