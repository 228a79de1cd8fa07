package storage_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"testing"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/storagetest"
	"github.com/spf13/afero"
	"github.com/stretchr/testify/require"
)

// journal is a file system that writes down what happened to it, so that what
// a power cut may leave can be made of it: what was synced, and of the rest
// whatever the medium pleased. (A kill -9 loses nothing; this is the harder test.)
type journal struct {
	afero.Fs
	ids  map[string]int // of what has a name now; the root is 0
	next int
	log  []event
}

type event struct {
	what string // "name", "unname", "data", "sync", or a mark of the test
	dir  int    // the folder of a name
	name string
	id   int
	data []byte
}

func newJournal() *journal {
	return &journal{Fs: afero.NewMemMapFs(), ids: map[string]int{"/": 0}, next: 1}
}

func (j *journal) add(e event) { j.log = append(j.log, e) }

// link notes that name now means id, which is new if it is 0.
func (j *journal) link(name string, id int) {
	if id == 0 {
		id, j.next = j.next, j.next+1
	}
	j.ids[name] = id
	j.add(event{what: "name", dir: j.ids[path.Dir(name)], name: path.Base(name), id: id})
}

func (j *journal) unlink(name string) {
	j.add(event{what: "unname", dir: j.ids[path.Dir(name)], name: path.Base(name)})
	delete(j.ids, name)
}

func (j *journal) Mkdir(name string, perm fs.FileMode) error {
	err := j.Fs.Mkdir(name, perm)
	if err == nil {
		j.add(event{what: "dir", id: j.next})
		j.link(name, 0)
	}
	return err
}

func (j *journal) Rename(from, to string) error {
	err := j.Fs.Rename(from, to)
	if err == nil {
		id := j.ids[from]
		j.link(to, id)
		j.unlink(from)
	}
	return err
}

func (j *journal) Remove(name string) error {
	err := j.Fs.Remove(name)
	if err == nil {
		j.unlink(name)
	}
	return err
}

func (j *journal) OpenFile(name string, flag int, perm fs.FileMode) (afero.File, error) {
	f, err := j.Fs.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	if flag&os.O_CREATE != 0 {
		j.link(name, 0)
	}
	return &journalFile{File: f, j: j, id: j.ids[name]}, nil
}

type journalFile struct {
	afero.File
	j  *journal
	id int
}

func (f *journalFile) Write(p []byte) (int, error) {
	f.j.add(event{what: "data", id: f.id, data: append([]byte(nil), p...)})
	return f.File.Write(p)
}

func (f *journalFile) Sync() error {
	f.j.add(event{what: "sync", id: f.id})
	return f.File.Sync()
}

// luck says what a power cut leaves of what was not synced: of the nth name
// that changed in a folder, and of the bytes of a file.
type luck struct {
	name  func(n int) bool
	bytes func(n int) int
}

var (
	all  = func(int) bool { return true }
	none = func(int) bool { return false }
	// lucks are from all lost to all there.
	lucks = map[string]luck{
		"nothing":              {none, func(int) int { return 0 }},
		"names without bytes":  {all, func(int) int { return 0 }},
		"names and half bytes": {all, func(n int) int { return n / 2 }},
		"bytes without names":  {none, func(n int) int { return n }},
		"even names":           {func(n int) bool { return n%2 == 0 }, func(int) int { return 0 }},
		"odd names":            {func(n int) bool { return n%2 == 1 }, func(int) int { return 0 }},
		"everything":           {all, func(n int) int { return n }},
	}
)

// after returns what the medium has after the first n events.
func (j *journal) after(t *testing.T, n int, l luck) afero.Fs {
	t.Helper()
	synced := map[int]int{} // the last time that each was, plus one
	isDir := map[int]bool{0: true}
	for i, e := range j.log[:n] {
		switch e.what {
		case "sync":
			synced[e.id] = i + 1
		case "dir":
			isDir[e.id] = true
		}
	}
	names, changed := map[int]map[string]int{}, map[int]int{}
	bytes, loose := map[int][]byte{}, map[int][]byte{}
	for i, e := range j.log[:n] {
		switch e.what {
		case "name", "unname":
			if i >= synced[e.dir] {
				changed[e.dir]++
				if !l.name(changed[e.dir]) {
					continue
				}
			}
			if names[e.dir] == nil {
				names[e.dir] = map[string]int{}
			}
			if delete(names[e.dir], e.name); e.what == "name" {
				names[e.dir][e.name] = e.id
			}
		case "data":
			if i < synced[e.id] {
				bytes[e.id] = append(bytes[e.id], e.data...)
			} else {
				loose[e.id] = append(loose[e.id], e.data...)
			}
		}
	}
	medium := afero.NewMemMapFs()
	var fill func(dir string, id int)
	fill = func(dir string, id int) {
		for name, id := range names[id] {
			name = filepath.Join(dir, name)
			if isDir[id] {
				require.NoError(t, medium.Mkdir(name, 0o777))
				fill(name, id)
				continue
			}
			data := append(append([]byte(nil), bytes[id]...), loose[id][:l.bytes(len(loose[id]))]...)
			require.NoError(t, afero.WriteFile(medium, name, data, 0o666))
		}
	}
	fill("/", 0)
	return medium
}

func TestPowerCut(t *testing.T) {
	j := newJournal()
	s, err := storage.New(j, "/store", nil)
	require.NoError(t, err)
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "a")
	moved := storagetest.NewSample("example.com/mod", "v1.0.0", "b")
	require.NoError(t, a.Put(t.Context(), s))
	put := len(j.log)
	require.NoError(t, a.Commit(t.Context(), s))
	committed := len(j.log)
	states := map[string]int{}
	for n := range committed + 1 {
		for name, l := range lucks {
			t.Run(fmt.Sprintf("%d/%s", n, name), func(t *testing.T) {
				medium := j.after(t, n, l)
				s, err := storage.New(medium, "/store", nil)
				require.NoError(t, err)
				state := stateOf(t, s, a)
				states[state]++
				switch {
				case n == committed:
					require.Equal(t, "whole", state, "Commit had returned")
				case n >= put:
					require.NotEqual(t, "absent", state, "Put had returned")
				}
				next := a
				if state == "absent" {
					next = moved
				}
				require.NoError(t, next.Store(t.Context(), s))
				require.NoError(t, next.Whole(t.Context(), s))
			})
		}
	}
	for _, state := range []string{"absent", "held", "whole"} {
		require.NotZero(t, states[state], state)
	}
}

// TestPowerCutAfterDeath cuts the power after a second process has repeated
// what a first one died of, perhaps without having changed anything.
func TestPowerCutAfterDeath(t *testing.T) {
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "a")
	for name, step := range map[string]struct {
		do, want func(context.Context, athens.Storage) error
	}{
		"Put":    {a.Put, a.Held},
		"Commit": {a.Store, a.Whole},
	} {
		for at := 1; ; at++ {
			j := newJournal()
			dying := &faulty{Fs: j, err: os.ErrProcessDone, at: at, dies: true}
			if s, err := storage.New(dying, "/store", nil); err == nil {
				_ = step.do(t.Context(), s)
			}
			s, err := storage.New(j, "/store", nil)
			require.NoError(t, err)
			require.NoError(t, step.do(t.Context(), s))
			for cut, l := range lucks {
				s, err := storage.New(j.after(t, len(j.log), l), "/store", nil)
				require.NoError(t, err)
				require.NoError(t, step.want(t.Context(), s), "dead at change %d of %s, cut leaves %s", at, name, cut)
			}
			if dying.now < at {
				break
			}
		}
	}
}

// TestPowerCutAfterRival cuts the power after a Commit that found the zip of a
// process that died meanwhile.
func TestPowerCutAfterRival(t *testing.T) {
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "a")
	for at := 1; ; at++ {
		j := newJournal()
		s, err := storage.New(j, "/store", nil)
		require.NoError(t, err)
		require.NoError(t, a.Put(t.Context(), s))
		dying := &faulty{Fs: j, err: os.ErrProcessDone, at: at, dies: true}
		if rival, err := storage.New(dying, "/store", nil); err == nil {
			_ = a.Commit(t.Context(), rival)
		}
		require.NoError(t, a.Commit(t.Context(), s))
		for cut, l := range lucks {
			s, err := storage.New(j.after(t, len(j.log), l), "/store", nil)
			require.NoError(t, err)
			require.NoError(t, a.Whole(t.Context(), s), "rival dead at change %d, cut leaves %s", at, cut)
		}
		if dying.now < at {
			return
		}
	}
}

// TestPowerCutAfterAdoption cuts the power when Put and Commit had nothing to
// do, because others had left these files without a sync.
func TestPowerCutAfterAdoption(t *testing.T) {
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "a")
	info, err := json.Marshal(a.Info)
	require.NoError(t, err)
	for _, hash := range []string{a.H1, "torn"} {
		j := newJournal()
		for _, dir := range []string{"/store", "/store/example.com", "/store/example.com/mod", "/store/example.com/mod/@v"} {
			require.NoError(t, j.Mkdir(dir, 0o777))
		}
		for ext, content := range map[string]string{
			"info": string(info), "mod": string(a.Mod), "zip": string(a.Zip), "ziphash": hash,
		} {
			f, err := j.OpenFile("/store/example.com/mod/@v/v1.0.0."+ext, os.O_WRONLY|os.O_CREATE, 0o666)
			require.NoError(t, err)
			_, err = f.Write([]byte(content))
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}
		require.NoError(t, afero.WriteFile(j.Fs, "/store/example.com/mod/@v/list", []byte("v1.0.0\n"), 0o666))
		s, err := storage.New(j, "/store", nil)
		require.NoError(t, err)
		for _, step := range []struct {
			do, want func(context.Context, athens.Storage) error
		}{{a.Put, a.Held}, {a.Commit, a.Whole}} {
			require.NoError(t, step.do(t.Context(), s))
			for name, l := range lucks {
				s, err := storage.New(j.after(t, len(j.log), l), "/store", nil)
				require.NoError(t, err)
				require.NoError(t, step.want(t.Context(), s), name)
			}
		}
	}
}
