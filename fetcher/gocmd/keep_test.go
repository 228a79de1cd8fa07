package gocmd_test

import (
	"bytes"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher/gocmd"
	"github.com/athens-go/athens/internal/modtest"
)

// The .info, .mod and zip of a version, and of the same version asked for again,
// cost one fetch of the repository.
func TestKeptVersion(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, modtest.Ready(t, "simple")...)
	f := newFetcher(t, net, nil)
	m := module.Version{Path: "git.test/simple", Version: "v1.0.0"}
	c, err := f.Fetch(t.Context(), m)
	require.NoError(t, err)
	packs := net.Packs("")
	require.NotZero(t, packs)
	var all sync.WaitGroup
	zips := make([]bytes.Buffer, 5)
	for i := range zips {
		all.Go(func() {
			again, err := f.Fetch(t.Context(), m)
			if assert.NoError(t, err) {
				assert.NoError(t, again.Zip(t.Context(), &zips[i]))
			}
		})
	}
	all.Wait()
	var zip bytes.Buffer
	assert.NoError(t, c.Zip(t.Context(), &zip))
	for i := range zips {
		assert.Equal(t, zip.Bytes(), zips[i].Bytes())
	}
	assert.Equal(t, packs, net.Packs(""))
}

// When the folder is gone, the zip is of a new fetch, and of the same commit.
func TestForgottenVersion(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*gocmd.Options){
		"by time": func(o *gocmd.Options) { o.KeepTTL = time.Nanosecond },
		"by size": func(o *gocmd.Options) { o.MaxKeptBytes = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repo := modtest.NewRepo(t, "# Moves.\nrepo corp.test/moves\nwrite go.mod \"module corp.test/moves\\n\"\ncommit 2022-01-01T10:00:00Z One\ntag v1.0.0\ntag v0.9.0\n")
			net := modtest.NewInternet(t, repo)
			var dir string
			f := newFetcher(t, net, func(o *gocmd.Options) { change(o); dir = o.Dir })
			m := module.Version{Path: "corp.test/moves", Version: "v1.0.0"}
			c, err := f.Fetch(t.Context(), m)
			require.NoError(t, err)
			most := 0
			if name == "by size" { // the next one takes its place
				_, err := f.Fetch(t.Context(), module.Version{Path: "corp.test/moves", Version: "v0.9.0"})
				require.NoError(t, err)
				most = 1
			}
			require.Eventually(t, func() bool {
				left, err := os.ReadDir(dir)
				return err == nil && len(left) <= most
			}, time.Minute, 10*time.Millisecond)
			packs := net.Packs("")
			var zip bytes.Buffer
			if name == "by size" { // with no time at all, it may be gone again each time
				require.NoError(t, c.Zip(t.Context(), &zip))
				assert.Greater(t, net.Packs(""), packs)
				_, err := f.Fetch(t.Context(), module.Version{Path: "corp.test/moves", Version: "v0.9.0"})
				require.NoError(t, err)
			}
			repo.Run("write a.go \"package moves\\n\"\ncommit 2022-01-02T10:00:00Z Two\ntag v1.0.0\n")
			err = c.Zip(t.Context(), &zip)
			var outage *athens.UnavailableError
			assert.ErrorAs(t, err, &outage)
			assert.ErrorContains(t, err, "its tag was moved")
			info, err := c.Info(t.Context())
			require.NoError(t, err)
			c, err = f.Fetch(t.Context(), m)
			require.NoError(t, err)
			again, err := c.Info(t.Context())
			require.NoError(t, err)
			assert.NotEqual(t, info.Origin.Hash, again.Origin.Hash)
		})
	}
}
