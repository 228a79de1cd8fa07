package pattern

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/mod/module"
)

var (
	someGlobs = []string{
		"corp.test", "corp.test/a", "*.corp.test", "*.corp.test/team", "*", "*.test/a/b", "*p.test", "corp.*", "corp.test/*/x",
		"c?rp.test", "[a-d]orp.test", "[^C]orp.test", `\*.test`, "Corp.test/A", "*.Corp.test", "corp.tést", "*.corp.test/*",
		strings.Repeat("long/", 60) + "x",
	}
	somePaths = []string{
		"", "corp.test", "Corp.test", "CORP.test/A", "corp.test/a", "corp.test/a/x", "corp.test/b/x", "a.corp.test", "a.corp.test/team/m",
		"a.b.corp.test/team", "corp.test.evil", "acorp.test", "xcorp.test/a", "b.test/a/b/c", "b.test/a", "*.test", "corp.tést/x", "/corp.test",
		"corp.test/", strings.Repeat("long/", 60) + "x/y", strings.Repeat("long/", 60) + "z",
	}
)

// What an Index does for speed matches what the go command does.
func TestIndexMatchesAsTheGoCommandDoes(t *testing.T) {
	for _, glob := range someGlobs {
		var x Index
		x.Add(3, []string{glob})
		for _, path := range somePaths {
			want := None
			if module.MatchPrefixPatterns(glob, path) {
				want = 3
			}
			assert.Equal(t, want, x.Last(path), "%s of %s", path, glob)
			assert.Equal(t, want == 3, len(x.All(nil, path)) > 0, "%s of %s", path, glob)
		}
	}
}

// An AnyCase matches what an Index does, in any spelling.
func TestAnyCaseMatchesInAnyCase(t *testing.T) {
	for _, glob := range someGlobs {
		var any AnyCase
		any.Add(3, []string{glob})
		cloned := any.Clone()
		for _, path := range somePaths {
			switch {
			case module.MatchPrefixPatterns(glob, path), !strings.Contains(glob, "[") && module.MatchPrefixPatterns(strings.ToLower(glob), strings.ToLower(path)):
				assert.Equal(t, 3, any.Last(path), "%s of %s", path, glob)
			case !strings.Contains(glob, "["):
				assert.Equal(t, None, any.Last(path), "%s of %s", path, glob)
			}
			assert.Equal(t, any.Last(path), cloned.Last(path))
		}
	}
}
