package fetcher_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// TestOddHeads compares what is the default branch of repositories whose HEAD is no
// branch.
func TestOddHeads(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{
		"tag": "ref: refs/tags/x1.0.0", "elsewhere": "ref: refs/other/x", "tag object": "{tag}", "tree": "{tree}", "unreached": "ref: refs/other/y", "detached": "{y}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repo := modtest.NewRepo(t, `# A repository that is given another HEAD.
repo git.test/head
offer git.test/head@{refs/other/y~1} git.test/head@latest git.test/head@HEAD git.test/head@{refs/other/y} git.test/head@{pseudo:v0.1.0:refs/other/y} git.test/head@{pseudo:v0.none:refs/other/y}

write go.mod "module git.test/head\n"
commit 2021-01-01T10:00:00Z a
tag v0.1.0
tag -a x1.0.0 2021-01-01T10:00:00Z annotated
write a b
commit 2021-01-02T10:00:00Z b
git update-ref refs/other/x HEAD
write a c
commit 2021-01-03T10:00:00Z c
branch y
checkout y
write a d
commit 2021-01-04T10:00:00Z d
write a e
commit 2021-01-05T10:00:00Z e
git update-ref refs/other/y HEAD
checkout main
git branch -D y
`)
			switch head {
			case "{tag}":
				head = revParse(repo, "x1.0.0")
			case "{y}":
				head = revParse(repo, "refs/other/y")
			case "{tree}":
				head = revParse(repo, "main^{tree}")
			}
			require.NoError(t, os.WriteFile(filepath.Join(repo.Dir(), "HEAD"), []byte(head+"\n"), 0o600))
			interop(t, "head-"+name, repo)
		})
	}
}

// A server that lacks history can serve its tags. What else the go command makes
// of it depends on what it has fetched before.
func TestShallowServer(t *testing.T) {
	repo := modtest.NewRepo(t, `# Its history will be cut before b.
repo git.test/cut
offer git.test/cut@v1.0.0 git.test/cut@v1.1.0 git.test/cut@latest git.test/cut@{v1.1.0:12} git.test/cut@main git.test/cut@HEAD

write go.mod "module git.test/cut\n"
commit 2021-01-01T10:00:00Z a
tag v1.0.0
write a b
commit 2021-01-02T10:00:00Z b
tag v1.1.0
write a c
commit 2021-01-03T10:00:00Z c
`)
	require.NoError(t, os.WriteFile(filepath.Join(repo.Dir(), "shallow"), []byte(repo.Hash("v1.1.0")+"\n"), 0o600))
	require.Error(t, exec.Command("git", "-C", repo.Dir(), "rev-parse", "--verify", "v1.1.0~1").Run())
	interop(t, "shallow", repo)
	f := newFetcher(t, modtest.NewInternet(t, repo), nil)
	// What the branch descends from shows in what it takes no history to fetch; whether
	// it descends from v1.0.0 does not.
	_, err := f.Resolve(t.Context(), "git.test/cut", "main")
	assert.NoError(t, err)
	_, err = f.Resolve(t.Context(), "git.test/cut", pseudo(repo, "v1.0.0", "main"))
	assert.ErrorIs(t, err, errors.ErrUnsupported)
}
