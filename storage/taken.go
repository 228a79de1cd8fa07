package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/durable"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// takenName is the file in a module's folder with the marks of its versions, see
// [athens.Remover]: one JSON object a line. A module without marks has none.
//
//	{"Version":"v1.0.0","Removed":true,"Reason":"malware","Time":"2026-11-28T20:41:40Z"}
//
// A removal begins when this file names it. What a kill then leaves of the version's
// files is not served, and the next [New], or the next Remove, deletes it.
const takenName = "taken"

// maxTaken bounds that file in bytes.
const maxTaken = 16 << 20

// takenMark is a mark as the file has it.
type takenMark struct {
	Removed bool // otherwise it is hidden
	Reason  string
	Time    time.Time // when it was marked, UTC
	// Restored says that the version was removed and restored, and not Put again yet: its
	// record stands alone, and nothing is lost.
	Restored bool `json:",omitempty"`
}

// takenLine is one line of it.
type takenLine struct {
	Version string
	takenMark
}

// readTaken returns the marks in the folder of a module.
func (s *Store) readTaken(dir string) (map[string]takenMark, error) {
	name := filepath.Join(dir, takenName)
	data, err := s.readSmall(name, maxTaken)
	if isAbsent(err) || err == nil && len(data) == 0 {
		return nil, nil
	}
	if err == nil && len(data) > maxTaken {
		err = errors.New("it is too large")
	}
	if err != nil {
		return nil, err
	}
	marks, err := parseTaken(data)
	if err != nil {
		return nil, fmt.Errorf("the marks in %s are damaged, restore that file: %w", name, err)
	}
	return marks, nil
}

// parseTaken reads the lines of the file.
func parseTaken(data []byte) (map[string]takenMark, error) {
	marks := map[string]takenMark{}
	for line := range bytes.Lines(data) {
		var t takenLine
		if err := json.Unmarshal(line, &t); err != nil {
			return nil, err
		}
		if module.CanonicalVersion(t.Version) != t.Version || t.Version == "" {
			return nil, fmt.Errorf("%.80q is no version", t.Version)
		}
		marks[t.Version] = t.takenMark
	}
	return marks, nil
}

// encodeTaken is the reverse of parseTaken, in semantic version order.
func encodeTaken(marks map[string]takenMark) ([]byte, error) {
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	versions := slices.Collect(maps.Keys(marks))
	semver.Sort(versions)
	for _, v := range versions {
		if err := lines.Encode(takenLine{v, marks[v]}); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// removal returns an [athens.BlockedError] if m was removed.
func (s *Store) removal(m module.Version, base string) error {
	marks, err := s.readTaken(filepath.Dir(base))
	if err != nil {
		return err
	}
	if mark, ok := marks[m.Version]; ok && mark.Removed {
		return &athens.BlockedError{Path: m.Path, Version: m.Version, Reason: mark.Reason, Removed: true}
	}
	return nil
}

// putAgain drops the note of m that it was restored, once m is held again, for a caller
// that has lock n.
func (s *Store) putAgain(n int, m module.Version, base string) error {
	dir := filepath.Dir(base)
	marks, err := s.readTaken(dir)
	if err != nil || !marks[m.Version].Restored {
		return err
	}
	delete(marks, m.Version)
	return s.writeTaken(n, dir, marks)
}

// isRemoved reports whether err says that a version was removed.
func isRemoved(err error) bool {
	removed, ok := errors.AsType[*athens.BlockedError](err)
	return ok && removed.Removed
}

// refused is the error of an operation on what was removed, or may have been.
func (s *Store) refused(op string, m module.Version, err error) error {
	if isRemoved(err) {
		return err
	}
	return fault(op, m, err)
}

// Marks returns the marks of a module's versions.
func (s *Store) Marks(ctx context.Context, path string) (map[string]athens.BlockedError, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dir, err := s.folder(path)
	var taken map[string]takenMark
	if err == nil {
		taken, err = s.readTaken(dir)
	}
	if err == nil && taken == nil {
		err = s.alive()
	}
	if err != nil {
		return nil, fault("marks", module.Version{Path: path}, err)
	}
	var marks map[string]athens.BlockedError
	for v, mark := range taken {
		if !mark.Restored {
			if marks == nil {
				marks = make(map[string]athens.BlockedError, len(taken))
			}
			marks[v] = athens.BlockedError{Path: path, Version: v, Reason: mark.Reason, Removed: mark.Removed}
		}
	}
	return marks, nil
}

// Remove marks m as removed and deletes its files, those in quarantine too. The record
// stays, so that a restored version is what it was.
func (s *Store) Remove(ctx context.Context, m module.Version, reason string) error {
	return s.take(ctx, "remove", m, &takenMark{Removed: true, Reason: reason})
}

// Hide marks m as hidden: the list file leaves it out.
func (s *Store) Hide(ctx context.Context, m module.Version, reason string) error {
	return s.take(ctx, "hide", m, &takenMark{Reason: reason})
}

// Restore takes the mark of m away.
func (s *Store) Restore(ctx context.Context, m module.Version) error {
	return s.take(ctx, "restore", m, nil)
}

// Evict deletes the files of m and its record.
func (s *Store) Evict(ctx context.Context, m module.Version) error {
	return s.withLock(ctx, "evict", m, func(t *taking) error {
		return t.change("\n"+m.Version, func() error { return s.wipe(m.Path, t.dir, m.Version, false) })
	})
}

// take sets the mark of m; nil is none.
func (s *Store) take(ctx context.Context, op string, m module.Version, mark *takenMark) error {
	return s.withLock(ctx, op, m, func(t *taking) error {
		marks, err := s.readTaken(t.dir)
		if err != nil {
			return err
		}
		was, marked := marks[m.Version]
		if mark == nil && (!marked || was.Restored) {
			return nil
		}
		if marks == nil {
			marks = map[string]takenMark{}
		}
		delete(marks, m.Version)
		switch {
		case mark != nil:
			mark.Time = time.Now().UTC().Truncate(time.Second)
			marks[m.Version] = *mark
		case was.Removed:
			marks[m.Version] = takenMark{Restored: true}
		}
		if err := s.makeFolder(module.Version{Path: m.Path}, t.dir); err != nil {
			return err
		}
		return t.change("", func() error {
			// What a removal that was cut off has left goes before the mark does.
			if was.Removed {
				if err := s.wipe(m.Path, t.dir, m.Version, true); err != nil {
					return err
				}
			}
			if err := s.writeTaken(t.lock, t.dir, marks); err != nil {
				return err
			}
			if mark != nil && mark.Removed {
				return s.wipe(m.Path, t.dir, m.Version, true)
			}
			return nil
		})
	})
}

// taking is a change of one version that has the module's lock.
type taking struct {
	*Store
	m    module.Version
	dir  string // the module's folder
	lock int
}

// withLock runs do with the lock of m's module.
func (s *Store) withLock(ctx context.Context, op string, m module.Version, do func(*taking) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	base, err := s.base(m)
	if err != nil {
		return fault(op, m, err)
	}
	n := lockOf(m.Path)
	unlock, err := s.locks.lock(ctx, n)
	if err != nil {
		return s.unlocked(ctx, op, m, err)
	}
	err = do(&taking{s, m, filepath.Dir(base), n})
	unlock()
	if err != nil {
		return fault(op, m, err)
	}
	s.repairLists()
	return nil
}

// change runs do, after which the module's list may be another. A note says so until the
// list is on the medium; more is what the note says beside the module's path.
func (t *taking) change(more string, do func() error) (err error) {
	note := t.note(t.lock, t.m.Path)
	defer func() { t.dropNote(note, err) }()
	if err := t.writeNote(note, t.m.Path+more); err != nil {
		return err
	}
	defer t.forget(t.m)
	if err := do(); err != nil {
		return err
	}
	written, err := t.writeList(t.lock, t.m.Path, t.dir)
	if isAbsent(err) {
		return t.alive() // there is no folder: nothing was held
	}
	if err == nil && written {
		err = durable.SyncDir(t.fs, t.dir)
	}
	return err
}

// forget drops what is remembered of m.
func (s *Store) forget(m module.Version) {
	s.known.Delete(m)
	for _, f := range []athens.File{athens.InfoFile, athens.ModFile, athens.ZipFile} {
		s.small.Delete(fileKey{m, f})
	}
}

// writeTaken writes the marks of a module, for a caller that has lock n.
func (s *Store) writeTaken(n int, dir string, marks map[string]takenMark) error {
	name := filepath.Join(dir, takenName)
	if len(marks) == 0 {
		if err := s.fs.Remove(name); err != nil && !isAbsent(err) {
			return err
		}
		return durable.SyncDir(s.fs, dir)
	}
	data, err := encodeTaken(marks)
	if err == nil && len(data) > maxTaken {
		err = fmt.Errorf("the marks of this module would have more than %d bytes", maxTaken)
	}
	if err != nil {
		return err
	}
	return s.writeFile(n, name, data)
}

// wipe deletes the files of a version, the .mod first: without it nothing is held. The
// record goes last, so that what a kill leaves still binds.
func (s *Store) wipe(path, dir, version string, keepRecord bool) error {
	esc, err := module.EscapeVersion(version)
	if err != nil {
		return err
	}
	gone := false
	for _, e := range []string{ext(athens.ModFile), ext(athens.ZipFile), hashExt, ext(athens.InfoFile), recordExt} {
		if e == recordExt && keepRecord {
			continue
		}
		err := s.fs.Remove(filepath.Join(dir, esc+e))
		if err != nil && !isAbsent(err) {
			return err
		}
		gone = gone || err == nil
	}
	if gone {
		if err := durable.SyncDir(s.fs, dir); err != nil {
			return err
		}
	}
	return s.wipeQuarantined(path, dir, version)
}

// wipeQuarantined deletes what lies in quarantine of a version.
func (s *Store) wipeQuarantined(path, dir, version string) error {
	below, err := filepath.Rel(s.dir, dir)
	if err != nil {
		return err
	}
	bad := filepath.Join(s.inside(badDir), below)
	names, err := s.names(bad)
	if isAbsent(err) {
		return nil
	}
	for _, name := range names {
		for _, e := range []string{ext(athens.InfoFile), ext(athens.ModFile), ext(athens.ZipFile)} {
			head, number, _ := strings.Cut(name, e)
			if v, ok := versionOf(path, head+e, e); !ok || v != version || strings.Trim(number, ".0123456789") != "" {
				continue
			}
			if rerr := s.fs.Remove(filepath.Join(bad, name)); rerr != nil && !isAbsent(rerr) {
				err = errors.Join(err, rerr)
			}
		}
	}
	return err
}

// wipeLeft deletes what a kill has left of removed versions of a module, and of the one
// that was being evicted.
func (s *Store) wipeLeft(path, dir, evicted string) error {
	if evicted != "" {
		if err := s.wipe(path, dir, evicted, false); err != nil {
			return err
		}
	}
	marks, err := s.readTaken(dir)
	for v, mark := range marks {
		if mark.Removed && err == nil {
			err = s.wipe(path, dir, v, true)
		}
	}
	return err
}
