package main

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each way to use a home is noticed, and Go's own settings are none.
func TestTrap(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the commands are those of Unix")
	}
	netrc, settings := "opened .netrc", filepath.Join(".config", "git", "config")
	for command, want := range map[string][]string{
		"true":                   nil,
		"go env GOPROXY GOCACHE": nil,
		`cat "$HOME/.netrc"`:     {netrc},
		`cat "$NETRC"`:           {netrc},
		`cat "$XDG_CONFIG_HOME/git/config" $HOME/.config/git/config`: {"opened " + settings},
		`echo x > "$HOME/new"`:                   {"opened new", "created new"},
		`rm "$HOME/.netrc"`:                      {netrc, "removed .netrc"},
		`printf x >> "$HOME/.config/git/config"`: {"opened " + settings, "changed " + settings},
	} {
		if runtime.GOOS != "linux" {
			continue
		}
		touched, err := run([]string{"sh", "-c", "{ " + command + "; } >/dev/null"})
		require.NoError(t, err)
		assert.Equal(t, want, touched, command)
	}
	_, err := run([]string{"sh", "-c", "exit 3"})
	assert.ErrorAs(t, err, new(*exec.ExitError))
}

// A git that reads the trap's settings fails.
func TestBaitIsPoison(t *testing.T) {
	touched, err := run([]string{"git", "config", "--global", "--list"})
	assert.Error(t, err)
	if runtime.GOOS == "linux" {
		assert.Contains(t, touched, "opened .gitconfig")
	}
}
