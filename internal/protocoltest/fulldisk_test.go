package protocoltest_test

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/afero"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fill"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/storage"
)

// fillingFs is a disk that has room for a number of changes, and then for none.
type fillingFs struct {
	afero.Fs
	mu   sync.Mutex
	room int
	met  bool // there was no room for something
}

func (f *fillingFs) set(room int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.room = room
}

// take takes the room for one change.
func (f *fillingFs) take() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.room--; f.room < 0 {
		f.met = true
		return &fs.PathError{Op: "write", Path: "disk", Err: syscall.ENOSPC}
	}
	return nil
}

func (f *fillingFs) OpenFile(name string, flag int, perm fs.FileMode) (afero.File, error) {
	if flag&os.O_CREATE != 0 {
		if err := f.take(); err != nil {
			return nil, err
		}
	}
	file, err := f.Fs.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &fillingFile{file, f}, nil
}

func (f *fillingFs) Mkdir(name string, perm fs.FileMode) error {
	if err := f.take(); err != nil {
		return err
	}
	return f.Fs.Mkdir(name, perm)
}

func (f *fillingFs) Rename(from, to string) error {
	if err := f.take(); err != nil { // a folder may have to grow for the name
		return err
	}
	return f.Fs.Rename(from, to)
}

type fillingFile struct {
	afero.File
	fs *fillingFs
}

func (f *fillingFile) Write(p []byte) (int, error) {
	if err := f.fs.take(); err != nil {
		n, _ := f.File.Write(p[:len(p)/2]) // the last block had room for some
		return n, err
	}
	return f.File.Write(p)
}

// Sync fails where the system found out late.
func (f *fillingFile) Sync() error {
	if err := f.fs.take(); err != nil {
		return err
	}
	return f.File.Sync()
}

// TestDiskFillsUp lets the disk be full from each change on, at a server of each
// kind. It answers 507 or 503, or what a source said before it came to storing,
// never 404 or 500; it serves what is held; and when there is room again, its
// fills come to their end.
func TestDiskFillsUp(t *testing.T) {
	held := module.Version{Path: athenstest.Example.Path, Version: "v0.9.0"}
	for _, kind := range []string{"registry", "fetch", "redirect"} {
		t.Run(kind, func(t *testing.T) {
			at := 0
			for met := true; met; at++ {
				synctest.Test(t, func(t *testing.T) { met = fillUp(t, kind, held, at) })
			}
			assert.Greater(t, at, 20, "changes of a disk that a version takes")
			t.Logf("full at each of %d changes", at)
		})
	}
}

// fillUp has room for a number of changes, and reports whether more was needed.
func fillUp(t *testing.T, kind string, held module.Version, room int) (met bool) {
	disk := &fillingFs{Fs: afero.NewMemMapFs(), room: 1000}
	store, err := storage.New(disk, "/store", nil)
	require.NoError(t, err)
	athenstest.Hold(t, store, athenstest.NewVersion(t, held), true)
	src := athenstest.NewSource(t, kind)
	v := src.Add(athenstest.Example)
	fills, err := fill.New(nil)
	require.NoError(t, err)
	opts := &athens.Options{Fetcher: src, Fills: fills, FillAfter: -1, FillWhole: true, MissingTTL: -1}
	if kind != "registry" {
		opts.Upstream, opts.MissFetch = athenstest.NewUpstream(src, "http://registry.test/"), kind == "fetch"
	}
	h, err := athens.NewHandler(store, opts)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- fills.Run(ctx, h.Fill) }()

	disk.set(room)
	for _, path := range []string{athenstest.InfoPath, athenstest.ModPath, athenstest.ZipPath, athenstest.ModPath} {
		w, cut := athenstest.Ask(ctx, h, path)
		if !cut { // a client that sees its connection cut asks again
			assert.Contains(t, []int{http.StatusOK, http.StatusFound, http.StatusInsufficientStorage, http.StatusServiceUnavailable}, w.Code, "%s: %s", path, w.Body)
		}
		for _, ext := range []string{"info", "mod", "zip"} {
			w, cut := athenstest.Ask(ctx, h, fmt.Sprintf("/%s/@v/%s.%s", held.Path, held.Version, ext))
			assert.False(t, cut)
			assert.Equal(t, http.StatusOK, w.Code, w.Body)
		}
	}
	synctest.Wait()
	disk.set(1000)
	time.Sleep(time.Hour) // nobody asks again
	synctest.Wait()
	assert.Equal(t, []string{"info", "mod", "zip"}, athenstest.Held(t, store, athenstest.Example), "with room for %d changes at first", room)
	for path, want := range map[string][]byte{athenstest.ModPath: v.Mod, athenstest.ZipPath: v.Zip} {
		w, _ := athenstest.Ask(ctx, h, path)
		assert.Equal(t, string(want), w.Body.String())
	}
	stop()
	require.NoError(t, <-ended)
	require.NoError(t, h.Shutdown(t.Context()))
	left, err := afero.ReadDir(disk, "/store/.athens/stage")
	require.NoError(t, err)
	assert.Empty(t, left, "left over, with room for %d changes at first", room)
	return disk.met
}
