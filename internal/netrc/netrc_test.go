package netrc_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/netrc"
)

func Example() {
	f := netrc.Parse("machine git.example.com login alice password s3cret\n")
	e, ok := f.Lookup("git.example.com")
	fmt.Println(e.Login, e.Password, ok)
	_, ok = f.Lookup("example.com")
	fmt.Println(ok)
	// Output:
	// alice s3cret true
	// false
}

func TestParse(t *testing.T) {
	for name, tc := range map[string]struct{ text, login, password string }{
		"one line":        {"machine h.test login a password b", "a", "b"},
		"lines":           {"machine h.test\n\tlogin a\n\tpassword b\n", "a", "b"},
		"value below":     {"machine\nh.test\nlogin\na\npassword\nb\n", "a", "b"},
		"crlf":            {"machine h.test\r\nlogin a\r\npassword b\r\n", "a", "b"},
		"first wins":      {"machine h.test login a password b\nmachine h.test login c password d", "a", "b"},
		"quoted":          {`machine h.test login "a b" password "c\"d"`, "a b", `c"d`},
		"comment":         {"# machine h.test login x password y\nmachine h.test login a password b", "a", "b"},
		"hash in a word":  {"machine h.test login a password #b", "a", "#b"},
		"macro":           {"macdef init\nmachine h.test login x password y\n\nmachine h.test login a password b", "a", "b"},
		"default":         {"default login a password b", "a", "b"},
		"default is last": {"default login x password y\nmachine h.test login a password b", "a", "b"},
		"account":         {"machine h.test account z login a password b", "a", "b"},
		"case":            {"machine H.Test login a password b", "a", "b"},
		"other host":      {"machine g.test login x password y", "", ""},
		"empty entry":     {"machine h.test\ndefault login a password b", "a", "b"},
		"cut short":       {"machine h.test login a password", "a", ""},
	} {
		t.Run(name, func(t *testing.T) {
			e, ok := netrc.Parse(tc.text).Lookup("h.test")
			assert.Equal(t, tc.login != "", ok)
			assert.Equal(t, tc.login, e.Login)
			assert.Equal(t, tc.password, e.Password)
		})
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	f, err := netrc.Load(filepath.Join(dir, "none"))
	require.NoError(t, err)
	_, ok := f.Lookup("h.test")
	assert.False(t, ok)

	name := filepath.Join(dir, "netrc")
	require.NoError(t, os.WriteFile(name, []byte("machine h.test login a password b"), 0o600))
	f, err = netrc.Load(name)
	require.NoError(t, err)
	_, ok = f.Lookup("h.test")
	assert.True(t, ok)

	require.NoError(t, os.WriteFile(name, []byte(strings.Repeat(" ", netrc.MaxSize+1)), 0o600))
	_, err = netrc.Load(name)
	assert.ErrorContains(t, err, "longer than")

	t.Setenv("NETRC", name)
	assert.Equal(t, name, netrc.DefaultPath())
}

func FuzzParse(f *testing.F) {
	f.Add("machine h.test login a password b\nmacdef x\ny\n\ndefault login \"c")
	f.Fuzz(func(t *testing.T, text string) {
		if e, ok := netrc.Parse(text).Lookup("h.test"); ok && e.Login == "" && e.Password == "" {
			t.Errorf("an empty entry was kept: %+v", e)
		}
	})
}
