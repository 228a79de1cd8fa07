package storage_test

import (
	"context"
	"testing"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/storagetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
)

// registry is an upstream that speaks GOPROXY.
type registry struct {
	upstream
	athens.Upstream
}

func (r *registry) Fetch(ctx context.Context, m module.Version) (athens.Content, error) {
	return r.upstream.Fetch(ctx, m)
}

// A version whose .mod is not the go.mod of its zip, as the go command accepts one
// from a GOPROXY server, is sound, and can be repaired from an upstream.
func TestVerifyForeignZip(t *testing.T) {
	eachMedium(t, func(t *testing.T, m medium) {
		s := m.open(t)
		a := storagetest.NewSample("example.com/mod", "v1.0.0", "a")
		a.Mod = []byte("module example.com/mod\n\nrequire example.com/other v1.0.0\n")
		require.NoError(t, a.Store(t.Context(), s))
		require.Empty(t, problems(t, s, nil))

		source := &registry{upstream: upstream{samples: []storagetest.Sample{a}}}
		repair := &storage.VerifyOptions{Source: func(module.Version) athens.Fetcher { return source }}
		for _, ext := range []string{".mod", ".zip", ".ziphash", ".info"} {
			m.write(t, m.of(a, ext), []byte("rotten"))
			assert.Equal(t, []string{"v1.0.0" + ext + " damaged moved mended"}, withoutList(problems(t, s, repair)), ext)
			require.NoError(t, a.Whole(t.Context(), s), ext)
			require.Empty(t, problems(t, s, nil), ext)
		}

		// Without a record the zip is all that says what the .mod should be.
		require.NoError(t, m.Remove(m.of(a, ".record")))
		for c, err := range s.Verify(t.Context(), nil) {
			require.NoError(t, err)
			for _, p := range c.Problems {
				assert.ErrorContains(t, p.Err, "has no record")
			}
		}
	})
}
