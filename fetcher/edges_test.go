package fetcher_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modtest"
)

// edgeRepos are repositories with what is too long for a script in a file. They
// are made only where they are wanted: TestMemory measures this program, too.
func edgeRepos() map[string]string {
	return map[string]string{
		"a large license": fmt.Sprintf(`# A license that is too large for a zip, inherited and not.
repo git.test/edge
offer git.test/edge@v1.0.0 git.test/edge/sub@v1.0.0
write go.mod "module git.test/edge\n"
write sub/go.mod "module git.test/edge/sub\n"
write LICENSE "%s\n"
commit 2021-01-01T10:00:00Z Large
tag v1.0.0
tag sub/v1.0.0
`, strings.Repeat("x", 17<<20)),
		"deep": fmt.Sprintf(`# Folders deeper than usual.
repo git.test/edge
offer git.test/edge@v1.0.0
write go.mod "module git.test/edge\n"
write a.txt a
git hash-object -w a.txt
rm a.txt
commit 2021-01-01T10:00:00Z Deep
git update-index --add --cacheinfo 100644,2e65efe2a145dda7ee51d1741299f848e5bf752e,%s/a.txt
git commit -q --amend -m Deep
tag v1.0.0
`, strings.TrimSuffix(strings.Repeat("d/", 1100), "/")),
		"names": fmt.Sprintf(`# Names as long as they get, and names that are none.
repo git.test/edge
offer git.test/edge@v1.1.0 git.test/edge@v1.2.0 git.test/edge@v1.3.0 git.test/edge@v1.4.0 git.test/edge@v1.5.0
write go.mod "module git.test/edge\n"
write %s a
commit 2021-01-02T10:00:00Z Long
tag v1.1.0
write "not\xff.txt" a
commit 2021-01-03T10:00:00Z "Not UTF-8"
tag v1.2.0
rm "not\xff.txt"
write "line\nend.txt" a
commit 2021-01-04T10:00:00Z "A line end"
tag v1.3.0
rm "line\nend.txt"
write "nested/not\xff.txt" a
write nested/go.mod "module git.test/edge/nested\n"
commit 2021-01-05T10:00:00Z "Not UTF-8, but in another module"
tag v1.4.0
write "back\\slash" a
commit 2021-01-06T10:00:00Z "A backslash"
tag v1.5.0
`, strings.Repeat("n", 255)),
		"dates": `# Commits at the edges of time.
repo git.test/edge
offer git.test/edge@first git.test/edge@far git.test/edge@farther git.test/edge@latest git.test/edge@{pseudo:v0.none:first} git.test/edge@{pseudo:v0.none:far} git.test/edge@{pseudo:v0.none:zone}
write go.mod "module git.test/edge\n"
commit 1970-01-01T00:00:00Z First
branch first
write a.txt a
commit 2021-01-01T10:00:00+14:00 Zone
branch zone
write b.txt a
commit 2150-01-01T10:00:00Z Far
branch far
write c.txt a
commit 9999-12-31T23:59:59Z Farther
branch farther
`,
	}
}

// TestEdges compares what is at a limit.
func TestEdges(t *testing.T) {
	t.Parallel()
	for name, script := range edgeRepos() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			interop(t, "edge-"+name, modtest.NewRepo(t, script))
		})
	}
}

// TestLargeGoMod fetches a go.mod that is too large for a zip: the go command
// gives .info and .mod of such a version, and no more.
func TestLargeGoMod(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, modtest.NewRepo(t, fmt.Sprintf(`# A go.mod of 17 MiB.
repo git.test/large
write go.mod "module git.test/large\n//%s\n"
commit 2021-01-01T10:00:00Z Large
tag v1.0.0
`, strings.Repeat("x", 17<<20))))
	f := newFetcher(t, net, nil)
	direct := modtest.NewGo(t, net).Download("git.test/large@v1.0.0")[0]
	require.Contains(t, direct.Error, "go.mod file too large")
	require.NotNil(t, direct.Stored)

	c, err := f.Fetch(t.Context(), module.Version{Path: "git.test/large", Version: "v1.0.0"})
	require.NoError(t, err)
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	assert.Equal(t, modtest.JSON(t, direct.Stored), modtest.JSON(t, info))
	mod, err := c.Mod(t.Context())
	require.NoError(t, err)
	want, err := os.ReadFile(direct.GoMod)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(want, mod))
	err = c.Zip(t.Context(), io.Discard)
	assert.ErrorAs(t, err, new(*athens.InvalidError))
	assert.ErrorContains(t, err, "go.mod file too large")
}
