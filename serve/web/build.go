package web

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// rebuild walks over the store.
func (s *Site) rebuild(ctx context.Context) {
	if s.lister == nil {
		return
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	var mods []held
	var path string
	var versions []string
	flush := func() {
		if len(versions) > 0 {
			mods = append(mods, held{path: path, versions: strings.Join(versions, " "), count: int32(len(versions))})
		}
		versions = versions[:0]
	}
	failed := 0
	for m, err := range s.lister.All(ctx) {
		if err != nil {
			failed++
			continue
		}
		if m.Path != path {
			flush()
			path = m.Path
		}
		versions = append(versions, m.Version)
	}
	flush()
	if ctx.Err() != nil {
		return
	}
	s.index.replace(mods, began)
	now := s.index.now.Load()
	s.opts.Logger.Info("index built", "modules", len(now.mods), "versions", now.count, "unreadable", failed, "seconds", time.Since(began).Seconds())
	if len(now.mods) <= s.opts.MaxMeasured {
		s.measureAll(ctx)
	}
}

// measureAll measures the modules that were not.
func (s *Site) measureAll(ctx context.Context) {
	if s.activity.knowsNoDay() {
		s.seeding = make(seed)
		defer func() {
			if ctx.Err() == nil {
				s.activity.grow(s.seeding)
			}
			s.seeding = nil
		}()
	}
	var todo []string
	s.index.all("", func(h *held) bool {
		if !h.measured {
			todo = append(todo, h.path)
		}
		return true
	})
	for _, path := range todo {
		if ctx.Err() != nil {
			return
		}
		s.measure(ctx, path)
	}
	s.index.merge(true)
}

// measureNewest measures the modules of what was stored lately.
func (s *Site) measureNewest(ctx context.Context) {
	s.mu.Lock()
	newest := s.newest
	s.newest = nil
	s.mu.Unlock()
	for _, m := range newest {
		s.index.add(m, time.Now())
	}
	if len(s.index.now.Load().mods) > s.opts.MaxMeasured {
		return
	}
	seen := make(map[string]bool)
	for _, m := range newest {
		if !seen[m.Path] && ctx.Err() == nil {
			seen[m.Path] = true
			s.measure(ctx, m.Path)
		}
	}
}

// measure reads how large the versions of a module are, when they were stored, and what
// the highest requires.
func (s *Site) measure(ctx context.Context, path string) {
	h, ok := s.index.get(path)
	if !ok {
		return
	}
	var bytes, newest int64
	private, first := s.seeding != nil && s.kinds.private(path), true
	for v := range strings.FieldsSeq(h.versions) {
		m := module.Version{Path: path, Version: v}
		mod, at, err := s.stat(ctx, m, athens.ModFile)
		if err != nil {
			continue
		}
		zip, _, _ := s.stat(ctx, m, athens.ZipFile) // zero if it is not held
		bytes += mod + zip
		newest = max(newest, at.Unix())
		if s.seeding != nil {
			s.seeding.note(at, first, private, mod+zip)
			first = false
		}
	}
	requires := []uint64{} // not nil: they are known
	if mod, err := s.readMod(ctx, module.Version{Path: path, Version: h.latest()}); err == nil {
		for _, r := range parseMod(mod).requires {
			requires = append(requires, hash(r.Path))
		}
	}
	s.index.change(path, func(h *held) {
		h.bytes, h.newest, h.requires, h.measured = bytes, max(newest, h.newest), requires, true
	})
}

// stat returns the size of a file and when it was stored.
func (s *Site) stat(ctx context.Context, m module.Version, f athens.File) (size int64, at time.Time, err error) {
	o, err := s.storage.Open(ctx, m, f)
	if err != nil {
		return 0, time.Time{}, err
	}
	return o.Size, o.ModTime, o.Body.Close()
}

// maxModBytes is the largest .mod that pages read.
const maxModBytes = 1 << 20

// errTooLarge says that a file is beyond what a page shows.
var errTooLarge = errors.New("the file is too large to be shown here")

// readMod returns a .mod.
func (s *Site) readMod(ctx context.Context, m module.Version) ([]byte, error) {
	return s.readSmall(ctx, m, athens.ModFile)
}

// readSmall returns a file of the store that is small.
func (s *Site) readSmall(ctx context.Context, m module.Version, f athens.File) ([]byte, error) {
	o, err := s.storage.Open(ctx, m, f)
	if err != nil {
		return nil, err
	}
	defer o.Body.Close()
	data, err := io.ReadAll(io.LimitReader(o.Body, maxModBytes+1))
	if len(data) > maxModBytes {
		return nil, errTooLarge
	}
	return data, err
}

// isMissing reports whether something is not held.
func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
