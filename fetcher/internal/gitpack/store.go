package gitpack

import (
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/athens-go/athens/fetcher/internal/budget"
)

// A Store reads the objects that an objects folder had when it was opened. It is not
// safe for concurrent use.
type Store struct {
	dir    string
	packs  []*storedPack
	open   int // packs whose files are open
	job    *budget.Job
	spare  []*packScanner
	bases  baseCache
	nested int // bases by name that are being read
}

// Open opens the objects folder dir.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir}
	names, err := filepath.Glob(filepath.Join(dir, "pack", "*.idx"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		name = strings.TrimSuffix(name, ".idx")
		if _, err := os.Stat(name + ".pack"); err == nil {
			s.packs = append(s.packs, &storedPack{name: name})
		}
	}
	return s, nil
}

// Use charges job for all reading until Release.
func (s *Store) Use(job *budget.Job) { s.job = job }

// Release returns the memory charged to the job. It must be called before the job ends.
func (s *Store) Release() {
	s.bases.clear(s.job)
	s.job, s.spare = nil, nil
}

// Close closes all files.
func (s *Store) Close() {
	for _, p := range s.packs {
		p.close()
	}
	s.open = 0
}

// Files returns how many files are open.
func (s *Store) Files() int { return 2 * s.open }

// Bytes returns the total size of the packs.
func (s *Store) Bytes() (n int64) {
	for _, p := range s.packs {
		if info, err := os.Stat(p.name + ".pack"); err == nil {
			n += info.Size()
		}
	}
	return n
}

// maxOpen bounds how many packs have their files open.
const maxOpen = 32

// ready opens a pack's files. The other packs' may be closed for that.
func (s *Store) ready(p *storedPack) error {
	if p.index != nil {
		return nil
	}
	for _, other := range s.packs {
		if s.open < maxOpen {
			break
		}
		if other.index != nil {
			other.close()
			s.open--
		}
	}
	if err := p.open(); err != nil {
		return err
	}
	s.open++
	return nil
}

// find returns the pack that has an object, and where; no pack if none has it.
func (s *Store) find(name plumbing.Hash) (*storedPack, int64, error) {
	for _, p := range s.packs {
		if err := s.job.Step(opSteps); err != nil {
			return nil, 0, err
		}
		if err := s.ready(p); err != nil {
			return nil, 0, err
		}
		if offset, ok, err := p.find(name); ok || err != nil {
			return p, offset, err
		}
	}
	return nil, 0, nil
}

// Has reports whether the store has an object.
func (s *Store) Has(name plumbing.Hash) (bool, error) {
	p, _, err := s.find(name)
	if p != nil || err != nil {
		return p != nil, err
	}
	_, err = os.Stat(s.loosePath(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// maxPrefixed bounds how many objects with one prefix are looked at.
const maxPrefixed = 1000

// WithPrefix returns the objects whose names begin with some bytes, one at least.
func (s *Store) WithPrefix(prefix []byte) (list []plumbing.Hash, err error) {
	for _, p := range s.packs {
		if err := s.ready(p); err != nil {
			return nil, err
		}
		if list, err = p.withPrefix(prefix, list, maxPrefixed); err != nil {
			return nil, err
		}
	}
	folder := hex.EncodeToString(prefix[:1])
	entries, err := os.ReadDir(filepath.Join(s.dir, folder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if name := folder + e.Name(); strings.HasPrefix(name, hex.EncodeToString(prefix)) && plumbing.IsHash(name) {
			list = append(list, plumbing.NewHash(name))
		}
	}
	if len(list) > maxPrefixed {
		return nil, errorf("more than %d objects begin with %x", maxPrefixed, prefix)
	}
	return list, nil
}

// Base implements [Bases].
func (s *Store) Base(name plumbing.Hash) (plumbing.ObjectType, int64, io.ReadCloser, error) {
	o, err := s.Object(name)
	if err != nil {
		return 0, 0, nil, err
	}
	return o.Kind, o.Size, o, nil
}

func (s *Store) loosePath(name plumbing.Hash) string {
	text := name.String()
	return filepath.Join(s.dir, text[:2], text[2:])
}
