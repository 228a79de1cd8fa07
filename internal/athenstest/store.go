package athenstest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/spf13/afero"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/storage"
)

// Store is a real store that counts its operations and fails as a test tells it to: before
// the operation has happened, or afterwards.
type Store struct {
	*storage.Store
	fs      afero.Fs
	ZipBase string // where zips can be had; empty: from this store only

	mu     sync.Mutex
	faults map[string]string // how an operation fails
	counts map[string]int    // of operations
	gates  map[string]chan struct{}
}

// NewStore returns an empty store in memory.
func NewStore(t testing.TB) *Store {
	fs := afero.NewMemMapFs()
	store, err := storage.New(fs, "/", nil)
	require.NoError(t, err)
	return &Store{Store: store, fs: fs, faults: map[string]string{}, counts: map[string]int{}, gates: map[string]chan struct{}{}}
}

// Fail makes one operation ("open", "put", "commit", …) fail from now on: "failed" before
// it has happened, "happened" afterwards, "full" because the disk is full, or "panic". With
// "" it succeeds again.
func (s *Store) Fail(op, how string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[op] = how
}

// Gate makes one operation wait until the returned function is called.
func (s *Store) Gate(op string) (open func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gate := make(chan struct{})
	s.gates[op] = gate
	return sync.OnceFunc(func() { close(gate) })
}

// Count returns how often an operation was called; for "stages", how many are open.
func (s *Store) Count(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[op]
}

// try runs an operation, unless it fails before, and returns its error.
func (s *Store) try(op string, do func() error) error {
	s.mu.Lock()
	s.counts[op]++
	how, gate := s.faults[op], s.gates[op]
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
	switch how {
	case "failed":
		return errors.New("input/output error")
	case "full":
		return &SyscallError{Err: syscall.ENOSPC}
	case "happened":
		if err := do(); err != nil {
			return err
		}
		return errors.New("input/output error")
	case "panic":
		panic("the store broke")
	}
	return do()
}

// SyscallError wraps an error of the operating system, as a store would.
type SyscallError struct{ Err error }

func (e *SyscallError) Error() string { return "write: " + e.Err.Error() }
func (e *SyscallError) Unwrap() error { return e.Err }

// Open opens a file, or fails as "open"; with "read" failing, the body breaks off.
func (s *Store) Open(ctx context.Context, m module.Version, f athens.File) (obj *athens.Object, err error) {
	err = s.try("open", func() error {
		obj, err = s.Store.Open(ctx, m, f)
		return err
	})
	if err == nil && s.how("read") == "failed" {
		obj.Body = brokenBody{obj.Body}
	}
	return obj, err
}

func (s *Store) how(op string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults[op]
}

// brokenBody is a file whose disk dies after the first bytes.
type brokenBody struct{ io.ReadSeekCloser }

func (b brokenBody) Read(p []byte) (int, error) {
	if at, _ := b.Seek(0, io.SeekCurrent); at > 0 {
		return 0, errors.New("input/output error")
	}
	return b.ReadSeekCloser.Read(p[:min(len(p), 5)])
}

// Put stores a version without its zip, or fails as "put". A gate of "stored" holds it up
// afterwards.
func (s *Store) Put(ctx context.Context, m module.Version, info *athens.Info, mod []byte) error {
	err := s.try("put", func() error { return s.Store.Put(ctx, m, info, mod) })
	if err == nil {
		err = s.try("stored", func() error { return nil })
	}
	return err
}

// ZipURL returns where clients find a zip, or fails as "zipurl".
func (s *Store) ZipURL(_ context.Context, m module.Version) (url string, err error) {
	err = s.try("zipurl", func() error {
		if s.ZipBase != "" {
			url = s.ZipBase + m.String()
		}
		return nil
	})
	return url, err
}

// Versions lists versions, or fails as "versions".
func (s *Store) Versions(ctx context.Context, path string) (versions []string, err error) {
	err = s.try("versions", func() error {
		versions, err = s.Store.Versions(ctx, path)
		return err
	})
	return versions, err
}

// Stage returns a stage, or fails as "stage". The stage itself fails as "write" and
// "commit".
func (s *Store) Stage(ctx context.Context) (stage athens.Stage, err error) {
	err = s.try("stage", func() error {
		stage, err = s.Store.Stage(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.counts["stages"]++
	s.mu.Unlock()
	return &faultyStage{Stage: stage, s: s}, nil
}

// GetSumDB reads an answer of a checksum database, or fails as "getsum".
func (s *Store) GetSumDB(ctx context.Context, name string) (data []byte, err error) {
	err = s.try("getsum", func() error {
		data, err = s.Store.GetSumDB(ctx, name)
		return err
	})
	return data, err
}

// PutSumDB stores an answer of a checksum database, or fails as "putsum".
func (s *Store) PutSumDB(ctx context.Context, name string, data []byte) error {
	return s.try("putsum", func() error { return s.Store.PutSumDB(ctx, name, data) })
}

// SumDBFiles lists the names under which answers of checksum databases are stored.
func (s *Store) SumDBFiles(t testing.TB) []string {
	var names []string
	err := afero.Walk(s.fs, "/sumdb", func(name string, info fs.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			names = append(names, strings.TrimPrefix(name, "/sumdb/"))
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return err
	})
	require.NoError(t, err)
	return names
}

type faultyStage struct {
	athens.Stage
	s     *Store
	close sync.Once
}

func (g *faultyStage) Write(p []byte) (n int, err error) {
	err = g.s.try("write", func() error {
		n, err = g.Stage.Write(p)
		return err
	})
	return n, err
}

func (g *faultyStage) Commit(ctx context.Context, m module.Version, h1 string) error {
	return g.s.try("commit", func() error { return g.Stage.Commit(ctx, m, h1) })
}

func (g *faultyStage) Close() error {
	g.close.Do(func() {
		g.s.mu.Lock()
		g.s.counts["stages"]--
		g.s.mu.Unlock()
	})
	return g.Stage.Close()
}

// HoldAs puts a version into a store: "mod" alone as in an adopted module cache,
// "meta" without its zip, "whole", or "no-info", again as in a module cache.
func HoldAs(t testing.TB, s *Store, v *modtest.Version, how string) {
	base, err := module.EscapePath(v.Path)
	require.NoError(t, err)
	version, err := module.EscapeVersion(v.Version.Version)
	require.NoError(t, err)
	base = "/" + base + "/@v/" + version
	if how == "mod" || how == "no-info" {
		require.NoError(t, afero.WriteFile(s.fs, base+".mod", v.Mod, 0o644))
		if how == "no-info" {
			require.NoError(t, afero.WriteFile(s.fs, base+".zip", v.Zip, 0o644))
		}
		return
	}
	Hold(t, s.Store, v, how == "whole")
}

// Hold puts a version into any store.
func Hold(t testing.TB, s athens.Storage, v *modtest.Version, zip bool) {
	var info athens.Info
	require.NoError(t, json.Unmarshal(v.Info, &info))
	require.NoError(t, s.Put(t.Context(), v.Version, &info, v.Mod))
	if !zip {
		return
	}
	stage, err := s.Stage(t.Context())
	require.NoError(t, err)
	defer stage.Close()
	_, err = bytes.NewReader(v.Zip).WriteTo(stage)
	require.NoError(t, err)
	require.NoError(t, stage.Commit(t.Context(), v.Version, v.Sum))
}

// Held returns which files of a version a store holds.
func Held(t testing.TB, s athens.Storage, m module.Version) []string {
	var held []string
	for _, f := range []athens.File{athens.InfoFile, athens.ModFile, athens.ZipFile} {
		if obj, err := s.Open(t.Context(), m, f); err == nil {
			require.NoError(t, obj.Body.Close())
			held = append(held, f.String())
		}
	}
	return held
}
