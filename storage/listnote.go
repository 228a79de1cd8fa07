package storage

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/athens-go/athens/internal/durable"
)

// A list note is a small file in the stage folder that names one module. It is written
// before the module's versions change and removed once the list file names them, so that
// a list which a crash or a full disk left behind is found without a walk: by the next
// [New], and by the next write of a store that is still running.
//
// A second line names a version that is being evicted. To follow the note is to
// finish that, and the removals that a kill has cut off.
//
// It is not synced: a process that is killed loses nothing that it wrote. A power cut can
// lose the note, and Verify then reports a list that is [ProblemOutdated].
const listNote = "list-"

// maxNote bounds what is read of a note, in bytes. A longer path has no folder.
const maxNote = 4 << 10

// note returns the name of a module's note: the same each time, so that a module has one
// at most.
func (s *Store) note(n int, modPath string) string {
	sum := sha256.Sum256([]byte(modPath))
	return s.stage + string(filepath.Separator) + s.locks.prefix[n] + listNote + hex.EncodeToString(sum[:16])
}

// writeNote writes the note of a module, for a caller that has its lock n.
func (s *Store) writeNote(note, modPath string) error {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	f, err := s.fs.OpenFile(note, flags, 0o666)
	if isAbsent(err) {
		if err := s.makeInside(stageDir); err != nil {
			return err
		}
		f, err = s.fs.OpenFile(note, flags, 0o666)
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(modPath)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// dropNote removes the note of a module whose list is on the medium, or, if err says that
// it is not, leaves the note to the next write that succeeds.
func (s *Store) dropNote(note string, err error) {
	if err == nil {
		err = s.fs.Remove(note)
	}
	if err != nil && !isAbsent(err) {
		s.noted.Store(true)
	}
}

// isNote reports whether a file in the stage folder is a note.
func isNote(name string) bool {
	_, rest, _ := strings.Cut(name, "-")
	return strings.HasPrefix(rest, listNote)
}

// repairLists brings the lists up to date that notes of this store name, if it has left
// some. It is called after something was written, and gives up at the first list that
// can't be: the medium is full again, or still.
func (s *Store) repairLists() {
	if !s.noted.Load() || !s.noted.Swap(false) {
		return
	}
	names, err := s.names(s.inside(stageDir))
	if err != nil {
		s.noted.Store(!isAbsent(err))
		return
	}
	for _, name := range names {
		if n, ok := lockIn(name); ok && isNote(name) && !s.sweepSmall(filepath.Join(s.inside(stageDir), name), n) {
			s.noted.Store(true)
			return
		}
	}
}

// repairList brings the list up to date that a note names, for a caller that has lock n,
// and removes the note. A note that can't be followed now stays.
func (s *Store) repairList(n int, note string) error {
	text, err := s.readNote(note)
	if err != nil {
		return err
	}
	modPath, evicted, _ := strings.Cut(text, "\n")
	// A note that was cut off was followed by nothing.
	if note == s.note(n, modPath) {
		dir, err := s.folder(modPath)
		if err != nil {
			return err
		}
		if _, err := s.fs.Stat(dir); err == nil {
			if err := s.wipeLeft(modPath, dir, evicted); err != nil {
				return err
			}
			written, err := s.writeList(n, modPath, dir)
			if err == nil && written {
				err = durable.SyncDir(s.fs, dir)
			}
			if err != nil {
				return err
			}
		} else if !isAbsent(err) {
			return err
		}
	}
	if err := s.fs.Remove(note); !isAbsent(err) {
		return err
	}
	return nil
}

func (s *Store) readNote(note string) (string, error) {
	f, err := s.fs.Open(note)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxNote))
	if err != nil {
		return "", err
	}
	return string(data), nil
}

// outdated reports whether a list names only versions that are held and lacks some of
// them, which is what a power cut can leave of one.
func outdated(list, want []byte) bool {
	next, stop := iter.Pull(bytes.Lines(want))
	defer stop()
	for line := range bytes.Lines(list) {
		for {
			version, more := next()
			if !more {
				return false
			}
			if bytes.Equal(version, line) {
				break
			}
		}
	}
	return true
}
