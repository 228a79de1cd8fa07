package protocoltest_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
)

// Another process of the same store was faster, with another zip: nobody is told
// that the one they got is good, and the alarm is raised.
func TestZipLosesToAnother(t *testing.T) {
	for _, through := range []bool{false, true} {
		withFixture(t, through, func(b *fixture) {
			b.source(through).Add(athenstest.Example)
			open := b.store.Gate("commit")
			var wg sync.WaitGroup
			wg.Go(func() {
				w, cut := athenstest.Ask(b.Context(), b, athenstest.ZipPath)
				assert.True(t, cut || w.Code == http.StatusBadGateway, "%d", w.Code)
			})
			wg.Go(func() {
				err := b.Fill(b.Context(), athens.Fill{Module: athenstest.Example, Zip: true})
				var conflict *athens.ConflictError
				assert.ErrorAs(t, err, &conflict)
				assert.True(t, athens.Final(err))
			})
			synctest.Wait()
			other := athenstest.NewVersion(b, athenstest.Example, "b.go", "package a\n")
			stage, err := b.store.Store.Stage(b.Context())
			require.NoError(t, err)
			_, err = stage.Write(other.Zip)
			require.NoError(t, err)
			require.NoError(t, stage.Commit(b.Context(), athenstest.Example, other.Sum))
			require.NoError(t, stage.Close())
			open()
			wg.Wait()
			assert.EqualValues(t, 1, b.Stats().Conflicts)
			w, _ := athenstest.Ask(b.Context(), b, athenstest.ZipPath)
			assert.Equal(t, other.Zip, w.Body.Bytes(), "what is held stays")
		})
	}
}

// The same of .info and .mod: here the first one had another .mod.
func TestModLosesToAnother(t *testing.T) {
	withFixture(t, false, func(b *fixture) {
		b.vcs.Add(athenstest.Example)
		open := b.store.Gate("put")
		answers := b.crowd(b.Context(), 2, athenstest.InfoPath, athenstest.ModPath, athenstest.ZipPath)
		other := athenstest.NewVersion(b, athenstest.Example, "go.mod", "module example.com/m // other\n")
		athenstest.Hold(b, b.store.Store, other, true)
		open()
		for _, w := range answers() {
			assert.Equal(t, http.StatusBadGateway, w.Code)
			assert.Contains(t, w.Body.String(), "conflict")
			assert.Empty(t, w.Header().Get("Retry-After"))
		}
		assert.EqualValues(t, 1, b.Stats().Conflicts)
		w, _ := athenstest.Ask(b.Context(), b, athenstest.ModPath)
		assert.Equal(t, other.Mod, w.Body.Bytes())
	})
}

// identity is a value that a server puts into a request's context.
type identity struct{}

// What is shared by many runs as nobody in particular: with no value of the
// request that happened to come first, and with this server's Via mark.
func TestSharedWorkIsNobodys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := athenstest.NewSource(t, "vcs")
		src.Add(athenstest.Example)
		var mu sync.Mutex
		var seen []any
		h, err := athens.NewHandler(athenstest.NewStore(t), &athens.Options{
			Fetcher: src,
			Trace: func(ctx context.Context, _ string, _ module.Version) (context.Context, func(error)) {
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, ctx.Value(identity{}))
				return ctx, func(error) {}
			},
		})
		require.NoError(t, err)
		ctx := context.WithValue(t.Context(), identity{}, "somebody")
		for _, path := range []string{athenstest.ZipPath, athenstest.ListPath, athenstest.LatestPath, athenstest.QueryPath} {
			athenstest.Ask(ctx, h, path)
		}
		require.NoError(t, h.Shutdown(t.Context()))
		require.NotEmpty(t, seen)
		for _, who := range seen {
			assert.Nil(t, who)
		}
		for _, via := range src.Vias() {
			assert.Regexp(t, `^1\.1 athens-[a-z2-7]{26}$`, via)
		}
	})
}
