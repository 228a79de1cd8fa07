package rules_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/redirect/rules"
)

// server is an upstream that notes that it was let go.
type server struct {
	*athenstest.Upstream
	url    string
	closed bool
}

func (s *server) CloseIdleConnections() { s.closed = true }

// servers opens upstreams.
type servers struct {
	t    *testing.T
	open []*server
}

func (s *servers) Open(url string) (athens.Upstream, error) {
	if strings.Contains(url, "bad") {
		return nil, errors.New("a bad server")
	}
	up := &server{Upstream: athenstest.NewUpstream(athenstest.NewSource(s.t, "upstream"), ""), url: url}
	s.open = append(s.open, up)
	return up, nil
}

// from describes where a module comes from.
func from(t *testing.T, f *rules.File, path string) string {
	t.Helper()
	r, err := f.Route(t.Context(), module.Version{Path: path, Version: "v1.0.0"})
	require.NoError(t, err)
	var b strings.Builder
	for _, s := range r.From {
		switch up := s.Upstream.(type) {
		case nil:
			b.WriteString("vcs")
		case *server:
			b.WriteString(up.url)
		default:
			_, err := up.Fetch(t.Context(), module.Version{Path: path, Version: "v1.0.0"})
			require.ErrorAs(t, err, new(*athens.MissingError))
			b.WriteString("off")
		}
		b.WriteString(map[bool]string{true: "|", false: ","}[s.OnError])
	}
	return b.String()
}

func TestUpstreamLines(t *testing.T) {
	name := filepath.Join(t.TempDir(), "rules.txt")
	write := func(text string) { require.NoError(t, os.WriteFile(name, []byte(text), 0o600)) }
	write(`private corp.test
upstream * https://all.test
upstream golang.org/x,rsc.test https://user:s3cret@a.test/go|http://b.test:8080 , vcs  # two mirrors
upstream golang.org/x/old off
upstream own.test vcs
`)
	s := &servers{t: t}
	var log bytes.Buffer
	f, err := rules.Open(name, &rules.Options{OpenUpstream: s.Open, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	for path, want := range map[string]string{
		"golang.org/x/mod":   "https://user:s3cret@a.test/go|http://b.test:8080,vcs,",
		"rsc.test/quote":     "https://user:s3cret@a.test/go|http://b.test:8080,vcs,",
		"GOLANG.org/x/mod":   "https://user:s3cret@a.test/go|http://b.test:8080,vcs,", // in every spelling
		"golang.org/x/old/m": "off,",
		"own.test/m":         "vcs,",
		"other.test/m":       "https://all.test,",
		"corp.test/m":        "", // private
		"corp.test/m.git":    "",
	} {
		assert.Equal(t, want, from(t, f, path), path)
	}
	require.Len(t, s.open, 3)

	// What is named no more is let go, and what still is stays.
	write("upstream * http://b.test:8080,https://c.test\n")
	require.NoError(t, f.Reload())
	assert.Equal(t, "http://b.test:8080,https://c.test,", from(t, f, "golang.org/x/mod"))
	assert.Len(t, s.open, 4)
	for _, up := range s.open {
		assert.Equal(t, up.url == "https://all.test" || strings.Contains(up.url, "a.test"), up.closed, up.url)
	}

	// A line that can't take effect leaves all as it was.
	write("upstream * https://bad.test\n")
	assert.ErrorContains(t, f.Reload(), "rules.txt:1: a bad server")
	assert.Equal(t, "http://b.test:8080,https://c.test,", from(t, f, "golang.org/x/mod"))
	require.NoError(t, f.Close())
	assert.True(t, s.open[1].closed)
	assert.NotContains(t, log.String(), "s3cret")

	_, err = rules.Open(name, nil)
	assert.ErrorContains(t, err, "rules.txt:1: this program does not support upstream rules")
	_, err = parse(t, "upstream a.test https://b.test").Route(t.Context(), module.Version{Path: "a.test/m"})
	assert.ErrorContains(t, err, "rules.Open")
}

// No error quotes a URL: it may have credentials.
func TestBadUpstreamLines(t *testing.T) {
	for text, want := range map[string]string{
		"upstream":                                                           ":1:9: upstream needs a pattern",
		"upstream # c":                                                       ":1:10: upstream needs a pattern",
		"upstream a.test":                                                    ":1:16: upstream needs a URL",
		"upstream a.test # c":                                                ":1:17: upstream needs a URL",
		"upstream https://u:s3cret@b.test":                                   ":1:10: upstream needs a pattern before the URL",
		"upstream a[ https://u:s3cret@b.test":                                ":1:10: bad pattern",
		"upstream a.test ,https://u:s3cret@b.test":                           ":1:17: empty entry",
		"upstream a.test https://u:s3cret@b.test|":                           ":1:41: empty entry",
		"upstream a.test vcs,https://u:s3cret@b":                             ":1:21: nothing can follow vcs",
		"upstream a.test off| https://u:s3cret@b":                            ":1:22: nothing can follow off",
		"upstream a.test direct":                                             ":1:17: version control is called vcs here",
		"upstream a.test ftp://u:s3cret@b.test":                              ":1:17: want a URL",
		"upstream a.test https://u:s3cret@b.test?q":                          ":1:17: want a URL",
		"upstream a.test https://":                                           ":1:17: want a URL",
		"upstream a.test https://u:s3cret@b:port":                            ":1:17: malformed URL",
		"upstream a.test https://b u:s3cret":                                 ":1:17: malformed URL",
		"upstream a.test " + strings.Repeat("http://b.test|", 17) + "off":    "more than 16 sources",
		"upstream a.test https://b.test # " + strings.Repeat("s3cret ", 200): "the reason has more than 200 bytes",
	} {
		_, err := rules.Parse("rules.txt", strings.NewReader(text))
		require.ErrorContains(t, err, want, text)
		assert.NotContains(t, err.Error(), "s3cret")
	}
}

func TestExplainUpstream(t *testing.T) {
	r := parse(t, "private corp.test\nupstream * https://u:s3cret@a.test/go | vcs # the mirror\n")
	assert.Contains(t, r.Explain(module.Version{Path: "b.test/m"}), "\nfrom https://a.test/go|vcs: rules.txt:2: upstream * https://a.test/go|vcs # the mirror\n")
	assert.Contains(t, r.Explain(module.Version{Path: "corp.test/m"}), "\nfrom version control, because it is private, and not as of rules.txt:2: upstream * https://a.test/go|vcs # the mirror\n")
}
