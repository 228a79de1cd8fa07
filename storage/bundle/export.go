package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/flight"
)

// ExportOptions configures [Export]. A nil *ExportOptions is the zero ExportOptions.
type ExportOptions struct {
	// Since is the manifest of the last bundle: what that, or one before it, has brought is left
	// to it. Nil means that the bundle has everything.
	Since *Manifest
	// SinceTime leaves out what was stored before that time, and is taken to have been in an
	// earlier bundle. Answers of checksum databases are all in the bundle. The zero time means
	// that nothing is left out. It is an error together with Since.
	SinceTime time.Time
	// Signers sign the manifest. If it is empty, the manifest is not signed.
	Signers []note.Signer
	// Progress is called after each version. If it is nil, nobody learns of it.
	Progress func(Progress)
}

// Export writes a bundle of what store holds, which must be an [athens.Lister]. A damaged file
// is left out, and Summary.LeftOut says which. After an error, what was written is worthless.
// Servers may use the store meanwhile: what they store or remove may be in the bundle or not.
func Export(ctx context.Context, store athens.Storage, w io.Writer, opts *ExportOptions) (*Summary, error) {
	lister, ok := store.(athens.Lister)
	if !ok {
		return nil, errors.New("bundle: this store can't list what it holds")
	}
	x := &exporter{ctx: ctx, store: store, manifest: &Manifest{text: []byte(firstLine + "\n")}}
	if opts != nil {
		x.opts = *opts
	}
	if err := x.since(); err != nil {
		return nil, err
	}
	paths, err := x.paths(lister)
	if err != nil {
		return nil, err
	}
	if x.w, err = newWriter(w); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	err = x.sumDB()
	if err == nil {
		err = x.modules(paths)
	}
	if err == nil {
		err = x.w.end(x.manifest, x.opts.Signers)
	}
	if err != nil {
		return nil, fmt.Errorf("bundle: export: %w", err)
	}
	s := x.manifest.summary()
	s.LeftOut = x.leftOut
	for _, signer := range x.opts.Signers {
		s.SignedBy = append(s.SignedBy, fmt.Sprintf("%s+%08x", signer.Name(), signer.KeyHash()))
	}
	return s, nil
}

// summary says what a manifest names.
func (m *Manifest) summary() *Summary {
	return &Summary{Versions: m.versions, Zips: m.zips, SumDB: m.sums, Removed: m.removed, Hidden: m.hidden, Before: m.before, Bytes: m.bytes}
}

// exporter is one Export.
type exporter struct {
	ctx      context.Context
	store    athens.Storage
	opts     ExportOptions
	w        *writer
	manifest *Manifest
	leftOut  []error

	former      map[module.Version]version
	formerMarks map[string][]version // by module
	formerSums  map[string][sha256.Size]byte
}

// since reads what the last bundle's manifest says.
func (x *exporter) since() error {
	switch {
	case x.opts.Since != nil && !x.opts.SinceTime.IsZero():
		return errors.New("bundle: want either Since or SinceTime")
	case x.opts.Since != nil:
		x.former, x.formerMarks, x.formerSums = map[module.Version]version{}, map[string][]version{}, map[string][sha256.Size]byte{}
		for line, err := range x.opts.Since.lines() {
			if err != nil {
				return err
			}
			switch l := line.(type) {
			case *answer:
				x.formerSums[l.name] = l.sum
			case *version:
				x.former[l.m] = version{state: l.state, hasZip: l.hasZip}
				if l.mark == removed || l.mark == hidden {
					x.formerMarks[l.m.Path] = append(x.formerMarks[l.m.Path], *l)
				}
			}
		}
		sum := sha256.Sum256(x.opts.Since.text)
		x.manifest.text = fmt.Appendf(x.manifest.text, "since %s\n", base64.RawStdEncoding.EncodeToString(sum[:]))
	case !x.opts.SinceTime.IsZero():
		x.manifest.text = fmt.Appendf(x.manifest.text, "since %s\n", x.opts.SinceTime.UTC().Format("2006-01-02T15:04:05Z"))
	}
	return nil
}

// paths returns the modules that the store holds, or has marks of, in order.
func (x *exporter) paths(lister athens.Lister) ([]string, error) {
	all, last := map[string]bool{}, ""
	for m, err := range lister.All(x.ctx) {
		if x.ctx.Err() != nil {
			return nil, x.ctx.Err()
		}
		if err != nil {
			x.leaveOut(m, err)
			continue
		}
		if m.Path != last {
			all[m.Path], last = true, m.Path
		}
	}
	if marked, ok := x.store.(MarkLister); ok {
		for mark, err := range marked.AllMarks(x.ctx) {
			if err != nil {
				return nil, fmt.Errorf("bundle: export: %w", err)
			}
			all[mark.Path] = true
		}
	}
	for path := range x.formerMarks {
		all[path] = true
	}
	return slices.Sorted(maps.Keys(all)), nil
}

func (x *exporter) leaveOut(m module.Version, err error) {
	x.leftOut = append(x.leftOut, fmt.Errorf("%s: %w", m, err))
}

// sumDB writes the answers of checksum databases.
func (x *exporter) sumDB() error {
	kept, ok := x.store.(athens.SumDBStore)
	lister, can := x.store.(SumDBLister)
	if !ok || !can {
		return nil
	}
	var names []string
	for name, err := range lister.AllSumDB(x.ctx) {
		if err != nil {
			return err
		}
		if err := checkSumName(name); err != nil {
			x.leftOut = append(x.leftOut, err)
			continue
		}
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		data, err := kept.GetSumDB(x.ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		a := &answer{name: name, part: partOf(data)}
		was, had := x.formerSums[name]
		if a.carried = !had || was != a.sum; a.carried {
			if err := x.w.file("sumdb/"+name, a.size, bytesReader(data)); err != nil {
				return err
			}
		}
		x.manifest.text = a.append(x.manifest.text)
		x.manifest.count(a)
	}
	return nil
}

// modules writes the versions of the modules, in order. They are read, and their zips checked, by
// several goroutines.
func (x *exporter) modules(paths []string) error {
	ctx, cancel := context.WithCancel(x.ctx)
	type next struct {
		path string
		read *flight.Future[*loaded] // nil: that was all of this module
		err  error
	}
	queue := make(chan next, 2*runtime.GOMAXPROCS(0))
	done := make(chan struct{})
	defer func() {
		cancel()
		<-done
	}()
	go func() {
		defer close(done)
		defer close(queue)
		send := func(n next) bool {
			select {
			case queue <- n:
				return true
			case <-ctx.Done():
				return false
			}
		}
		for _, path := range paths {
			versions, err := x.versions(ctx, path)
			for _, v := range versions {
				if !send(next{path: path, read: flight.Start(func() (*loaded, error) { return x.load(ctx, v) })}) {
					return
				}
			}
			if !send(next{path: path, err: err}) {
				return
			}
		}
	}()
	var of []*version
	for n := range queue {
		if n.err != nil {
			return n.err
		}
		if n.read == nil {
			if err := x.list(of); err != nil {
				return err
			}
			of = nil
			continue
		}
		l, err := n.read.Wait(ctx)
		if err == nil {
			err = x.write(l, len(of) == 0)
		}
		if err != nil {
			return err
		}
		if l.written() {
			of = append(of, l.version)
		}
	}
	return x.ctx.Err()
}

// versions returns the versions of a module that are held or have marks, in order.
func (x *exporter) versions(ctx context.Context, path string) ([]*version, error) {
	held, err := x.store.Versions(ctx, path)
	if err != nil {
		return nil, err
	}
	all := make(map[string]*version, len(held))
	get := func(v string) *version {
		if all[v] == nil {
			all[v] = &version{m: module.Version{Path: path, Version: v}}
		}
		return all[v]
	}
	for _, v := range held {
		get(v).state = before // or carried: load decides
	}
	if remover, ok := x.store.(athens.Remover); ok {
		marks, err := remover.Marks(ctx, path)
		if err != nil {
			return nil, err
		}
		for v, mark := range marks {
			marked := get(v)
			marked.mark, marked.reason = hidden, mark.Reason
			if mark.Removed {
				marked.mark, marked.state = removed, notHeld
			}
		}
	}
	for _, was := range x.formerMarks[path] {
		if v := get(was.m.Version); v.mark == noMark {
			v.mark, v.reason = restored, was.reason
		}
	}
	versions := slices.Collect(maps.Values(all))
	slices.SortFunc(versions, func(a, b *version) int { return compareVersions(a.m.Version, b.m.Version) })
	return versions, nil
}
