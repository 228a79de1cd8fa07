package gocmd

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// words are texts of the go command, each about corp.test/m, with their meaning.
var words = []struct {
	text string
	want verdict
}{
	{`corp.test/m@v9: invalid version: unknown revision v9`, unconfirmed},
	{`module corp.test/m: no matching versions for query "latest"`, unconfirmed},
	{`corp.test/m@latest: no commits`, notFound},
	{`corp.test/m@v0.0.0-20220101100001-eb7f7f4ca1e6: invalid pseudo-version: does not match version-control timestamp (expected 20220101100000)`, notFound},
	{`unrecognized import path "corp.test/m": reading https://corp.test/m?go-get=1: 404 Not Found`, notFound},
	{"unrecognized import path \"corp.test/m\": reading https://corp.test/m?go-get=1: 410 Gone\n\tserver response: no", notFound},
	{"create zip: a\"b: malformed file path \"a\\\"b\": invalid char '\"'\ncon: malformed file path \"con\": \"con\" disallowed", invalid},
	{`corp.test/m@v1.0.0 requires go >= 1.99 (running go 1.26.8; GOTOOLCHAIN=local)`, tooNew},
	{`corp.test/m@v1.0.0 requires go >= 1.99rc1 (running go 1.26.8)`, tooNew},
	{`corp.test/m@v1.0.0 requires go >= 1.99 (running go 1.26.8; GOTOOLCHAIN=go1.26.8+path)`, tooNew},
	{"corp.test/m@v1.0.0: parsing go.mod:\n\tmodule declares its path as: other.test/m\n\t        but was required as: corp.test/m", notFound},
	{"corp.test/m@v1.0.0: parsing go.mod: go.mod:3: unknown directive: foo", invalid},
	{"corp.test/m@v1.0.0: parsing go.mod:\n\tgo.mod:3:2: unexpected newline in string", invalid},
	{`corp.test/m@v1.0.0: parsing go.mod: missing module line`, invalid},
	{`corp.test/m@v1.0.0: invalid version: version v1.0 is not canonical`, notFound},
	{`corp.test/m@x: invalid version: version "x" invalid: syntax error`, notFound},
	{`unrecognized import path "corp.test/m": rsc.io is not a module`, notFound},
	{`GOVCS disallows using svn for public corp.test/m; see 'go help vcs'`, disallowed},
	{`corp.test/m@v1.0.0: GOVCS disallows using svn for private corp.test/m; see 'go help vcs'`, disallowed},
	{"git fetch: exit status 128:\n\tfatal: x requires go >= 1.99 (running go 1.26.8)", unavailable},
	{"git fetch: exit status 128:\n\tparsing go.mod: go.mod:3: unknown directive: foo", unavailable},
	{`parsing go.mod: the server closed the connection`, unavailable},

	{``, unavailable},
	{`corp.test/m@v1.0.0`, unavailable},
	{`something else: unknown revision v9`, unavailable},
	{"git fetch: exit status 128:\n\tfatal: unknown revision v9", unavailable},
	{"unknown revision v9\n\tfatal: the connection was lost", unavailable},
	{`unrecognized import path "corp.test/m": https fetch: Get "https://corp.test/m?go-get=1": dial tcp: lookup corp.test: no such host`, unavailable},
	{`unrecognized import path "corp.test/m": reading https://corp.test/m?go-get=1: 500 404 Not Found`, unavailable},
	{`unrecognized import path "corp.test/m": reading https://corp.test/m?go-get=1: 4040 Not Found`, unavailable},
	{"git ls-remote -q --end-of-options origin in /d: exit status 128:\n\tfatal: could not read Username for 'https://corp.test': terminal prompts disabled", unavailable},
	{"git ls-remote -q --end-of-options origin in /d: exit status 128:\n\tfatal: unable to access 'https://corp.test/m/': The requested URL returned error: 502", unavailable},
	{`hg init . in /d: exec: "hg": executable file not found in $PATH`, unavailable},
	{`create zip: write /tmp/x: no space left on device`, unavailable},
	{`open /tmp/x: file does not exist`, unavailable},
}

func TestJudge(t *testing.T) {
	for _, w := range words {
		assert.Equal(t, w.want, classify("corp.test/m", w.text), w.text)
	}
}

// What a server says cannot become a refusal, whatever words it chooses: the go
// command puts words of its own before them.
func FuzzJudge(f *testing.F) {
	for _, w := range words {
		f.Add(w.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, quoted := range []string{
			"git fetch -f origin in /d: exit status 128:\n\t" + text,
			`unrecognized import path "corp.test/m": https fetch: Get "https://corp.test/m?go-get=1": ` + text,
			"unrecognized import path \"corp.test/m\": reading https://corp.test/m?go-get=1: 503 Service Unavailable\n\tserver response: " + text,
			"hg pull -f in /d: exit status 1:\n\tabort: " + text,
		} {
			if v := classify("corp.test/m", quoted); v != unavailable {
				t.Errorf("%q: %d", quoted, v)
			}
		}
		if v := classify("corp.test/m", text); v != classify("corp.test/m", "corp.test/m@v1.0.0: "+text) && !strings.Contains(text, "module ") && !strings.Contains(text, "@") && !strings.Contains(text, "invalid ") {
			t.Errorf("%q: %d depends on the version before it", text, v)
		}
	})
}

func FuzzPresentable(f *testing.F) {
	for _, s := range []string{
		"fatal: unable to access 'https://ada:s3cret@corp.test/m/'", "a\n\tb\x00\x1b[31mc", "https://s3cret@@corp.test", "> Authorization: Basic s3cret\r\nok",
		"\xff\xfe", strings.Repeat("ä", 10_000), "svn+ssh://s3cret@h/x", "HTTPS://a:s3cret@H",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := sanitize(s, "/tmp/athens-gocmd-1")
		if len(got) > maxText+len("…") || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsGraphic(r) && r != utf8.RuneError }) {
			t.Errorf("%q", got)
		}
		if strings.Contains(got, "/tmp/athens-gocmd-1") {
			t.Errorf("%q names the folder", got)
		}
		with := sanitize("fatal: 'https://ada:s3cr3t-42@corp.test/"+strings.ReplaceAll(s, "s3cr3t-42", "")+"'", "")
		if strings.Contains(with, "s3cr3t-42") {
			t.Errorf("%q", with)
		}
	})
}

// What passes the checks is for every tool one plain word: no option, no URL, no
// expression.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{
		"latest", "v1.2.3", "feature/x", "-x", "--upload-pack=x", "a..b", "HEAD~1", "main^{tree}", "a:b", "a@b", "x y", "/etc", "a//b", "a/", ".", "über",
		"tip and file('x')", "v1.0.0+incompatible", "upgrade", strings.Repeat("f", 64<<10), "a\nb", "\x00", "\xff", "$(x)", "`x`", "%PATH%", "...",
	} {
		f.Add("corp.test/m", s)
		f.Add("corp.test/"+s, "latest")
	}
	f.Fuzz(func(t *testing.T, path, query string) {
		err := checkQuery(path, query)
		if err != nil {
			var missing *athens.MissingError
			if !errors.As(err, &missing) || len(missing.Path) > len(path) || len(missing.Query) > maxQuery {
				t.Errorf("%T: %v", err, err)
			}
			if checkVersion(module.Version{Path: path, Version: query}) == nil {
				t.Errorf("%q@%q is a version but no query", path, query)
			}
			return
		}
		if strings.HasPrefix(path, "-") || strings.HasPrefix(query, "-") || len(path)+len(query) > maxPath+maxQuery ||
			strings.Contains(path+query, "..") && strings.Contains(query, "..") ||
			strings.ContainsAny(query, " \t\r\n\x00~^:?*[]\\@{}()'\"`$%&|;<>!,=#") || strings.ContainsAny(path, " \t\r\n\x00\\@:?*$`'\"<>|;&") {
			t.Errorf("%q@%q passes", path, query)
		}
	})
}

func FuzzPieces(f *testing.F) {
	f.Add([]byte(`{"Path":"corp.test/m","Version":"v1.0.0","Time":"2022-01-01T10:00:00Z","Origin":{"VCS":"git"}}`), 1)
	f.Add([]byte(`{"Path":"corp.test/m","Error":{"Err":"no commits"}} {"Path":"corp.test/m","Error":"no commits"}`), 2)
	f.Add([]byte(`{"Error":[]}`), 1)
	f.Add([]byte(strings.Repeat("{}", 1000)), 1000)
	f.Fuzz(func(t *testing.T, data []byte, want int) {
		list, err := decodeModules(data, "corp.test/m", want)
		if err == nil && len(list) != want {
			t.Errorf("%d pieces", len(list))
		}
		for _, p := range list {
			if p.Path != "corp.test/m" {
				t.Errorf("a piece of %q", p.Path)
			}
		}
	})
}
