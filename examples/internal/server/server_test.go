package server

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
	require.NoError(t, f.ParseArgs(args, t.Output()))
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
	t.Setenv("PATH", t.TempDir())
	f, up := parsed(t)
	_, err := f.Upstream(*up)
	assert.ErrorContains(t, err, "no default for -upstream, set it to a URL or 'off'")
	rules, err := f.Policy() // nothing to take over
	require.NoError(t, err)
	assert.Empty(t, rules.PrivatePatterns())
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
	for _, args := range [][]string{{"-nosuch"}, {"argument"}, {"-addr"}} {
		said := &bytes.Buffer{}
		err := NewFlags("proxy", "127.0.0.1:3000").ParseArgs(args, said)
		assert.ErrorAs(t, err, new(*UsageError), "%v", args)
		assert.NotEmpty(t, said.String(), "%v", args)
	}
	said := &bytes.Buffer{}
	assert.ErrorIs(t, NewFlags("proxy", "127.0.0.1:3000").ParseArgs([]string{"-h"}, said), flag.ErrHelp)
	for _, name := range []string{"-addr", "-dir", "-private", "-rules", "-sumdb", "-ops"} {
		assert.Contains(t, said.String(), name)
	}
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
	sums, err := f.Checksums()
	require.NoError(t, err)
	assert.Nil(t, sums)
	f, _ = parsed(t, "-sumdb", "nonsense")
	_, err = f.Checksums()
	assert.Error(t, err)
}
