package fetcher_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/internal/modtest"
)

// faults put something in the place of a file that can't be read.
var faults = map[string]func(t *testing.T, name string){
	"folder": func(t *testing.T, name string) { require.NoError(t, os.Mkdir(name, 0o700)) },
	"loop":   func(t *testing.T, name string) { require.NoError(t, os.Symlink(name, name)) },
	"behind a file": func(t *testing.T, name string) {
		file := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		require.NoError(t, os.Symlink(filepath.Join(file, "x"), name))
	},
	"long name": func(t *testing.T, name string) {
		require.NoError(t, os.Symlink(filepath.Join(t.TempDir(), strings.Repeat("x", 300)), name))
	},
	"too large": func(t *testing.T, name string) {
		require.NoError(t, os.WriteFile(name, nil, 0o600))
		require.NoError(t, os.Truncate(name, 64<<20))
	},
}

// An optional file of the home that can't be read is one warning, whatever file it is
// and whatever the fault.
func TestUnreadableHome(t *testing.T) {
	for _, file := range []string{
		".netrc", ".gitconfig", ".config/git/config", "gitinclude", "system",
		".ssh/config", ".ssh/include", ".ssh/known_hosts2", ".ssh/id_rsa", ".ssh/id_ed25519-cert.pub",
	} {
		for fault, put := range faults {
			t.Run(file+" "+fault, func(t *testing.T) {
				w := newLoggedInWorld(t)
				home := t.TempDir()
				require.NoError(t, os.MkdirAll(filepath.Join(home, ".config/git"), 0o700))
				require.NoError(t, os.Rename(w.home.dir, filepath.Join(home, ".ssh")))
				w.home.dir = filepath.Join(home, ".ssh")
				w.home.write("config", string(read(t, w.home.dir, "config"))+"Include include\n")
				t.Setenv("HOME", home)
				t.Setenv("NETRC", "")
				t.Setenv("XDG_CONFIG_HOME", "")
				t.Setenv("GIT_CONFIG_SYSTEM", filepath.Join(home, "system"))
				t.Setenv("GIT_CONFIG_NOSYSTEM", "")
				if file == "gitinclude" {
					require.NoError(t, os.WriteFile(filepath.Join(home, ".gitconfig"), []byte("[include]\npath = ~/gitinclude\n"), 0o600))
				}
				name := filepath.Join(home, file)
				lost := file == ".ssh/config" // and with it where the host is
				if lost {
					require.NoError(t, os.Remove(name))
				}
				put(t, name)
				var log logBook
				f, err := fetcher.New(t.TempDir(), &fetcher.Options{
					Transport: w.Transport(), Insecure: modtest.Insecure, Private: "*", Logger: log.logger(),
				})
				require.NoError(t, err)
				defer f.Close()
				for _, query := range []string{"v1.0.0", "v1.1.0"} {
					_, err = f.Resolve(t.Context(), "git.test/simple", query)
					if lost {
						requireOutage(t, err, "ssh does not trust code.test")
						continue
					}
					require.NoError(t, err)
				}
				assert.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log.String())
				assert.Contains(t, log.String(), "file="+name)
			})
		}
	}
}

// What an option names must be there.
func TestNamedFiles(t *testing.T) {
	for fault, put := range faults {
		name := filepath.Join(t.TempDir(), "file")
		put(t, name)
		absent := filepath.Join(t.TempDir(), "absent")
		for _, o := range []fetcher.Options{{Netrc: name}, {GitConfig: name}, {Netrc: absent}, {GitConfig: absent}, {SSHDir: absent}, {SSHDir: "/dev/null"}} {
			_, err := fetcher.New(t.TempDir(), &o)
			assert.ErrorContains(t, err, "option", "%s: %+v", fault, o)
		}
	}
}
