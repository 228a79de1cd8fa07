package vcstest_test

import (
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest/vcstest"
)

// The scripts say themselves what must come out; two are enough to see that
// they do, and fetcher/ makes all of them.
func TestBuild(t *testing.T) {
	src := vcstest.Open(t)
	for _, name := range []string{"git/gitrepo1", "go/v2module"} {
		require.Contains(t, append(src.Names("git"), src.Names("go")...), name)
	}
	repo := src.Build(t, "git/gitrepo1")
	assert.Equal(t, "git", repo.VCS)
	assert.Contains(t, repo.Run("git", "tag"), "v1.2.4-annotated\n")
	w := httptest.NewRecorder()
	repo.Handler("/r").ServeHTTP(w, httptest.NewRequest("GET", "/r/info/refs?service=git-upload-pack", nil))
	assert.Contains(t, w.Body.String(), "refs/tags/v2.0.2")

	page := src.Build(t, "go/v2module")
	w = httptest.NewRecorder()
	page.Handler("/m").ServeHTTP(w, httptest.NewRequest("GET", "/m/v2/?go-get=1", nil))
	assert.Contains(t, w.Body.String(), "go-import")
}

func TestTables(t *testing.T) {
	src := vcstest.Open(t)
	rows := src.Table(t, "codeRepoTests")
	assert.Greater(t, len(rows), 40)
	for _, row := range rows {
		assert.NotEmpty(t, row.Text("path"))
		assert.True(t, row.Text("err") != "" || !row.Time("time").IsZero(), "%v", row)
	}
	assert.NotEmpty(t, src.Table(t, "codeRepoVersionsTests")[0].List("versions"))
}
