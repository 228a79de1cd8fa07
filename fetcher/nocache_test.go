package fetcher_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/internal/modtest"
)

// A tag that was just pushed shows to a question that must not be answered from memory,
// and from then on to all.
func TestNoCache(t *testing.T) {
	repo := modtest.NewRepo(t, "# A module whose author pushes a tag.\nrepo git.test/pushed\nwrite go.mod \"module git.test/pushed\\n\"\nwrite a.go \"package a\\n\"\ncommit 2022-01-01T10:00:00Z Begin\ntag v1.0.0\n")
	f := newFetcher(t, modtest.NewInternet(t, repo), func(o *fetcher.Options) { o.RefsTTL = time.Hour })
	list := func(want ...string) {
		t.Helper()
		got, err := f.Versions(t.Context(), "git.test/pushed")
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	list("v1.0.0")
	require.NoError(t, os.WriteFile(filepath.Join(repo.Dir(), "refs", "tags", "v1.1.0"), []byte(repo.Hash("v1.0.0")+"\n"), 0o666))
	list("v1.0.0")
	info, err := f.Resolve(athens.RequestInfo{NoCache: true}.Context(t.Context()), "git.test/pushed", "latest")
	require.NoError(t, err)
	assert.Equal(t, "v1.1.0", info.Version)
	list("v1.0.0", "v1.1.0")
}
