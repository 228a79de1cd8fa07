package durable_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/athens-go/athens/internal/durable"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// disk is the operating system's file system. It writes down what is done to
// it, and fails the calls that fail names.
type disk struct {
	log  []string
	fail map[string]error
}

func (d *disk) note(call string, names ...string) error {
	for i, name := range names {
		names[i] = filepath.Base(name)
	}
	call += " " + strings.Join(names, " ")
	d.log = append(d.log, call)
	return d.fail[call]
}

func (d *disk) OpenFile(name string, flag int, perm fs.FileMode) (*file, error) {
	f, err := os.OpenFile(name, flag, perm)
	return &file{f, d}, err
}

func (d *disk) Mkdir(name string, perm fs.FileMode) error {
	if err := d.note("mkdir", name); err != nil {
		return err
	}
	return os.Mkdir(name, perm)
}

func (d *disk) Rename(from, to string) error {
	if err := d.note("rename", "tmp", to); err != nil {
		return err
	}
	return os.Rename(from, to)
}

func (d *disk) Remove(name string) error {
	return errors.Join(d.note("remove", "tmp"), os.Remove(name))
}

func (d *disk) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

type file struct {
	*os.File
	d *disk
}

func (f *file) name() string {
	if strings.HasPrefix(filepath.Base(f.Name()), "tmp-") {
		return "tmp"
	}
	return f.Name()
}

func (f *file) Write(p []byte) (int, error) {
	if err := f.d.note("write", f.name()); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f *file) Sync() error { return errors.Join(f.d.note("sync", f.name()), f.File.Sync()) }

func (f *file) Close() error {
	err := f.File.Close()
	if f.name() == "tmp" {
		return errors.Join(f.d.note("close", "tmp"), err)
	}
	return err
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	require.NoError(t, os.Mkdir(dir, 0o777))
	steps := []string{"write tmp", "sync tmp", "close tmp", "rename tmp dst", "sync dir"}
	for i, bad := range append(steps, "") {
		d := &disk{fail: map[string]error{bad: syscall.EIO}}
		dst := filepath.Join(dir, "dst")
		require.NoError(t, os.WriteFile(dst, []byte("old"), 0o666))
		f, tmp, err := durable.Create(d, dir, "tmp-")
		require.NoError(t, err)
		err = durable.Write(d, f, tmp, dst, []byte("new"))
		data, rerr := os.ReadFile(dst)
		require.NoError(t, rerr)
		if bad == "" {
			require.NoError(t, err)
			assert.Equal(t, steps, d.log)
		} else {
			require.ErrorIs(t, err, syscall.EIO, bad)
			assert.Equal(t, "remove tmp", d.log[len(d.log)-1])
			assert.Equal(t, 1, strings.Count(strings.Join(d.log, ","), "close tmp"))
		}
		want := "old"
		if i >= 4 { // the last step fails after the file has its name
			want = "new"
		}
		assert.Equal(t, want, string(data), bad)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		assert.Len(t, entries, 1, bad)
	}
}

func TestCreate(t *testing.T) {
	d, dir := &disk{}, t.TempDir()
	var names []string
	for range 100 {
		f, name, err := durable.Create(d, dir, "tmp-")
		require.NoError(t, err)
		require.NoError(t, f.Close())
		names = append(names, strings.ToLower(name)) // some file systems don't tell case
	}
	slices.Sort(names)
	assert.Len(t, slices.Compact(names), 100)
	_, _, err := durable.Create(d, filepath.Join(dir, "missing"), "tmp-")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestMkdirAll(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	require.NoError(t, os.MkdirAll(filepath.Join(root, "a"), 0o777))
	all := []string{"mkdir a", "sync root", "mkdir b", "sync a", "mkdir c", "sync b"}
	for range 2 { // what is there is synced too: its maker may have died before it was
		d := &disk{}
		require.NoError(t, durable.MkdirAll(d, root, filepath.Join(root, "a", "b", "c")))
		assert.Equal(t, all, d.log)
	}
	for _, bad := range []string{"mkdir b", "sync a", "sync root"} {
		d := &disk{fail: map[string]error{bad: syscall.EACCES}}
		err := durable.MkdirAll(d, root, filepath.Join(root, "a", "b", "c"))
		require.ErrorIs(t, err, syscall.EACCES)
		assert.Equal(t, bad, d.log[len(d.log)-1], "it went on")
	}
	d := &disk{}
	require.NoError(t, durable.MkdirAll(d, root, root))
	assert.Empty(t, d.log)
	require.NoError(t, os.WriteFile(filepath.Join(root, "file"), nil, 0o666))
	require.Error(t, durable.MkdirAll(d, root, filepath.Join(root, "file", "below")))
}

func TestSyncDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	require.NoError(t, os.Mkdir(dir, 0o777))
	for err, want := range map[error]error{
		nil: nil, syscall.EINVAL: nil, syscall.ENOTSUP: nil, syscall.EIO: syscall.EIO, syscall.ENOSPC: syscall.ENOSPC,
	} {
		d := &disk{fail: map[string]error{"sync dir": err}}
		require.ErrorIs(t, durable.SyncDir(d, dir), want, fmt.Sprint(err))
	}
	require.ErrorIs(t, durable.SyncDir(&disk{}, filepath.Join(dir, "missing")), fs.ErrNotExist)
}

func TestExisting(t *testing.T) {
	d, dir := &disk{}, t.TempDir()
	for _, below := range []string{"", "a", "a/b/c"} {
		got, err := durable.Existing(d, filepath.Join(dir, filepath.FromSlash(below)))
		require.NoError(t, err)
		assert.Equal(t, dir, got)
	}
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o666))
	_, err := durable.Existing(d, filepath.Join(file, "below"))
	require.Error(t, err, "not a folder")
}

// Write replaces a file whole or not at all.
func ExampleWrite() {
	dir, err := os.MkdirTemp("", "durable-*")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	d := &disk{}
	f, tmp, err := durable.Create(d, dir, "tmp-")
	if err == nil {
		err = durable.Write(d, f, tmp, filepath.Join(dir, "state"), []byte("done"))
	}
	data, rerr := os.ReadFile(filepath.Join(dir, "state"))
	fmt.Println(string(data), err, rerr)
	// Output: done <nil> <nil>
}
