package protocoltest_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fill"
	"github.com/athens-go/athens/internal/athenstest"
)

// Shutdown waits for what is under way.
func TestShutdownWaits(t *testing.T) {
	for _, through := range []bool{false, true} {
		withFixture(t, through, func(b *fixture) {
			src := b.source(through)
			src.Add(athenstest.Example)
			open := src.Gate("zip")
			answers := b.crowd(b.Context(), 3, athenstest.ZipPath, athenstest.ListPath)
			done := make(chan error)
			go func() { done <- b.Shutdown(b.Context()) }()
			synctest.Wait()
			select {
			case <-done:
				t.Error("it did not wait")
			default:
			}
			open()
			require.NoError(t, <-done)
			for _, w := range answers() {
				assert.Equal(t, http.StatusOK, w.Code)
			}
			assert.Equal(t, []string{"info", "mod", "zip"}, athenstest.Held(t, b.store, athenstest.Example))

			w, _ := athenstest.Ask(b.Context(), b, athenstest.ZipPath)
			assert.Equal(t, http.StatusOK, w.Code, "what is held is served on")
			w, _ = athenstest.Ask(b.Context(), b, "/example.com/m/@v/v1.1.0.zip")
			assert.Equal(t, http.StatusServiceUnavailable, w.Code)
			assert.Equal(t, "5", w.Header().Get("Retry-After"))
			w, _ = athenstest.Ask(b.Context(), b, "/example.com/n/@v/list")
			assert.Equal(t, http.StatusServiceUnavailable, w.Code)
			assert.False(t, athens.Final(b.Fill(b.Context(), athens.Fill{Module: module.Version{Path: "example.com/m", Version: "v1.1.0"}})))
		})
	}
}

// Shutdown cuts off what takes too long, whatever it is.
func TestShutdownCutsOff(t *testing.T) {
	for _, c := range []struct {
		through bool
		kind    string
	}{
		{false, "fetch"}, {false, "info"}, {false, "mod"}, {false, "zip"}, {false, "list"}, {false, "latest"}, {false, "query"},
		{true, "info"}, {true, "mod"}, {true, "zip"}, {true, "list"},
	} {
		withFixture(t, c.through, func(b *fixture) {
			src := b.source(c.through)
			src.Add(athenstest.Example)
			src.Gate(c.kind) // never opened
			answers := b.crowd(b.Context(), 2, athenstest.InfoPath, athenstest.ModPath, athenstest.ZipPath, athenstest.ListPath, athenstest.LatestPath, athenstest.QueryPath)
			ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
			defer cancel()
			start := time.Now()
			require.ErrorIs(t, b.Shutdown(ctx), context.DeadlineExceeded)
			require.Equal(t, time.Minute, time.Since(start))
			failed := 0
			for _, w := range answers() {
				if w.Code != http.StatusOK && w.Code != http.StatusNotFound { // there is no branch main
					assert.Equal(t, http.StatusServiceUnavailable, w.Code)
					failed++
				}
			}
			if c.kind != "list" && c.kind != "latest" { // for those there is what is held
				assert.NotZero(t, failed, c.kind)
			}
		})
	}
}

// A store or source that ignores its context does not keep a server from ending.
func TestShutdownLeavesTheDeaf(t *testing.T) {
	withFixture(t, false, func(b *fixture) {
		b.vcs.Add(athenstest.Example)
		open := b.store.Gate("put")
		answers := b.crowd(b.Context(), 1, athenstest.InfoPath)
		ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		require.ErrorIs(t, b.Shutdown(ctx), context.DeadlineExceeded)
		assert.Equal(t, time.Minute+5*time.Second, time.Since(start))
		open()
		assert.GreaterOrEqual(t, answers()[0].Code, 500)
	})
}

// A zip that is owed, with nobody to run fills, ends with the handler.
func TestShutdownEndsDetachedWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		vcs, store := athenstest.NewSource(t, "vcs"), athenstest.NewStore(t)
		h, err := athens.NewHandler(store, &athens.Options{Fetcher: vcs, MaxDetached: 2})
		require.NoError(t, err)
		vcs.Gate("zip")
		for _, version := range []string{"v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0"} {
			vcs.Add(module.Version{Path: athenstest.Example.Path, Version: version})
			w, _ := athenstest.Ask(t.Context(), h, "/example.com/m/@v/"+version+".mod")
			require.Equal(t, http.StatusOK, w.Code)
		}
		synctest.Wait()
		zips := 0
		for _, kind := range vcs.Take() {
			if kind == "vcs.zip" {
				zips++
			}
		}
		assert.Equal(t, 2, zips, "no more at once than allowed")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, h.Shutdown(ctx), context.DeadlineExceeded)
		assert.Zero(t, store.Count("stages"))
	})
}

// The parts can be started and stopped again and again, in the midst of work,
// and nothing is left over: testing/synctest fails if a goroutine is.
func TestStartAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for i := range 50 {
			vcs, store := athenstest.NewSource(t, "vcs"), athenstest.NewStore(t)
			up := athenstest.NewUpstream(athenstest.NewSource(t, "upstream"), "http://registry.test/")
			for _, src := range []*athenstest.Source{vcs, up.Source} {
				src.Add(athenstest.Example)
			}
			fills, err := fill.New(nil)
			require.NoError(t, err)
			h, err := athens.NewHandler(store, &athens.Options{Fetcher: vcs, Upstream: up, Fills: fills, FillAfter: -1, MissFetch: i%2 == 0})
			require.NoError(t, err)
			ctx, stop := context.WithCancel(t.Context())
			var running, clients sync.WaitGroup
			running.Go(func() { require.NoError(t, fills.Run(ctx, h.Fill)) })
			for _, path := range []string{athenstest.InfoPath, athenstest.ModPath, athenstest.ZipPath, athenstest.ListPath, athenstest.LatestPath} {
				clients.Go(func() { athenstest.Ask(ctx, h, path) })
			}
			if i%3 == 0 {
				synctest.Wait()
			}
			if i%5 != 0 {
				clients.Wait() // as a server's Shutdown does
			}
			stop()
			running.Wait()
			require.NoError(t, h.Shutdown(t.Context()))
			clients.Wait()
			require.Zero(t, store.Count("stages"))
		}
	})
}

// A fill by a real scheduler resumes by itself when the upstream is back.
func TestFillsResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := athenstest.NewStore(t)
		up := athenstest.NewUpstream(athenstest.NewSource(t, "upstream"), "http://registry.test/")
		up.Add(athenstest.Example)
		up.Fail("", "down")
		up.Fail("location", "mended-by-cache") // it does not know yet
		fills, err := fill.New(nil)
		require.NoError(t, err)
		h, err := athens.NewHandler(store, &athens.Options{Upstream: up, Fills: fills})
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- fills.Run(ctx, h.Fill) }()
		w, _ := athenstest.Ask(t.Context(), h, athenstest.ZipPath)
		require.Equal(t, http.StatusFound, w.Code)
		time.Sleep(9 * time.Second)
		synctest.Wait()
		assert.Equal(t, []string{"upstream.location"}, up.Take(), "it gives the upstream time")
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Empty(t, athenstest.Held(t, store, athenstest.Example))
		up.Fail("", "")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		assert.Equal(t, []string{"info", "mod", "zip"}, athenstest.Held(t, store, athenstest.Example))
		stop()
		require.NoError(t, <-ended)
		require.NoError(t, h.Shutdown(t.Context()))
	})
}
