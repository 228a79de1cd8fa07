package pattern

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPrivateMatchesEverySpelling(t *testing.T) {
	p, err := ParsePrivate("corp.example.com/team, *.inner.test/,Git.test/x.git")
	require.NoError(t, err)
	for _, path := range []string{
		"corp.example.com/team", "corp.example.com/team/x", "CORP.example.com/Team", "!corp.example.com/!team", "corp.example.com./team",
		"corp.example.com:443/team", "corp.example.com.:443/team", "corp.example.com/team.git", "corp.example.com/team.v2/x", "Corp.example.com:8443/Team.GIT",
		"corp.example.com%2Fteam", "%63orp.example.com/team", "corp%252eexample.com/team", "https://corp.example.com/team", "git@corp.example.com:team/x",
		"corp.example.com//team", "a.inner.test", "A.Inner.test.:22", "git.test/x", "git.test/x.git/y", "git.test/X",
	} {
		assert.True(t, p.Match(path), path)
	}
	for _, path := range []string{"", "corp.example.com", "corp.example.com/teams", "example.com/team", "inner.test", "git.test", "corp.example.com.evil/team"} {
		assert.False(t, p.Match(path), path)
	}
	assert.Equal(t, "corp.example.com/team,*.inner.test,Git.test/x.git", p.String())
	for _, list := range []string{"[", "a.test,b[", "a.test b.test", "https://a.test"} {
		_, err := ParsePrivate(list)
		assert.Error(t, err, list)
	}
	none, err := ParsePrivate("none")
	require.NoError(t, err)
	assert.False(t, none.Match("none"))
	assert.False(t, none.Match("a.test"))
	assert.Empty(t, none.String())
}

func TestPrivateOfTheEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "env")
	require.NoError(t, os.WriteFile(file, []byte("# go env -w\nGOPRIVATE=file.test\nGONOPROXY=noproxy.test\n"), 0o600))
	for _, c := range []struct{ private, noproxy, goenv, want string }{
		{"a.test", "b.test", file, "a.test,b.test"},
		{"a.test,b.test", "b.test", file, "a.test,b.test"},
		{"", "b.test", file, "file.test,b.test"},
		{"", "", file, "file.test,noproxy.test"},
		{"none", "", file, "noproxy.test"},
		{"", "", "off", ""},
		{"", "", file + "/none", ""},
		{"a.test", "", filepath.Dir(file), "a.test"},
		{"a.test", "none", file, "a.test"},
	} {
		t.Setenv("GOPRIVATE", c.private)
		t.Setenv("GONOPROXY", c.noproxy)
		t.Setenv("GOENV", c.goenv)
		p, err := ParsePrivate("")
		require.NoError(t, err)
		assert.Equal(t, c.want, p.String(), "%+v", c)
		list, err := Environment()
		require.NoError(t, err)
		assert.Equal(t, c.want, list, "%+v", c)
		p, err = ParsePrivate("mine.test")
		require.NoError(t, err)
		assert.Equal(t, "mine.test", p.String(), "the option takes the place of the environment")
	}
	t.Setenv("GOPRIVATE", "a[")
	_, err := ParsePrivate("")
	assert.ErrorContains(t, err, "GOPRIVATE of the environment")
}
