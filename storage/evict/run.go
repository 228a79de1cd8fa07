package evict

import (
	"bufio"
	"bytes"
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/durable"
)

// Run counts what the medium holds, evicts what is too much, and does so again each
// RecountInterval, until ctx is done. Then it writes StateFile.
func (s *Store) Run(ctx context.Context) {
	ticker := time.NewTicker(s.opts.RecountInterval)
	defer ticker.Stop()
	for {
		if err := s.Recount(ctx); err != nil && ctx.Err() == nil {
			s.opts.Logger.Warn("could not measure the whole store", "error", err)
		}
		s.saveState()
		select {
		case <-ctx.Done():
			s.saveState()
			return
		case <-ticker.C:
		}
	}
}

// dated is a version that was found on the medium.
type dated struct {
	entry
	at time.Time
}

// Recount reads the sizes of all that the medium holds, and evicts what is too much. A
// version that was not known counts as used when it was stored.
func (s *Store) Recount(ctx context.Context) error {
	s.mu.Lock()
	s.reconsider()
	for e := s.order.Front(); e != nil; e = e.Next() {
		of(e).seen = false
	}
	s.mu.Unlock()
	var (
		fresh []dated
		errs  []error
	)
	for m, err := range s.All(ctx) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		found := s.measure(ctx, m)
		s.mu.Lock()
		if e, ok := s.entries[m]; ok {
			if held := of(e); !held.seen { // otherwise it was stored or counted meanwhile
				s.used += found.meta + found.zip - held.meta - held.zip
				held.meta, held.zip, held.seen = found.meta, found.zip, true
			}
		} else if found.meta > 0 {
			fresh = append(fresh, found)
		}
		s.mu.Unlock()
	}
	// The newest first: each goes behind all that is known.
	slices.SortStableFunc(fresh, func(a, b dated) int { return b.at.Compare(a.at) })
	s.mu.Lock()
	for _, f := range fresh {
		if _, ok := s.entries[f.m]; !ok {
			f.seen = true
			s.entries[f.m] = s.order.PushBack(&f.entry)
			s.used += f.meta + f.zip
		}
	}
	if len(errs) == 0 {
		for m, e := range s.entries {
			if !of(e).seen {
				s.drop(m) // another process has taken it away
			}
		}
	}
	over := s.used > s.most
	s.mu.Unlock()
	if over {
		s.evict(ctx, module.Version{}, s.least)
	}
	return errors.Join(errs...)
}

// reconsider puts what was kept back among the others: rules may have changed. The caller
// holds the lock.
func (s *Store) reconsider() {
	s.paused = time.Time{}
	if s.kept.Len() == 0 {
		return
	}
	all := s.byUse()
	s.order.Init()
	s.kept.Init()
	for _, held := range all {
		held.kept = false
		s.entries[held.m] = s.order.PushBack(held)
	}
}

// byUse returns all versions, the last used one first. The caller holds the lock.
func (s *Store) byUse() []*entry {
	all := make([]*entry, 0, len(s.entries))
	for _, l := range []*list.List{s.order, s.kept} {
		for e := l.Front(); e != nil; e = e.Next() {
			all = append(all, of(e))
		}
	}
	if s.kept.Len() > 0 {
		slices.SortStableFunc(all, func(a, b *entry) int { return cmp.Compare(b.use, a.use) })
	}
	return all
}

// measure returns the sizes of a version's files, and when it was stored.
func (s *Store) measure(ctx context.Context, m module.Version) dated {
	d := dated{entry: entry{m: m}}
	for _, f := range []athens.File{athens.InfoFile, athens.ModFile, athens.ZipFile} {
		obj, err := s.Medium.Open(ctx, m, f)
		if err != nil {
			continue
		}
		_ = obj.Body.Close() // nothing was read
		if f == athens.ZipFile {
			d.zip = blocks(obj.Size)
			continue
		}
		d.meta += blocks(obj.Size)
		d.at = obj.ModTime
	}
	return d
}

// readState reads in which order versions were used. A file that is damaged costs that
// order only.
func (s *Store) readState() {
	if s.opts.StateFile == "" {
		return
	}
	data, err := os.ReadFile(s.opts.StateFile)
	if err != nil {
		return
	}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		path, version, ok := strings.Cut(lines.Text(), "@")
		m := module.Version{Path: path, Version: version}
		if _, known := s.entries[m]; ok && !known && module.Check(path, version) == nil {
			s.entries[m] = s.order.PushBack(&entry{m: m})
		}
	}
}

// saveState writes it, the last used version first.
func (s *Store) saveState() {
	if s.opts.StateFile == "" {
		return
	}
	var b bytes.Buffer
	s.mu.Lock()
	for _, held := range s.byUse() {
		fmt.Fprintln(&b, held.m)
	}
	s.mu.Unlock()
	if err := durable.Replace(durable.OS{}, filepath.Dir(s.opts.StateFile), ".new-", s.opts.StateFile, b.Bytes()); err != nil {
		s.opts.Logger.Warn("could not write which versions were used", "error", err)
	}
}

// Stage opens a place for a zip. If the medium is full, it evicts and goes on.
func (s *Store) Stage(ctx context.Context) (athens.Stage, error) {
	var inner athens.Stage
	err := s.roomy(ctx, module.Version{}, func() (err error) {
		inner, err = s.Medium.Stage(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &stage{Stage: inner, s: s, ctx: context.WithoutCancel(ctx)}, nil
}

// stage counts a zip.
type stage struct {
	athens.Stage
	s    *Store
	ctx  context.Context
	size int64
}

// Write writes a part of the zip. If the medium is full, it evicts and writes the rest.
func (st *stage) Write(p []byte) (int, error) {
	n, err := st.Stage.Write(p)
	if isFull(err) && st.s.makeRoom(st.ctx, module.Version{}) {
		var more int
		more, err = st.Stage.Write(p[n:])
		n += more
	}
	st.size += int64(n)
	return n, err
}

// Commit makes what was written the zip of m.
func (st *stage) Commit(ctx context.Context, m module.Version, h1 string) error {
	err := st.s.roomy(ctx, m, func() error { return st.Stage.Commit(ctx, m, h1) })
	if err == nil {
		st.s.note(ctx, m, 0, blocks(st.size))
	}
	return err
}
