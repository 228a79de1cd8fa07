package server

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/examples/internal/command"
)

// goEnviron makes "go env" answer from these variables alone.
func goEnviron(t *testing.T, env ...string) {
	t.Helper()
	t.Setenv("GOENV", "off")
	t.Setenv("GOTOOLCHAIN", "local")
	t.Setenv("GOPRIVATE", "")
	t.Setenv("GONOPROXY", "")
	for i := 0; i < len(env); i += 2 {
		t.Setenv(env[i], env[i+1])
	}
}

// parsed returns the flags of a server that was started with args.
func parsed(t *testing.T, args ...string) (*Flags, *string) {
	t.Helper()
	f := NewFlags("proxy", "127.0.0.1:3000")
	up := f.UpstreamFlag()
	require.NoError(t, f.ParseArgs(args, io.Discard, t.Output()))
	return f, up
}

func TestUpstream(t *testing.T) {
	for _, c := range []struct {
		goproxy string
		args    []string
		want    string
	}{
		{"https://a.test,https://b.test,direct", nil, "https://a.test"},
		{"https://a.test|direct", nil, "https://a.test"},
		{"direct", nil, Off},
		{"off", nil, Off},
		{"direct,https://a.test", nil, Off}, // nobody asks that one
		{"off,https://a.test", nil, Off},
		{"file:///srv/modules,https://a.test", nil, "https://a.test"},
		// What a user has who pasted the line of an earlier start.
		{"http://127.0.0.1:3000", nil, Off},
		{"http://127.0.0.1:3000,https://a.test,direct", nil, "https://a.test"},
		{"http://localhost:3000/,https://a.test", nil, "https://a.test"},
		{"http://127.0.0.1:3000,direct", nil, Off},
		{"http://127.0.0.1:3000,https://a.test", []string{"-addr", ":3000"}, "https://a.test"},
		{"http://127.0.0.1:3000,https://a.test", []string{"-addr", "0.0.0.0:3000"}, "https://a.test"},
		{"http://127.0.0.1:3001,https://a.test", nil, "http://127.0.0.1:3001"},
		{"http://127.0.0.1:3000", []string{"-addr", "127.0.0.1:0"}, "http://127.0.0.1:3000"},
		{"https://a.test", []string{"-upstream", "https://b.test"}, "https://b.test"},
		{"https://a.test", []string{"-upstream", "off"}, Off},
	} {
		goEnviron(t, "GOPROXY", c.goproxy)
		f, up := parsed(t, c.args...)
		got, err := f.Upstream(*up)
		require.NoError(t, err, c)
		assert.Equal(t, c.want, got, "%s %v", c.goproxy, c.args)
	}
	f, up := parsed(t, "-upstream", "")
	_, err := f.Upstream(*up)
	assert.ErrorContains(t, err, "-upstream is empty")
}

func TestWithoutGoCommand(t *testing.T) {
	goEnviron(t)
	t.Setenv("PATH", t.TempDir())
	f, up := parsed(t)
	_, err := f.Upstream(*up)
	assert.ErrorContains(t, err, "no default for -upstream, set it to a URL or 'off'")
	rules, err := f.Policy() // nothing to take over
	require.NoError(t, err)
	assert.Empty(t, rules.PrivatePatterns())
	t.Setenv("GOPRIVATE", "corp.test")
	t.Setenv("GONOPROXY", "other.test")
	f, _ = parsed(t)
	rules, err = f.Policy()
	require.NoError(t, err)
	assert.Equal(t, "corp.test,other.test", rules.PrivatePatterns(), "the environment counts without a go command")
	f, up = parsed(t, "-upstream", "https://a.test")
	got, err := f.Upstream(*up)
	require.NoError(t, err)
	assert.Equal(t, "https://a.test", got)
}

func TestPrivate(t *testing.T) {
	for _, c := range []struct {
		private, noproxy string
		args             []string
		want             string
	}{
		{"", "", nil, ""},
		{"corp.test,*.inner.test", "", nil, "corp.test,*.inner.test"},
		{"corp.test", "none", nil, "corp.test"},
		{"corp.test", "other.test,corp.test", nil, "corp.test,other.test"},
		{"", "other.test", nil, "other.test"},
		{"corp.test", "", []string{"-private", ""}, ""},
		{"corp.test", "", []string{"-private", "mine.test"}, "mine.test"},
	} {
		goEnviron(t, "GOPRIVATE", c.private, "GONOPROXY", c.noproxy)
		f, _ := parsed(t, c.args...)
		rules, err := f.Policy()
		require.NoError(t, err)
		assert.Equal(t, c.want, rules.PrivatePatterns(), "%+v", c)
	}
	f, _ := parsed(t, "-private", "corp.test/[")
	_, err := f.Policy()
	assert.ErrorContains(t, err, `"corp.test/["`)
}

func TestRulesFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rules")
	require.NoError(t, os.WriteFile(file, []byte("private corp.test\nblock example.test >=1.x.y.z # no\n"), 0o600))
	f, _ := parsed(t, "-rules", file, "-private", "")
	_, err := f.Policy()
	assert.ErrorContains(t, err, file+":2:20: ")
	f, _ = parsed(t, "-rules", file+".none")
	_, err = f.Policy()
	assert.ErrorContains(t, err, file+".none")
}

func TestParseArgs(t *testing.T) {
	for _, args := range [][]string{{"-nosuch"}, {"argument"}, {"-addr"}, {"-list-ttl", "-1s"}, {"-down-ttl", "soon"}} {
		said := &bytes.Buffer{}
		err := NewFlags("proxy", "127.0.0.1:3000").ParseArgs(args, io.Discard, said)
		assert.ErrorAs(t, err, new(*command.UsageError), "%v", args)
		assert.NotEmpty(t, said.String(), "%v", args)
	}
	said := &bytes.Buffer{}
	assert.ErrorIs(t, NewFlags("proxy", "127.0.0.1:3000").ParseArgs([]string{"-h"}, io.Discard, said), flag.ErrHelp)
	for _, name := range []string{"-addr", "-dir", "-private", "-rules", "-sumdb", "-ops"} {
		assert.Contains(t, said.String(), name)
	}
}

// The flags are the Options' own words: a zero flag means none, the default the Options'.
func TestFreshness(t *testing.T) {
	f, _ := parsed(t, "-list-ttl", "10s", "-missing-ttl", "0")
	var o athens.Options
	f.freshness(&o)
	assert.Equal(t, athens.Options{
		ListTTL: 10 * time.Second, StaleTTL: 15 * time.Second, StaleAfter: time.Second, MissingTTL: -1, DownTTL: 5 * time.Second, MaxPseudoVersions: 500,
	}, o)
}

// -version says what runs, on stdout, and nothing is served.
func TestVersion(t *testing.T) {
	var out, said bytes.Buffer
	f := NewFlags("proxy", "127.0.0.1:3000")
	assert.ErrorIs(t, f.ParseArgs([]string{"-version"}, &out, &said), command.ErrVersion)
	assert.Regexp(t, `^athens proxy \S+ .*go1\.\d+`, out.String())
	assert.Empty(t, said.String())
}

// The server may be started in a project of any kind, with settings for builds.
func TestGoEnvOfAnyFolder(t *testing.T) {
	goEnviron(t, "GOPROXY", "https://a.test", "GOFLAGS", "nonsense")
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("go.mod", []byte("module m\n\ngo 1.999\n"), 0o666))
	env, err := goEnv()
	require.NoError(t, err)
	assert.Equal(t, "https://a.test", env.GOPROXY)
}

func TestDirs(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", "/cache")
	t.Setenv("HOME", "/home/someone")
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	f, _ := parsed(t)
	dir, err := f.StoreDir()
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(cache, "athens", "proxy"), dir)
	t.Chdir(t.TempDir())
	f, _ = parsed(t, "-dir", "store")
	dir, err = f.StoreDir()
	require.NoError(t, err)
	assert.True(t, filepath.IsAbs(dir))

	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	f, _ = parsed(t)
	_, err = f.StoreDir()
	assert.ErrorContains(t, err, "no default for -dir")
}

func TestChecksums(t *testing.T) {
	f, _ := parsed(t)
	sums, err := f.Checksums(nil)
	require.NoError(t, err)
	assert.Nil(t, sums)
	f, _ = parsed(t, "-sumdb", "nonsense")
	_, err = f.Checksums(nil)
	assert.Error(t, err)
}
