package house_test

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// docs/reliability.md names the test that tries each promise. A test that was
// renamed or removed would leave a promise with nothing behind it.
func TestReliabilityNamesTests(t *testing.T) {
	tests := map[string]bool{}
	for _, f := range sources(t) {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.test && fn.Recv == nil {
				tests[fn.Name.Name] = true
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "reliability.md"))
	require.NoError(t, err)
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`").FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, named)
	for _, name := range named {
		if !tests[name[1]] {
			t.Errorf("docs/reliability.md: there is no test %s", name[1])
		}
	}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) == 5 && !strings.Contains(line, "---") && !strings.Contains(line, "tried by") &&
			!strings.Contains(cells[2], "`Test") && !strings.Contains(cells[2], "`Fuzz") && !strings.Contains(cells[2], "no test") {
			t.Errorf("docs/reliability.md: no test and not said so: %s", line)
		}
	}
}
