package athens_test

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
)

// Another process of the same store was faster, with another zip: nobody is told
// that the one they got is good, and the alarm is raised.
func TestZipLosesToAnother(t *testing.T) {
	for _, through := range []bool{false, true} {
		inBubble(t, through, func(b *bubble) {
			b.source(through).add(example)
			open := b.store.gate("commit")
			var wg sync.WaitGroup
			wg.Go(func() {
				w, cut := ask(b.Context(), b, zipPath)
				assert.True(t, cut || w.Code == http.StatusBadGateway, "%d", w.Code)
			})
			wg.Go(func() {
				err := b.Fill(b.Context(), athens.Fill{Module: example, Zip: true})
				var conflict *athens.ConflictError
				assert.ErrorAs(t, err, &conflict)
				assert.True(t, athens.Final(err))
			})
			synctest.Wait()
			other := newVersion(b, example, "b.go", "package a\n")
			stage, err := b.store.Store.Stage(b.Context())
			require.NoError(t, err)
			_, err = stage.Write(other.Zip)
			require.NoError(t, err)
			require.NoError(t, stage.Commit(b.Context(), example, other.Sum))
			require.NoError(t, stage.Close())
			open()
			wg.Wait()
			assert.EqualValues(t, 1, b.Stats().Conflicts)
			w, _ := ask(b.Context(), b, zipPath)
			assert.Equal(t, other.Zip, w.Body.Bytes(), "what is held stays")
		})
	}
}

// The same of .info and .mod: here the first one had another .mod.
func TestModLosesToAnother(t *testing.T) {
	inBubble(t, false, func(b *bubble) {
		b.vcs.add(example)
		open := b.store.gate("put")
		answers := b.crowd(b.Context(), 2, infoPath, modPath, zipPath)
		other := newVersion(b, example, "go.mod", "module example.com/m // other\n")
		holdIn(b, b.store.Store, other, true)
		open()
		for _, w := range answers() {
			assert.Equal(t, http.StatusBadGateway, w.Code)
			assert.Contains(t, w.Body.String(), "conflict")
			assert.Empty(t, w.Header().Get("Retry-After"))
		}
		assert.EqualValues(t, 1, b.Stats().Conflicts)
		w, _ := ask(b.Context(), b, modPath)
		assert.Equal(t, other.Mod, w.Body.Bytes())
	})
}

// identity is a value that a server puts into a request's context.
type identity struct{}

// What is shared by many runs as nobody in particular: with no value of the
// request that happened to come first, and with this server's Via mark.
func TestSharedWorkIsNobodys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t, "vcs")
		src.add(example)
		var mu sync.Mutex
		var seen []any
		h, err := athens.NewHandler(newFaultyStore(t), &athens.Options{
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
		for _, path := range []string{zipPath, listPath, latestPath, queryPath} {
			ask(ctx, h, path)
		}
		require.NoError(t, h.Shutdown(t.Context()))
		require.NotEmpty(t, seen)
		for _, who := range seen {
			assert.Nil(t, who)
		}
		for _, via := range src.vias {
			assert.Regexp(t, `^1\.1 athens-[a-z2-7]{26}$`, via)
		}
	})
}
