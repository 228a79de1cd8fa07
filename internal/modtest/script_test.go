package modtest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSplitWords(t *testing.T) {
	for line, want := range map[string][]string{
		"":                            nil,
		"  commit\tx  y\r":            {"commit", "x", "y"},
		`write a "b c\r\n" 'd "e" f'`: {"write", "a", "b c\r\n", `d "e" f`},
		`x ""`:                        {"x", ""},
	} {
		words, err := splitWords(line)
		require.NoError(t, err)
		assert.Equal(t, want, words)
	}
	for _, line := range []string{`a "b`, `a 'b`, `"\q"`} {
		_, err := splitWords(line)
		assert.Error(t, err, line)
	}
}

func FuzzParseScript(f *testing.F) {
	for _, name := range ReadyNames() {
		script, err := ready.ReadFile("testdata/repos/" + name + ".txt")
		require.NoError(f, err)
		f.Add(string(script))
	}
	f.Add("-- --")
	f.Add("# a\n'b' \"c\\n\"\n-- x/y --\nz")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseScript("fuzz", text)
		if err != nil {
			return
		}
		for _, line := range s.lines {
			if len(line.words) == 0 || line.number > strings.Count(text, "\n")+1 {
				t.Errorf("line %+v of %q", line, text)
			}
		}
	})
}

func TestScriptErrors(t *testing.T) {
	tests := map[string]string{
		"repo x.test/x\nfrobnicate":            "bad:2: frobnicate: unknown command",
		"repo":                                 "bad:1: repo: wrong number of words",
		"tag -a v1":                            "bad:1: tag: wrong number of words",
		"commit yesterday x":                   "bad:1: commit: parsing time",
		"write ../x y":                         `bad:1: write: "../x" leaves the work tree`,
		"symlink x /y":                         `bad:1: symlink: "/y" leaves the work tree`,
		"chmod +x ../y":                        `bad:1: chmod: "../y" leaves the work tree`,
		"rm ..":                                `bad:1: rm: ".." leaves the work tree`,
		"files a":                              "bad:1: files: the archive has no file below a/",
		"files a\n-- a/../../x --":             `bad:1: files: "../../x" leaves the work tree`,
		"# nothing\n-- a/b --\n":               "bad: no files command uses a/b",
		"checkout nowhere":                     "bad:1: checkout: git checkout",
		"commit 2020-01-01T00:00:00Z x\ngit x": "bad:2: git: git x",
	}
	for text, want := range tests {
		r := &Repo{t: t, name: "bad", date: time.Unix(0, 0)}
		r.place(t.TempDir())
		require.NoError(t, r.create())
		s, err := parseScript("bad", text)
		require.NoError(t, err)
		assert.ErrorContains(t, r.run(s), want)
	}
	_, err := parseScript("bad", "# x\nrepo 'x")
	assert.EqualError(t, err, "bad:2: no closing quote at 'x")
}

func TestMatch(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "a.test/x", true},
		{"a.test", "a.test", true},
		{"a.test", "a.test/x/y", true},
		{"a.test/x", "a.test/xy", false},
		{"a.test", "a.test:443", false},
		{"a.test*", "a.test:443", true},
		{"*.zip", "m/@v/v1.0.0.zip", true},
		{"m/@v/*.zip", "m/@v/v1.0.0.mod", false},
		{"aba*aba", "aba", false},
	} {
		assert.Equal(t, test.want, match(test.pattern, test.name), "%+v", test)
	}
}
