package rules_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/redirect/rules"
)

// route is what rules say of m.
func route(r *rules.Rules, m module.Version) athens.Route {
	said, _ := r.Route(context.Background(), m) // its error is always nil
	return said
}

func parse(t testing.TB, text string) *rules.Rules {
	r, err := rules.Parse("/etc/athens/rules.txt", strings.NewReader(text))
	require.NoError(t, err)
	return r
}

func TestPrivate(t *testing.T) {
	r := parse(t, `
# ours
private corp.test,git.test/Team/*/
private *.inner.test
public  corp.test/open
private corp.test/open/secret
public  pub.test
`)
	for path, want := range map[string]bool{
		"corp.test":               true,
		"corp.test/a":             true,
		"corp.test/a/b/v2":        true,
		"corp.testing/a":          false,
		"a.corp.test":             false,
		"git.test/Team/a":         true,
		"git.test/Team/a/b":       true,
		"git.test/Team":           false,
		"git.test/other/a":        false,
		"a.inner.test/x":          true,
		"inner.test/x":            false,
		"corp.test/open":          false,
		"corp.test/open/x":        false,
		"corp.test/open/secret":   true,
		"corp.test/open/secret/x": true,
		"corp.test/opener":        true,
		"pub.test/x":              false,
		"example.com/m":           false,
		"":                        false,
		// Other spellings leave no more than these.
		"CORP.test/a":           true,
		"git.test/team/a":       true,
		"GIT.TEST/TEAM/A":       true,
		"A.Inner.Test/x":        true,
		"git.test/Team/a.git":   true,
		"git.test/team/a.v2/b":  true,
		"corp.test/open.git/x":  true,
		"corp.test.git/x":       false, // another host
		"Corp.test/open":        true,
		"corp.test/Open":        true,
		"corp.test/Open/Secret": true,
		"Example.com/m":         false,
	} {
		assert.Equal(t, athens.Route{Private: want}, route(r, module.Version{Path: path}), path)
		assert.Equal(t, athens.Route{Private: want}, route(r, module.Version{Path: path, Version: "v1.0.0"}), path)
	}
}

// Classes of characters, too, match in every spelling.
func TestSpellingsOfClasses(t *testing.T) {
	for pattern, paths := range map[string]struct{ in, out []string }{
		"[ab]x":      {[]string{"ax", "AX", "bX", "Bx"}, []string{"cx", "CX", "x"}},
		"[A-C]x":     {[]string{"Ax", "ax", "CX"}, []string{"dx", "Dx"}},
		"[Z-a]x":     {[]string{"Zx", "zx", "ax", "AX", "_X"}, []string{"bx", "Yx"}},
		"[^A]x":      {[]string{"ax", "AX", "bx"}, []string{"bxx"}},
		"[^a-zA-Z]X": {[]string{"1X", "1x", "-x"}, []string{"ax", "AX"}},
		`[\]\A]x`:    {[]string{"ax", "AX"}, []string{"bx"}},
		`\A*/[\^]?`:  {nil, []string{"a/bx"}},
		`\A\*`:       {[]string{"a*", "A*"}, []string{"ax"}},
		"[^!-~]":     {nil, []string{"a", "A"}},
	} {
		r, err := (*rules.Rules)(nil).WithPrivate(pattern)
		require.NoError(t, err)
		for _, p := range paths.in {
			assert.True(t, route(r, module.Version{Path: p}).Private, "%s matches %s", pattern, p)
		}
		for _, p := range paths.out {
			assert.False(t, route(r, module.Version{Path: p}).Private, "%s matches %s", pattern, p)
		}
	}
}

func TestLastLineWins(t *testing.T) {
	for _, c := range []struct {
		text string
		want bool
	}{
		{"private a.test/m", true},
		{"private a.test/m\npublic a.test", false},
		{"public a.test\nprivate a.test/m", true},
		{"private *\npublic a.test/*\nprivate b.test", false},
		{"private *\npublic b.test", true},
		{"public *", false},
		{"private a.test/m\nblock *\nallow *", true},
	} {
		assert.Equal(t, c.want, route(parse(t, c.text), module.Version{Path: "a.test/m"}).Private, c.text)
	}
}

func TestBlocked(t *testing.T) {
	r := parse(t, `block a.test/bad
block a.test/cve >=1.2.0 <1.4.3 # CVE-2024-1 & "friends": #1
block a.test/two <1.0.0 # old
block a.test/two >=2 # new
block *.closed.test
allow x.closed.test
block x.closed.test/not # no
block a.test/most
allow a.test/most >=1.5.0
block a.test/all * #
allow a.test/good <1
block a.test/unrelated
`)
	for _, c := range []struct{ path, version, want string }{
		{"a.test/bad", "", "blocked by rules.txt:1"},
		{"a.test/bad", "v1.0.0", "blocked by rules.txt:1"},
		{"a.test/bad", "main", "blocked by rules.txt:1"},
		{"a.test/bad/v2", "v2.0.0", "blocked by rules.txt:1"},
		{"a.test/badly", "v1.0.0", ""},
		{"A.test/BAD", "v1.0.0", "blocked by rules.txt:1"},
		{"X.closed.test/m", "v1.0.0", "blocked by rules.txt:5"},
		{"a.test/cve", "", ""},
		{"a.test/cve", "main", ""},
		{"a.test/cve", "v1.1.9", ""},
		{"a.test/cve", "v1.2.0-rc.1", ""},
		{"a.test/cve", "v1.2.0", `CVE-2024-1 & "friends": #1 (rules.txt:2)`},
		{"a.test/cve", "v1.4.2", `CVE-2024-1 & "friends": #1 (rules.txt:2)`},
		{"a.test/cve", "v1.4.3-rc.1", `CVE-2024-1 & "friends": #1 (rules.txt:2)`},
		{"a.test/cve", "v1.4.3", ""},
		{"a.test/cve", "v1.3", ""},
		{"a.test/two", "v0.9.0", "old (rules.txt:3)"},
		{"a.test/two", "v1.9.0", ""},
		{"a.test/two", "v2.0.0+incompatible", "new (rules.txt:4)"},
		{"a.closed.test/m", "v1.0.0", "blocked by rules.txt:5"},
		{"x.closed.test/m", "v1.0.0", ""},
		{"x.closed.test/not", "v1.0.0", "no (rules.txt:7)"},
		{"a.test/most", "", ""},
		{"a.test/most", "main", ""},
		{"a.test/most", "v1.4.9", "blocked by rules.txt:8"},
		{"a.test/most", "v1.5.0", ""},
		{"a.test/all", "", "blocked by rules.txt:10"},
		{"a.test/all", "v0.0.0-20240102030405-abcdefabcdef", "blocked by rules.txt:10"},
		{"a.test/good", "v2.0.0", ""},
		{"example.com/m", "v1.0.0", ""},
		// What can't be compared is in every blocked range, in no allowed one.
		{"a.test/cve", "v1.99999999999999999999.0", `CVE-2024-1 & "friends": #1 (rules.txt:2)`},
		{"a.test/most", "v1.99999999999999999999.0", "blocked by rules.txt:8"},
		{"a.test/cve", "v1.3.0-" + strings.Repeat("a", 300), `CVE-2024-1 & "friends": #1 (rules.txt:2)`},
	} {
		assert.Equal(t, athens.Route{Blocked: c.want}, route(r, module.Version{Path: c.path, Version: c.version}), "%s@%s", c.path, c.version)
	}
}

// How constraints treat what Go's versions have and others lack.
func TestConstraints(t *testing.T) {
	const (
		early  = "v0.0.0-20240102030405-abcdefabcdef"
		before = "v1.4.3-0.20240102030405-abcdefabcdef"
		after  = "v1.4.3-rc.1.0.20240102030405-abcdefabcdef"
		major2 = "v2.0.0-20240102030405-abcdefabcdef"
	)
	for constraint, versions := range map[string]struct{ in, out []string }{
		"":                     {[]string{early, "v1.0.0", major2}, nil},
		"*":                    {[]string{early, "v1.0.0", major2}, nil},
		"<1.4.3":               {[]string{early, "v0.1.0", "v1.4.2", "v1.4.3-rc.1", before, after}, []string{"v1.4.3", "v1.4.4-rc.1", "v2.0.0+incompatible"}},
		"<=1.4.3":              {[]string{before, "v1.4.3"}, []string{"v1.4.4-0.20240102030405-abcdefabcdef"}},
		">=1.4.3":              {[]string{"v1.4.3", "v1.4.4-rc.1", "v3.0.0+incompatible"}, []string{before, after, "v1.4.2"}},
		">=1.4.3-0":            {[]string{"v1.4.3", before, after}, []string{"v1.4.2"}},
		">=0.0.0":              {[]string{"v0.0.0", "v0.0.1-rc.1"}, []string{early}},
		">1.4.3 <2":            {[]string{"v1.4.4", "v1.5.0-rc.1", major2}, []string{"v1.4.3", "v2.0.0"}},
		"=1.4.3":               {[]string{"v1.4.3", "v1.4.3+incompatible"}, []string{before, "v1.4.4"}},
		"=v1.4.3":              {[]string{"v1.4.3"}, []string{after}},
		"1.4.3":                {[]string{"v1.4.3"}, []string{"v1.4.4"}},
		"=" + before:           {[]string{before}, []string{after, "v1.4.3"}},
		"!=1.4.3":              {[]string{before, "v1.4.2"}, []string{"v1.4.3"}},
		"1.4.x":                {[]string{"v1.4.0", "v1.4.9", after}, []string{"v1.4.0-rc.1", "v1.5.0-rc.1", "v1.3.9"}},
		"1.4":                  {[]string{"v1.4.9"}, []string{"v1.5.0"}},
		"^1.4.3":               {[]string{"v1.4.3", "v1.9.0", "v1.5.0-rc.1"}, []string{before, major2, "v2.0.0"}},
		"~1.4.3":               {[]string{"v1.4.3", "v1.4.9"}, []string{before, "v1.5.0-rc.1", "v1.5.0"}},
		"1.2.0 - 1.4.3":        {[]string{"v1.2.0", "v1.4.3", after}, []string{"v1.4.4"}},
		">=1.2.0, <1.4.3":      {[]string{"v1.3.0"}, []string{"v1.4.3"}},
		"  >= 1.2.0   < 1.4.3": {[]string{"v1.3.0"}, []string{"v1.4.3"}},
		"<1.0.0 || =1.4.3":     {[]string{early, "v1.4.3"}, []string{"v1.0.0", before}},
	} {
		r := parse(t, "block a.test/m "+constraint)
		for _, v := range versions.in {
			assert.NotEmpty(t, route(r, module.Version{Path: "a.test/m", Version: v}).Blocked, "%s in %q", v, constraint)
		}
		for _, v := range versions.out {
			assert.Empty(t, route(r, module.Version{Path: "a.test/m", Version: v}).Blocked, "%s in %q", v, constraint)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"deny a.test":                        `rules.txt:1:1: unknown rule "deny": want private, public, block, allow, only, cooldown, cooldown-by, upstream or advisories`,
		"\n\t Private a.test":                `rules.txt:2:3: unknown rule "Private"`,
		"private":                            "rules.txt:1:8: private needs a pattern",
		"block  # why":                       "rules.txt:1:8: block needs a pattern",
		"# fine\r\nblock ,\r\n":              "rules.txt:2:7: an empty pattern",
		"block a.test,b[":                    `rules.txt:1:14: bad pattern "b[": syntax error in pattern`,
		"block a.test/m@v1.2.3":              `rules.txt:1:7: bad pattern "a.test/m@v1.2.3": give the version after the pattern, as a constraint such as =1.2.3`,
		"block a.test/m>=1":                  `rules.txt:1:7: bad pattern "a.test/m>=1": module paths contain no ">"`,
		"private https://a.test":             `rules.txt:1:9: bad pattern "https://a.test": module paths contain no ":"`,
		"private a.test#x":                   `module paths contain no "#"`,
		"private /a.test":                    "rules.txt:1:9: bad pattern \"/a.test\": a module path has no empty element",
		"private a.test//b":                  "a module path has no empty element",
		"private a.test b.test":              "rules.txt:1:16: private takes only a pattern: it applies to all versions",
		"public a.test >=1":                  "rules.txt:1:15: public takes only a pattern",
		"private a.test # ours":              "rules.txt:1:16: private takes no reason; put a comment on a line of its own",
		"allow a.test =1.2.3 # because":      "rules.txt:1:21: allow takes no reason",
		"block a.test never":                 `rules.txt:1:14: bad constraint: improper constraint: "never"`,
		"block a.test >=1.2.zz":              "rules.txt:1:14: bad constraint: ",
		"block a.test >=1<2":                 "bad constraint: ",
		"block a.test =1 ||":                 "bad constraint: ",
		"block a.test <18446744073709551616": "bad constraint: ",
		"block a.test <1" + strings.Repeat(" ", 9) + strings.Repeat("||<1", 40): "bad constraint: too many constraint groups",
		"block a.test # " + strings.Repeat("x", 201):                            "rules.txt:1:14: the reason has more than 200 bytes",
		"only":                           "rules.txt:1:5: only needs a pattern",
		"only # a":                       "rules.txt:1:6: only needs a pattern",
		"only a.test b[":                 `rules.txt:1:13: bad pattern "b["`,
		"cooldown":                       "rules.txt:1:9: cooldown needs an age such as 7d",
		"cooldown # why":                 "rules.txt:1:10: cooldown needs an age such as 7d",
		"cooldown 7":                     `rules.txt:1:10: bad age "7"`,
		"cooldown -7d":                   `bad age "-7d"`,
		"cooldown 7x":                    `bad age "7x"`,
		"cooldown d":                     `bad age "d"`,
		"cooldown 1h1d":                  `bad age "1h1d"`,
		"cooldown 1d1d":                  `bad age "1d1d"`,
		"cooldown 3661d":                 `bad age "3661d": want a number and w, d, h, m or s, such as 7d, of at most 3660d`,
		"cooldown 3660d1s":               "bad age",
		"cooldown 99999999999999999999w": "bad age",
		"cooldown 7d a.test >=1":         `rules.txt:1:20: unexpected ">=1"; a reason begins with #`,
		"cooldown 7d a.test b.test":      "a reason begins with #",
		"cooldown 7d https://a.test":     "rules.txt:1:13: bad pattern",
		"cooldown 7d # " + strings.Repeat("x", 201): "the reason has more than 200 bytes",
		"cooldown-by":                 "rules.txt:1:12: cooldown-by needs commit or seen",
		"cooldown-by tag":             `rules.txt:1:13: cooldown-by is commit or seen, not "tag"`,
		"allow a.test/m@v1.2":         `rules.txt:1:7: bad version "a.test/m@v1.2"`,
		"allow a.test/m@v1.2.3+meta":  "bad version",
		"allow a.test/*@v1.2.3":       "bad version",
		"allow a.test/m@":             "bad version",
		"allow a.test/m@v1.2.3 >=1":   "rules.txt:1:23: unexpected",
		"allow a.test/m/v2@v1.2.3":    "bad version",
		"block a.test # \x1b[31m":     "rules.txt:1:16: unprintable character",
		"block a.test # \xff":         "rules.txt:1:16: unprintable character",
		"block a.test\u00a0":          "rules.txt:1:13: unprintable character",
		strings.Repeat("\n", 1<<20+1): "rules of more than 1048576 bytes",
		strings.Repeat("block a.test\n", 20_000) + "\nallow b.test": fmt.Sprintf("rules.txt:%d:1: more than %d rules", 20_000+2, 20_000),
	} {
		_, err := rules.Parse("rules.txt", strings.NewReader(text))
		assert.ErrorContains(t, err, want, "%.80q", text)
	}
	broken := errors.New("broken disk")
	_, err := rules.Parse("rules.txt", iotest.ErrReader(broken))
	assert.ErrorIs(t, err, broken)
}

func TestRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.txt")
	require.NoError(t, os.WriteFile(file, []byte("\uFEFF# from elsewhere\r\nblock a.test/m # bad\r\n"), 0o600))
	r, err := rules.Read(file)
	require.NoError(t, err)
	assert.Equal(t, "bad (policy.txt:2)", route(r, module.Version{Path: "a.test/m"}).Blocked)

	require.NoError(t, os.WriteFile(file, []byte("blok a.test/m"), 0o600))
	_, err = rules.Read(file)
	assert.ErrorContains(t, err, file+":1:1: unknown rule")
	_, err = rules.Read(file + "x")
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestWithPrivate(t *testing.T) {
	private := func(r *rules.Rules, path string) bool { return route(r, module.Version{Path: path}).Private }
	file := parse(t, "public corp.test/open\nblock bad.test\n")
	r, err := file.WithPrivate(" corp.test, *.inner.test/ ,,localhost:80,git.test/*")
	require.NoError(t, err)
	for path, want := range map[string]bool{"corp.test/x": true, "Corp.test/x": true, "a.inner.test/x": true, "git.test/x": true, "corp.test/open": false, "other.test": false} {
		assert.Equal(t, want, private(r, path), path)
		assert.False(t, private(file, path), "the original has not changed")
	}
	assert.NotEmpty(t, route(r, module.Version{Path: "bad.test"}).Blocked)

	assert.Equal(t, "corp.test,*.inner.test,localhost:80,git.test/*", r.PrivatePatterns())
	r, err = parse(t, "private a.test,b.test\nblock c.test\nprivate d.test").WithPrivate("e.test")
	require.NoError(t, err)
	assert.Equal(t, "e.test,a.test,b.test,d.test", r.PrivatePatterns())

	var none *rules.Rules
	assert.Empty(t, none.PrivatePatterns())
	assert.Equal(t, athens.Route{}, route(none, module.Version{Path: "corp.test"}))
	r, err = none.WithPrivate("")
	require.NoError(t, err)
	assert.False(t, private(r, "corp.test"))
	r, err = none.WithPrivate("corp.test")
	require.NoError(t, err)
	assert.True(t, private(r, "corp.test"))
	r, err = r.WithPrivate("second.test")
	require.NoError(t, err)
	assert.True(t, private(r, "corp.test") && private(r, "second.test"))
	for _, slip := range []string{"foo.test corp.test", "https://corp.test"} {
		_, err = none.WithPrivate(slip)
		require.Error(t, err, slip)
	}
	_, err = none.WithPrivate("corp.test,[")
	assert.ErrorContains(t, err, `private pattern "["`)
}

// A pattern matches just what module.MatchPrefixPatterns says.
func TestPatternsAreThoseOfGOPRIVATE(t *testing.T) {
	paths := []string{"a.test", "a.test/m", "a.test/m/v2", "a.test/mm", "b.test", "b.a.test/m", "a", "", "a.test/", "/a.test"}
	for _, pattern := range []string{"a.test", "a.test/", "*", "*/m", "*.test", "a.test/m", "a.test/*", "a.test/?", "[ab].test", `a\.test`, "a.test,b.test", ",b.test,"} {
		r := parse(t, "private "+pattern)
		for _, path := range paths {
			assert.Equal(t, module.MatchPrefixPatterns(pattern, path), route(r, module.Version{Path: path}).Private, "%s for %q", pattern, path)
		}
	}
}

func TestNoMatchDoesNotAllocate(t *testing.T) {
	r := manyRules(t)
	m := module.Version{Path: "example.com/some/module/v2", Version: "v2.3.4"}
	assert.Zero(t, testing.AllocsPerRun(100, func() { route(r, m) }))
}

// manyRules are a company's patterns and a long list of known bad versions.
func manyRules(t testing.TB) *rules.Rules {
	var text strings.Builder
	text.WriteString("private corp.test,*.corp.test\npublic corp.test/open\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "block example.com/bad%d >=1.0.0 <1.%d.0 # CVE-%d\n", i, i%100, i)
	}
	return parse(t, text.String())
}

func BenchmarkRoute(b *testing.B) {
	r := manyRules(b)
	for name, m := range map[string]module.Version{
		"NoMatch": {Path: "example.com/some/module/v2", Version: "v2.3.4"},
		"Private": {Path: "git.corp.test/team/module", Version: "v1.2.3"},
		"Blocked": {Path: "example.com/bad77", Version: "v1.2.3"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				route(r, m)
			}
		})
	}
}

// A person sees the lines, and which reasons are theirs.
func TestLines(t *testing.T) {
	r := parse(t, "private corp.test\n\nblock a.test <1.2.0 # CVE-1\ncooldown 1w # wait\n")
	blocked, err := r.Route(t.Context(), module.Version{Path: "a.test/m", Version: "v1.1.0"})
	require.NoError(t, err)
	assert.Equal(t, []rules.Line{
		{"rules.txt:1", "private corp.test", ""}, {"rules.txt:3", "block a.test <1.2.0 # CVE-1", blocked.Blocked}, {"rules.txt:4", "cooldown 1w # wait", ""},
	}, r.Lines())
	assert.Empty(t, (*rules.Rules)(nil).Lines())
}

func TestExplain(t *testing.T) {
	r, err := parse(t, `private corp.test
public corp.test/open
block a.test <1.2.0 # CVE-1
cooldown 1w # give others time to look
cooldown 0 corp.test
cooldown-by commit b.test
allow a.test/m@v1.3.0 # a fix
`).WithPrivate("mine.test")
	require.NoError(t, err)
	for _, c := range []struct{ path, version, want string }{
		{"a.test/m", "v1.1.0", `a.test/m@v1.1.0 is blocked
public: no line says otherwise
blocked: rules.txt:3: block a.test <1.2.0 # CVE-1
cooldown: rules.txt:4: cooldown 1w # give others time to look
age counts from this server's first sight: no line says otherwise
`},
		{"a.test/m", "v1.3.0", `a.test/m@v1.3.0 is served
public: no line says otherwise
allowed: rules.txt:7: allow a.test/m@v1.3.0 # a fix
no cooldown: rules.txt:7: allow a.test/m@v1.3.0 # a fix
`},
		{"b.test/m", "v1.3.0", `b.test/m@v1.3.0 is served once it is 7d old
public: no line says otherwise
allowed: no line says otherwise
cooldown: rules.txt:4: cooldown 1w # give others time to look
age counts from the commit or this server's first sight, whichever is earlier: rules.txt:6: cooldown-by commit b.test
`},
		{"corp.test/open/m", "v1.3.0", `corp.test/open/m@v1.3.0 is served
public: rules.txt:2: public corp.test/open
allowed: no line says otherwise
no cooldown: rules.txt:5: cooldown 0 corp.test
`},
		{"mine.test/m", "", `mine.test/m is served
private: the private patterns before the first line
allowed: no line says otherwise
`},
	} {
		assert.Equal(t, c.want, r.Explain(module.Version{Path: c.path, Version: c.version}))
	}
	r, err = rules.Parse("rules.txt", strings.NewReader("only a.test"))
	require.NoError(t, err)
	assert.Contains(t, r.Explain(module.Version{Path: "b.test"}), "b.test is blocked\n")
	assert.Contains(t, (*rules.Rules)(nil).Explain(module.Version{Path: "b.test"}), "b.test is served\n")
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "# c\n", "private a.test,*.b.test\n", "public a.test/x\r\n", "block a.test/m >=1.2.0 <1.4.3 # CVE-1\n",
		"allow a.test ^1.2 || ~1.4.x, !=1.4.3\n", "block * 1.2 - 1.4\n", "block [a-z].test/\\* *", "only a.test b.test # c\nallow a.test/m@v1.2.3 # fix\ncooldown 7d\ncooldown 0 b.test\ncooldown-by commit a.test\n", "upstream a.test https://u:p@b.test|http://c.test,vcs # c\nupstream * off\n", "block a.test =1.2.3-rc.1+meta", "block a\x00b",
	} {
		f.Add(s, "a.test/m", "v1.2.3")
	}
	f.Fuzz(func(t *testing.T, text, path, version string) {
		r, err := rules.Parse("dir/rules.txt", strings.NewReader(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "dir/rules.txt:") {
				t.Errorf("error without a place: %v", err)
			}
			return
		}
		if m := (module.Version{Path: path, Version: version}); !strings.HasPrefix(r.Explain(m), m.String()+" is ") {
			t.Errorf("odd explanation: %q", r.Explain(m))
		}
		whole := route(r, module.Version{Path: path})
		one := route(r, module.Version{Path: path, Version: version})
		if whole.Private != one.Private {
			t.Error("the version decides what is private")
		}
		if strings.ContainsAny(one.Blocked, "\n\x00\x1b") {
			t.Errorf("unprintable reason %q", one.Blocked)
		}
		// What is private stays so in upper case, of the letters that paths have.
		ascii := strings.IndexFunc(path+text, func(r rune) bool { return r > unicode.MaxASCII }) < 0
		if whole.Private && ascii && !strings.Contains(text, "public") && !route(r, module.Version{Path: strings.ToUpper(path)}).Private {
			t.Errorf("%q is private, in upper case it is not", path)
		}
	})
}

// FuzzPrivate spells private paths in other ways: none makes them public.
func FuzzPrivate(f *testing.F) {
	f.Add("corp.test/x", 3)
	f.Add("git.test/Team.v2/a.git/b", 5)
	f.Add("git.test/team/a.GIT.v3", 0)
	f.Add("open.test/x", 1)
	r, err := rules.Parse("rules", strings.NewReader("private corp.test,git.test/Team,*.inner.test,[a-c].test/[^x]*\npublic corp.test/open\n"))
	if err != nil {
		f.Fatal(err)
	}
	private := func(path string) bool { return route(r, module.Version{Path: path}).Private }
	f.Fuzz(func(t *testing.T, path string, at int) {
		if module.CheckPath(path) != nil || !private(path) {
			return
		}
		at &= 0xff
		if at >= len(path) {
			at = 0
		}
		// A public line is exact: the spelling that it names stays public.
		others := []string{strings.ToUpper(path), path[:at] + strings.ToUpper(path[at:]), path + "/v2"}
		if strings.Contains(path, "/") { // another ending is another host
			others = append(others, path+".git/x", path+".v2/x")
		}
		for _, other := range others {
			if !private(other) && !strings.HasPrefix(other, "corp.test/open") {
				t.Errorf("%s is private, and %s is not", path, other)
			}
		}
	})
}
