//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package storage_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/storagetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hold takes all locks of a store, as another process would.
func hold(t *testing.T, dir string) (release func()) {
	t.Helper()
	var files []*os.File
	for n := range 64 {
		name := filepath.Join(dir, ".athens", "lock", fmt.Sprintf("%02d", n))
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o777))
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666)
		require.NoError(t, err)
		require.NoError(t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
		files = append(files, f)
	}
	return func() {
		for _, f := range files {
			f.Close()
		}
	}
}

// TestWaitForLock wants a Put that waits for another process to end with its
// context, and to go on once the other is done. Reading waits for nobody.
func TestWaitForLock(t *testing.T) {
	dir := t.TempDir()
	s := newDisk(t, dir)
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	b := storagetest.NewSample("example.com/mod", "v1.1.0", "")
	require.NoError(t, a.Put(t.Context(), s))
	synctest.Test(t, func(t *testing.T) {
		stage, err := s.Stage(t.Context())
		require.NoError(t, err)
		defer stage.Close()
		_, err = stage.Write(a.Zip)
		require.NoError(t, err)
		release := hold(t, dir)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, b.Put(ctx, s), context.DeadlineExceeded)
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, stage.Commit(ctx, a.Module, a.H1), context.DeadlineExceeded)
		require.NoError(t, a.Held(t.Context(), s))
		time.AfterFunc(time.Minute, release)
		start := time.Now()
		require.NoError(t, b.Put(t.Context(), s))
		assert.InDelta(t, time.Minute, time.Since(start), float64(50*time.Millisecond))
		require.NoError(t, stage.Commit(t.Context(), a.Module, a.H1))
		require.NoError(t, a.Whole(t.Context(), s))
	})
}

// Within the process, waiting for a lock ends with the context too.
func TestWaitWithinProcess(t *testing.T) {
	dir := t.TempDir()
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	synctest.Test(t, func(t *testing.T) {
		s := newDisk(t, dir)
		release := hold(t, dir)
		first := make(chan error, 1)
		go func() { first <- a.Put(t.Context(), s) }() // waits for the file lock
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, a.Put(ctx, s), context.DeadlineExceeded)
		release()
		require.NoError(t, <-first)
	})
}

// TestSweepWhileRunning wants a store that lives long to sweep now and then,
// and never what is alive.
func TestSweepWhileRunning(t *testing.T) {
	dir := t.TempDir()
	stages := filepath.Join(dir, ".athens", "stage")
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	synctest.Test(t, func(t *testing.T) {
		s := newDisk(t, dir)
		require.NoError(t, a.Put(t.Context(), s))
		live, err := s.Stage(t.Context())
		require.NoError(t, err)
		defer live.Close()
		_, err = live.Write(a.Zip)
		require.NoError(t, err)
		write(t, filepath.Join(stages, "zip-dead"), "")
		write(t, filepath.Join(stages, "63-dead"), "")
		write(t, filepath.Join(stages, "64-not-ours"), "")
		stage := func() {
			st, err := s.Stage(t.Context())
			require.NoError(t, err)
			require.NoError(t, st.Close())
		}
		stage()
		assert.Len(t, tree(t, stages), 4)
		time.Sleep(time.Hour)
		release := hold(t, dir)
		stage()
		release()
		assert.Len(t, tree(t, stages), 3, "63-dead may be of a Put that has the lock")
		time.Sleep(time.Hour)
		stage()
		assert.Len(t, tree(t, stages), 2)
		require.NoError(t, live.Commit(t.Context(), a.Module, a.H1))
		require.NoError(t, a.Whole(t.Context(), s))
	})
}

// TestSweepBesideStages opens the store again and again, and so sweeps, while
// stages are made: none may be taken for a dead process's, new as it is.
func TestSweepBesideStages(t *testing.T) {
	dir := t.TempDir()
	s := newDisk(t, dir)
	done := make(chan struct{})
	sweeper := make(chan error, 1)
	go func() {
		for {
			select {
			case <-done:
				sweeper <- nil
				return
			default:
			}
			if _, err := storage.NewDisk(dir, nil); err != nil {
				sweeper <- err
				return
			}
		}
	}()
	for range 300 {
		assert.NoError(t, s.Writable(t.Context()))
		stage, err := s.Stage(t.Context())
		require.NoError(t, err)
		// Beside it there may be one that the sweeper was faster with.
		assert.NotEmpty(t, tree(t, filepath.Join(dir, ".athens", "stage")))
		require.NoError(t, stage.Close())
	}
	close(done)
	require.NoError(t, <-sweeper)
}

// A stage whose file another process swept away says so, not "not held".
func TestStageSweptAway(t *testing.T) {
	dir := t.TempDir()
	s := newDisk(t, dir)
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	require.NoError(t, a.Put(t.Context(), s))
	stage := staged(t, s, a)
	require.NoError(t, os.RemoveAll(filepath.Join(dir, ".athens")))
	err := stage.Commit(t.Context(), a.Module, a.H1)
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, stage.Close())
	_, err = s.Open(t.Context(), a.Module, athens.ZipFile)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, a.Store(t.Context(), s))
}
