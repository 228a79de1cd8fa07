package warm

import (
	"errors"
	"go/version"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/athens-go/athens/internal/protocol"
)

// modFile is the .mod of a version.
type modFile struct {
	once     sync.Once
	requires []module.Version
	pruned   bool // of go 1.17 or later: what it requires names all that its packages import
	err      error
}

// parse reads a go.mod.
func parse(data []byte) (requires []module.Version, pruned bool, err error) {
	f, err := modfile.ParseLax("go.mod", data, nil)
	if err != nil {
		return nil, false, err
	}
	for _, r := range f.Require {
		if protocol.Canonical(r.Mod) {
			requires = append(requires, r.Mod)
		}
	}
	return requires, isPruned(f.Go), nil
}

func isPruned(line *modfile.Go) bool {
	return line != nil && version.Compare("go"+line.Version, "go1.17") >= 0
}

// graph is the module graph of a build while it is read. See readModGraph in
// cmd/go/internal/modload.
type graph struct {
	*run
	b *build

	mu       sync.Mutex
	pending  int
	seen     map[enqueued]bool
	selected map[string]string // the highest version of each module
}

type enqueued struct {
	m      module.Version
	pruned bool
}

// graph reads the module graph of a build, and then wants its zips. What the build requires
// itself is most often what is selected, so it is wanted at once.
func (r *run) graph(b *build) {
	g := &graph{run: r, b: b, seen: map[enqueued]bool{}, selected: map[string]string{}, pending: 1}
	for _, m := range b.requires {
		g.enqueue(m, b.pruned)
		if real, ok := b.replaced(m); ok && b.pruned && !b.workspace {
			r.want(real, true)
		}
	}
	g.finish()
}

// enqueue reads the .mod of a version, unless that was done.
func (g *graph) enqueue(m module.Version, pruned bool) {
	if g.b.mains[m.Path] || g.b.excluded[m] {
		return
	}
	g.mu.Lock()
	if semver.Compare(m.Version, g.selected[m.Path]) > 0 || g.selected[m.Path] == "" {
		g.selected[m.Path] = m.Version
	}
	known := g.seen[enqueued{m, pruned}]
	g.seen[enqueued{m, pruned}] = true
	if !known {
		g.pending++
	}
	g.mu.Unlock()
	if !known {
		g.add(true, func() {
			defer g.finish()
			g.read(m, pruned)
		})
	}
}

// mention counts a version that a pruned module requires: it may be selected, but is not read.
func (g *graph) mention(m module.Version) {
	if g.b.mains[m.Path] || g.b.excluded[m] {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if semver.Compare(m.Version, g.selected[m.Path]) > 0 {
		g.selected[m.Path] = m.Version
	}
}

// read reads a .mod and goes on to what it requires.
func (g *graph) read(m module.Version, pruned bool) {
	var requires []module.Version
	var isPruned bool
	if real, ok := g.b.replaced(m); ok {
		f := g.modOf(real)
		requires, isPruned = f.requires, f.pruned
	} else {
		data, err := os.ReadFile(filepath.Join(g.b.folderOf(m), "go.mod"))
		if err == nil {
			requires, isPruned, err = parse(data)
		}
		if err != nil {
			g.fail(m, "replacement", err)
			return
		}
	}
	for _, next := range requires {
		if !pruned || !isPruned {
			g.enqueue(next, false)
		} else {
			g.mention(next)
		}
	}
}

// finish counts what was read. At the end the zips are known.
func (g *graph) finish() {
	g.mu.Lock()
	g.pending--
	last := g.pending == 0
	g.mu.Unlock()
	if !last || g.ctx.Err() != nil {
		return
	}
	need := map[string]bool{}
	for _, m := range g.b.requires {
		need[m.Path] = true
	}
	for path, v := range g.selected {
		if !need[path] && g.b.pruned && !g.b.workspace {
			continue
		}
		if real, ok := g.b.replaced(module.Version{Path: path, Version: v}); ok {
			g.want(real, true)
		}
	}
}

// modOf fills the .mod of a version and reads it, once for all builds.
func (r *run) modOf(m module.Version) *modFile {
	r.mu.Lock()
	f := r.mods[m]
	if f == nil {
		f = &modFile{}
		r.mods[m] = f
	}
	r.mu.Unlock()
	f.once.Do(func() {
		if f.err = r.readMod(m, f); f.err != nil && !errors.Is(f.err, errFilled) {
			r.fail(m, "mod", f.err)
		}
	})
	return f
}

// errFilled says that a failure was noted already.
var errFilled = errors.New("it could not be filled")

func (r *run) readMod(m module.Version, f *modFile) error {
	r.mu.Lock()
	s := r.status(m)
	queued := s.queued
	s.queued = true
	r.mu.Unlock()
	if !queued && !r.fill(m, false) {
		return errFilled
	}
	data, err := r.mod(m)
	if err == nil {
		f.requires, f.pruned, err = parse(data)
	}
	return err
}

// mod returns a .mod from the target.
func (r *run) mod(m module.Version) (data []byte, err error) {
	path, err := protocol.FilePath(m, "mod")
	if err != nil {
		return nil, err
	}
	err = r.try(func() error {
		data, err = r.target.Get(r.ctx, path)
		return err
	})
	return data, err
}
