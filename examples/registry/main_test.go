package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

func TestMain(m *testing.M) { os.Exit(modtest.Main(m)) }

// TestRegistry starts the registry with its default flags, pastes the line it
// prints into a shell, and asks it for a module.
func TestRegistry(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, modtest.Ready(t, "simple", "private")...)
	g := modtest.NewGo(t, net)
	truth := g.MustDownload("git.test/simple@v1.1.0")
	g.Clean()
	g.Set("GOPRIVATE=corp.test", "XDG_CACHE_HOME="+t.TempDir())
	p := modtest.Start(t, modtest.Build(t, "./examples/registry"), []string{"-addr", "127.0.0.1:0"}, g.Env())
	assert.Equal(t, "GONOSUMDB=corp.test", p.Env[2])

	g.Set("GOFLAGS=-modcacherw")
	for _, ref := range []string{"git.test/simple@v1.1.0", "corp.test/secret/plans@main"} {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", "export "+strings.Join(p.Env, " ")+"; go mod download -json "+ref)
		cmd.Dir, cmd.Env = g.Dir, g.Env()
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		if ref == "git.test/simple@v1.1.0" {
			assert.Contains(t, string(out), truth.Sum)
		}
	}
	p.AwaitLog("module=git.test/simple version=v1.1.0 file=info outcome=fetch source=vcs status=200")

	// What it keeps is a GOPROXY tree.
	p.Stop()
	fromFiles := modtest.NewGo(t, nil)
	for _, e := range g.Env() {
		if dir, ok := strings.CutPrefix(e, "XDG_CACHE_HOME="); ok {
			fromFiles.Set("GOPROXY=file://" + filepath.ToSlash(filepath.Join(dir, "athens", "registry")))
		}
	}
	assert.Equal(t, truth.Sum, fromFiles.MustDownload("git.test/simple@latest").Sum)
}

func TestBadFlags(t *testing.T) {
	rules := filepath.Join(t.TempDir(), "rules")
	require.NoError(t, os.WriteFile(rules, []byte("block example.test >=a.b\n"), 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for want, args := range map[string][]string{
		rules + ":1:":            {"-rules", rules},
		"upstream":               {"-upstream", "http://up.test"}, // a registry has none
		"registry takes flags":   {"serve"},
		"no such file":           {"-rules", rules + ".none"},
		`"corp.test/["`:          {"-private", "corp.test/["},
		"missing port in addres": {"-addr", "127.0.0.1"},
	} {
		err := run(ctx, append([]string{"-dir", t.TempDir(), "-private", ""}, args...), io.Discard, io.Discard)
		assert.ErrorContains(t, err, want, "%v", args)
	}
}
