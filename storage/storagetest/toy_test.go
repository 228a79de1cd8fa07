package storagetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/athens-go/athens"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// medium is what a toy keeps versions in.
type medium struct {
	mu       sync.Mutex
	versions map[module.Version]*entry
	lists    map[string][]string
	sums     map[string][]byte
	marks    map[module.Version]athens.BlockedError
	looks    int // Opens so far
	arrived  int // Puts and Commits that came to where they can be raced
}

type entry struct {
	info, mod, zip []byte
	held           athens.Info
	h1             string
}

// toy is a Storage that is right if bug is empty. Else it breaks one promise,
// and says where by the bug's name.
type toy struct {
	*medium
	bug string
}

func newMedium() *medium {
	return &medium{versions: map[module.Version]*entry{}, lists: map[string][]string{}, marks: map[module.Version]athens.BlockedError{}}
}

// pause unlocks the medium until done, which runs with the lock, is true or
// long enough has been waited for it. That makes a race sure to happen.
func (t *toy) pause(done func() bool) {
	for range 100_000 {
		if done() {
			return
		}
		t.mu.Unlock()
		runtime.Gosched()
		t.mu.Lock()
	}
}

// seen pauses until somebody has looked at what is there, some times.
func (t *toy) seen() {
	until := t.looks + 8
	t.pause(func() bool { return t.looks >= until })
}

// meet pauses until a rival has come as far.
func (t *toy) meet() {
	t.arrived++
	until := t.arrived + 1
	t.pause(func() bool { return t.arrived >= until })
}

func (t *toy) key(m module.Version) module.Version {
	if t.bug == "names fold case" {
		return module.Version{Path: strings.ToLower(m.Path), Version: strings.ToLower(m.Version)}
	}
	return m
}

func (t *toy) Open(ctx context.Context, m module.Version, f athens.File) (*athens.Object, error) {
	if err := ctx.Err(); err != nil && t.bug != "canceled Open" {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.looks++
	if err := t.removal(m, "open"); err != nil {
		return nil, err
	}
	var data []byte
	if e := t.versions[t.key(m)]; e != nil {
		data = map[athens.File][]byte{athens.InfoFile: e.info, athens.ModFile: e.mod, athens.ZipFile: e.zip}[f]
	}
	if data == nil && f == athens.ZipFile && t.bug == "put has a zip" && t.versions[t.key(m)] != nil {
		data = []byte{}
	}
	if data == nil {
		if t.bug == "missing is another error" {
			return nil, errors.New("not here")
		}
		return nil, fs.ErrNotExist
	}
	obj := &athens.Object{Body: body{bytes.NewReader(data)}, Size: int64(len(data)), ETag: `"1"`}
	switch t.bug {
	case "object has wrong size":
		obj.Size++
	case "object has weak tag":
		obj.ETag = "1"
	case "object can't seek":
		obj.Body = stubborn{obj.Body}
	}
	return obj, nil
}

type body struct{ *bytes.Reader }

func (body) Close() error { return nil }

type stubborn struct{ io.ReadSeekCloser }

func (stubborn) Seek(int64, int) (int64, error) { return 0, nil }

func (t *toy) Put(ctx context.Context, m module.Version, info *athens.Info, mod []byte) error {
	if err := ctx.Err(); err != nil && t.bug != "canceled Put" {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.removal(m, "put"); err != nil {
		return err
	}
	key := t.key(m)
	e := t.versions[key]
	if t.bug == "put-race" {
		t.meet()
	}
	if e != nil {
		return t.again(e, m, info, mod)
	}
	data, err := info.Encode()
	switch {
	case t.bug == "raw is written anew":
		data, err = json.Marshal(info)
	case err != nil && t.bug == "raw-invalid is stored":
		data, err = info.Raw, nil
	}
	if err != nil {
		return &athens.InvalidError{Path: m.Path, Version: m.Version, Err: err}
	}
	data = bytes.Clone(data)
	held := *info
	if info.Origin != nil {
		origin := *info.Origin
		held.Origin = &origin
	}
	e = &entry{held: held, info: data, mod: bytes.Clone(mod)}
	switch t.bug {
	case "put forgets":
		e.mod = nil
	case "put keeps the slice":
		e.mod = mod
	case "put-together":
		e.mod = nil
	case "put-together, other order":
		e.info = nil
	}
	t.versions[key] = e
	if strings.HasPrefix(t.bug, "put-together") {
		t.seen()
		e.info, e.mod = data, bytes.Clone(mod)
	}
	list := slices.Clone(t.lists[key.Path])
	if t.bug == "put-many" {
		t.meet()
	}
	t.lists[key.Path] = append(list, key.Version)
	return nil
}

func (t *toy) again(e *entry, m module.Version, info *athens.Info, mod []byte) error {
	conflict := func(f athens.File) error {
		return &athens.ConflictError{Module: m, File: f, Held: "what was", Got: "what is"}
	}
	switch {
	case t.bug == "same-again is an error":
		return errors.New("exists")
	case t.bug == "same-again overwrites":
		e.info, _ = json.Marshal(info)
		return nil
	case !bytes.Equal(e.mod, mod) && t.bug != "conflict-mod" &&
		(t.bug != "conflict-mod-shorter" || !bytes.HasPrefix(e.mod, mod)):
		switch t.bug {
		case "conflict-mod is another error":
			return errors.New("conflict")
		case "conflict-mod changes it":
			e.mod = bytes.Clone(mod)
		case "conflict-mod names another version":
			m.Version = "v9.9.9"
		}
		return conflict(athens.ModFile)
	case e.held.Version != info.Version && t.bug != "conflict-version",
		!e.held.Time.Equal(info.Time) && t.bug != "conflict-time" && (info.Raw == nil || t.bug == "raw-same compares times"),
		t.bug == "same-again compares zones" && e.held.Time != info.Time:
		return conflict(athens.InfoFile)
	case e.held.Origin == nil || info.Origin == nil || t.bug == "conflict-commit":
		return nil
	case e.held.Origin.Hash != info.Origin.Hash && info.Origin.Hash != "" && e.held.Origin.Hash != "":
		return conflict(athens.InfoFile)
	}
	return nil
}

func (t *toy) Versions(ctx context.Context, path string) ([]string, error) {
	if err := ctx.Err(); err != nil && t.bug != "canceled Versions" {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	list := slices.Clone(t.lists[t.key(module.Version{Path: path}).Path])
	switch t.bug {
	case "missing list is an error":
		if list == nil {
			return nil, fs.ErrNotExist
		}
	case "versions sort as text":
		slices.Sort(list)
		return list, nil
	case "versions leave out pseudo":
		list = slices.DeleteFunc(list, module.IsPseudoVersion)
	case "versions of what lies below":
		for other, more := range t.lists {
			if strings.HasPrefix(other, path+"/") {
				list = append(list, more...)
			}
		}
	}
	semver.Sort(list)
	return list, nil
}

func (t *toy) Stage(ctx context.Context) (athens.Stage, error) {
	if err := ctx.Err(); err != nil && t.bug != "canceled Stage" {
		return nil, err
	}
	return &toyStage{toy: t}, nil
}

type toyStage struct {
	*toy
	data      []byte
	committed bool
	closed    bool
	m         module.Version
}

func (s *toyStage) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data = append(s.data, p...)
	return len(p), nil
}

func (s *toyStage) ReadAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.committed && s.bug == "read-committed" {
		return 0, fs.ErrClosed
	}
	data := s.data
	if s.bug == "read-beside lags" {
		data = data[:len(data)/1024*1024]
	}
	if s.bug == "read-beside ends early" && int(off)+len(p) > len(data) {
		return 0, io.EOF
	}
	return bytes.NewReader(data).ReadAt(p, off)
}

func (s *toyStage) Commit(ctx context.Context, m module.Version, h1 string) error {
	if err := ctx.Err(); err != nil && s.bug != "canceled Commit" {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.removal(m, "commit"); err != nil {
		return err
	}
	e := s.versions[s.key(m)]
	switch {
	case s.closed:
		return fs.ErrClosed
	case e == nil && s.bug == "commit-before-put is another error":
		return errors.New("no such version")
	case e == nil:
		return fs.ErrNotExist
	}
	free := e.zip == nil
	if strings.HasPrefix(s.bug, "commit-race") || s.bug == "commit-same-race" {
		s.meet()
	}
	switch {
	case free && s.bug == "commit-same-race" && e.zip != nil:
		return errors.New("somebody else was faster")
	case free, s.bug == "commit-again" && e.h1 == h1, s.bug == "commit-conflict":
		e.zip, e.h1 = s.data, h1
	case e.h1 != h1:
		if s.bug == "commit-conflict changes it" {
			e.zip = s.data
		}
		return &athens.ConflictError{Module: m, File: athens.ZipFile, Held: e.h1, Got: h1}
	}
	switch s.bug {
	case "commit loses bytes":
		e.zip = e.zip[:len(e.zip)/2]
	case "commit-together":
		e.zip = s.data[:len(s.data)/2]
		s.seen()
		e.zip = s.data
	}
	s.committed, s.m = true, m
	return nil
}

func (s *toyStage) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed && s.bug == "discard, second Close":
		return fs.ErrClosed
	case s.closed:
		return nil
	case s.bug == "close-committed" && s.committed:
		s.versions[s.key(s.m)].zip = nil
	case s.bug == "discard keeps" && !s.committed:
		for _, e := range s.versions {
			e.zip = s.data
		}
	}
	s.closed = true
	return nil
}
