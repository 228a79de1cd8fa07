package storage_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/storagetest"
	"github.com/spf13/afero"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
)

// counting is the operating system's file system, and counts what it is asked.
type counting struct {
	afero.Fs
	opening string // the folder of a store that is being opened
	mu      sync.Mutex
	calls   int            // opened, looked at, made, renamed, removed
	folders map[string]int // how often each was opened to read it
	entries int            // read from folders
	inHand  map[string]int // entries of the last read of each folder that is open
	most    struct{ entries, folders int }
	largest int // entries of one read, elsewhere than in an @v
}

func newCounting() *counting {
	c := &counting{Fs: afero.NewOsFs()}
	c.reset()
	return c
}

func (c *counting) reset() {
	c.calls, c.entries, c.largest = 0, 0, 0
	c.folders, c.inHand = map[string]int{}, map[string]int{}
	c.most.entries, c.most.folders = 0, 0
}

func (c *counting) call() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
}

func (c *counting) Open(name string) (afero.File, error) {
	c.call()
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	if name == c.opening {
		return f, nil
	}
	return &countedFile{f, c}, nil
}

func (c *counting) OpenFile(name string, flag int, perm fs.FileMode) (afero.File, error) {
	c.call()
	return c.Fs.OpenFile(name, flag, perm)
}

func (c *counting) Stat(name string) (fs.FileInfo, error) {
	c.call()
	return c.Fs.Stat(name)
}

func (c *counting) Mkdir(name string, perm fs.FileMode) error {
	c.call()
	return c.Fs.Mkdir(name, perm)
}

// countedFile is an open folder whose entries are counted.
type countedFile struct {
	*os.File
	c *counting
}

func (f *countedFile) ReadDir(n int) ([]fs.DirEntry, error) {
	entries, err := f.File.ReadDir(n)
	c := f.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.inHand[f.Name()]; !ok {
		c.folders[f.Name()]++
	}
	c.inHand[f.Name()] = len(entries)
	c.entries += len(entries)
	if filepath.Base(f.Name()) != "@v" {
		c.largest = max(c.largest, len(entries))
	}
	sum := 0
	for _, n := range c.inHand {
		sum += n
	}
	c.most.entries, c.most.folders = max(c.most.entries, sum), max(c.most.folders, len(c.inHand))
	return entries, err
}

func (f *countedFile) Close() error {
	f.c.mu.Lock()
	delete(f.c.inHand, f.Name())
	f.c.mu.Unlock()
	return f.File.Close()
}

// open opens the store in dir on c, with the system's own file for that folder:
// by it the store knows that the folder is the operating system's.
func (c *counting) open(t *testing.T, dir string) *storage.Store {
	t.Helper()
	c.reset()
	c.opening = dir
	s, err := storage.New(c, dir, nil)
	require.NoError(t, err)
	c.opening = ""
	return s
}

// manyDir is where a large tree is made: in memory, if there is room.
func manyDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "athens-many-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// TestManyVersions counts what a store of many versions costs: 20,000 of them,
// or a million if ATHENS_SOAK is set. Opening it looks at nothing that it holds,
// a list at its own module, and a walk over all keeps a part of a folder in hand.
func TestManyVersions(t *testing.T) {
	versions := 20_000
	if os.Getenv("ATHENS_SOAK") != "" {
		versions = 1_000_000
	}
	dir := manyDir(t)
	c := newCounting()
	s := c.open(t, dir)
	// What a first Put makes, and one on its way in that nobody ends.
	require.NoError(t, storagetest.NewSample("first.test/mod", "v1.0.0", "").Store(t.Context(), s))
	write(t, filepath.Join(dir, ".athens/stage/00-left"), "left by a process that died")
	c.open(t, dir)
	fresh := c.calls

	modtest.ManyVersions(t, dir, versions)
	write(t, filepath.Join(dir, ".athens/stage/00-left"), "left by a process that died")
	begun := time.Now()
	s = c.open(t, dir)
	t.Logf("opened in %v with %d calls", time.Since(begun), c.calls)
	assert.Equal(t, fresh, c.calls, "opening costs more in a store of %d versions", versions)
	assert.Equal(t, map[string]int{filepath.Join(dir, ".athens/stage"): 1}, c.folders, "folders read to open")
	assert.NoFileExists(t, filepath.Join(dir, ".athens/stage/00-left"))

	t.Run("list", func(t *testing.T) {
		c.reset()
		list, err := s.Versions(t.Context(), modtest.ManyLargest)
		require.NoError(t, err)
		assert.Len(t, list, modtest.ManyInLargest)
		assert.Equal(t, map[string]int{filepath.Join(dir, modtest.ManyLargest, "@v"): 1}, c.folders)
		assert.Equal(t, 2*modtest.ManyInLargest, c.entries, "an .info and a .mod each")
		assert.Equal(t, 1, c.calls)
	})
	t.Run("walk", func(t *testing.T) { walkMany(t, c, s, versions) })
}

// walkMany walks over the store of TestManyVersions.
func walkMany(t *testing.T, c *counting, s athens.Lister, versions int) {
	c.reset()
	begun, named, modules := time.Now(), 0, map[string]bool{}
	var last module.Version
	for m, err := range s.All(t.Context()) {
		require.NoError(t, err)
		if m.Path != last.Path {
			require.False(t, modules[m.Path], m)
			modules[m.Path] = true
		}
		last = m
		named++
	}
	t.Logf("walked over %d versions of %d modules in %v", named, len(modules), time.Since(begun))
	assert.Equal(t, versions+1, named)
	for name, n := range c.folders {
		assert.Equal(t, 1, n, "%s was read again", name)
	}
	assert.Equal(t, len(c.folders), c.calls, "it opens folders, and nothing else")
	assert.Equal(t, 256, c.largest, "entries of one read; an owner's folder has more")
	assert.LessOrEqual(t, c.most.folders, 5, "open at the same time: the store, the host, the owner, the module, its @v")
	assert.LessOrEqual(t, c.most.entries, 3*256+2*modtest.ManyInLargest)

	c.reset()
	for range s.All(t.Context()) {
		break
	}
	assert.Empty(t, c.inHand, "folders still open")
	assert.LessOrEqual(t, len(c.folders), 5, "read for the first version")
}

// What lies in the folder beside modules is passed over, and what can't be read
// is an error that does not end the walk.
func TestWalkPassesOver(t *testing.T) {
	dir := t.TempDir()
	s := newDisk(t, dir)
	for _, path := range []string{"a.test/mod", "b.test/mod", "c.test/mod"} {
		require.NoError(t, storagetest.NewSample(path, "v1.0.0", "").Store(t.Context(), s))
	}
	for _, name := range []string{
		"sumdb/sum.test/lookup/x@v1.0.0",          // the module cache's
		"cache/lock/@v/v1.0.0.mod",                // no host
		"a.test/mod@v1.0.0/@v/v1.0.0.mod",         // an extracted zip
		"a.test/Mod/@v/v1.0.0.mod",                // not escaped
		".athens/a.test/@v/v1.0.0.mod",            // this store's
		"a.test/mod/@v/v1.0.0.lock",               // the go command's
		"a.test/mod/@v/v2.0.0.mod",                // not of this path
		"a.test/mod/@v/v1.mod",                    // not canonical
		"a.test/mod/@v/v1.1.0.mod/file",           // a folder
		"a.test/.hidden/@v/v1.0.0.mod",            // no element of a path
		"a.test/mod/vcs/0123456789abcdef/objects", // leads to none
	} {
		write(t, filepath.Join(dir, filepath.FromSlash(name)), "x")
	}
	if err := os.Symlink(dir, filepath.Join(dir, "a.test", "loop")); err != nil {
		t.Log("no symbolic links here:", err)
	}
	var got []string
	for m, err := range s.All(t.Context()) {
		require.NoError(t, err)
		got = append(got, m.String())
	}
	assert.ElementsMatch(t, []string{"a.test/mod@v1.0.0", "b.test/mod@v1.0.0", "c.test/mod@v1.0.0"}, got)
}

// unreadable can't open a folder.
type unreadable struct {
	afero.Fs
	name string
}

func (u unreadable) Open(name string) (afero.File, error) {
	if strings.HasSuffix(filepath.ToSlash(name), u.name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return u.Fs.Open(name)
}

func TestWalkGoesOn(t *testing.T) {
	for name, path := range map[string]string{"b.test": "", "b.test/mod/@v": "b.test/mod"} {
		mem := afero.NewMemMapFs()
		s, err := storage.New(unreadable{mem, name}, "/", nil)
		require.NoError(t, err)
		whole, err := storage.New(mem, "/", nil)
		require.NoError(t, err)
		for _, path := range []string{"a.test/mod", "b.test/mod", "c.test/mod"} {
			require.NoError(t, storagetest.NewSample(path, "v1.0.0", "").Put(t.Context(), whole))
		}
		var got []string
		for m, err := range s.All(t.Context()) {
			if got = append(got, m.String()); err != nil {
				require.ErrorIs(t, err, fs.ErrPermission)
				assert.Equal(t, module.Version{Path: path}, m)
			}
		}
		assert.ElementsMatch(t, []string{"a.test/mod@v1.0.0", module.Version{Path: path}.String(), "c.test/mod@v1.0.0"}, got)
		for range s.All(t.Context()) {
			break
		}
	}
	gone, err := storage.NewDisk(filepath.Join(t.TempDir(), "store"), nil)
	require.NoError(t, err)
	for range gone.All(t.Context()) {
		t.Error("something in an empty store")
	}
}
