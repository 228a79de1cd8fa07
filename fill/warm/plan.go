package warm

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/protocol"
)

// Plan is what builds need. Make one with [NewPlan], and add to it.
type Plan struct {
	versions   map[module.Version]bool   // with the zip, if true
	sums       map[module.Version]string // h1 by version, as in go.sum; of a .mod with /go.mod at its end
	queries    []query
	builds     []*build
	toolchains map[string]bool // go1.22.3
}

// query is a question for versions.
type query struct {
	path, version string // no version: all that are listed
}

// build is a main module, or the main modules of a workspace.
type build struct {
	mains     map[string]bool // their paths
	requires  []module.Version
	pruned    bool
	workspace bool                           // all that is selected is needed
	replace   map[module.Version]replacement // without a version: of all
	excluded  map[module.Version]bool
}

// replacement is what takes the place of a version: another one, or a folder.
type replacement struct {
	module.Version
	folder string
}

// replaced returns the version to fetch in the place of m. It reports false if that is a folder.
func (b *build) replaced(m module.Version) (module.Version, bool) {
	r, ok := b.replacementOf(m)
	switch {
	case !ok:
		return m, true
	case r.folder != "":
		return m, false
	}
	return r.Version, true
}

func (b *build) replacementOf(m module.Version) (replacement, bool) {
	r, ok := b.replace[m]
	if !ok {
		r, ok = b.replace[module.Version{Path: m.Path}]
	}
	return r, ok
}

// folderOf returns the folder that replaces m.
func (b *build) folderOf(m module.Version) string {
	r, _ := b.replacementOf(m)
	return r.folder
}

// NewPlan returns a plan that needs nothing.
func NewPlan() *Plan {
	return &Plan{versions: map[module.Version]bool{}, sums: map[module.Version]string{}, toolchains: map[string]bool{}}
}

// AddVersion needs a version, with its zip.
func (p *Plan) AddVersion(m module.Version) error {
	if !protocol.Canonical(m) {
		return fmt.Errorf("%q is not a canonical version of a module", m.String())
	}
	p.versions[m] = true
	return nil
}

// AddAllVersions needs all versions that the source lists of a module.
func (p *Plan) AddAllVersions(path string) error {
	if err := module.CheckPath(path); err != nil {
		return err
	}
	p.queries = append(p.queries, query{path: path})
	return nil
}

// Add needs what a file or folder names: a go.sum or go.work.sum, a go.mod, a go.work, a folder of
// projects, or a list of modules as [Plan.AddList] reads it.
func (p *Plan) Add(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	base := filepath.Base(name)
	switch {
	case info.IsDir():
		return p.addFolder(name)
	case strings.HasSuffix(base, ".sum"):
		return p.addSum(name, true)
	case strings.HasSuffix(base, ".mod"):
		return p.addMod(name)
	case base == "go.work":
		return p.addWork(name)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return p.AddList(name, f)
}

// addFolder adds all projects in a folder, as deep as they are.
func (p *Plan) addFolder(dir string) error {
	found := false
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		base := d.Name()
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != dir && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "vendor" || base == "testdata" || base == "node_modules"):
			return fs.SkipDir
		case d.IsDir():
			return nil
		case base == "go.mod":
			found = true
			return p.addMod(name)
		case base == "go.work":
			found = true
			return p.addWork(name)
		}
		return nil
	})
	if err == nil && !found {
		err = fmt.Errorf("%s has neither a go.mod nor a go.work", dir)
	}
	return err
}

// addSum reads a go.sum. If it is needed, so is what it has hashes of.
func (p *Plan) addSum(name string, needed bool) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	number := 0
	for line := range bytes.Lines(data) {
		number++
		f := strings.Fields(string(line))
		if len(f) == 0 {
			continue
		}
		if len(f) != 3 || !strings.HasPrefix(f[2], "h") {
			return fmt.Errorf("%s:%d: a line of go.sum has a module, a version and a hash", name, number)
		}
		version, isMod := strings.CutSuffix(f[1], "/go.mod")
		m := module.Version{Path: f[0], Version: version}
		if !protocol.Canonical(m) {
			return fmt.Errorf("%s:%d: %q is not a canonical version of a module", name, number, m.String())
		}
		if strings.HasPrefix(f[2], "h1:") {
			key := module.Version{Path: f[0], Version: f[1]}
			if was, ok := p.sums[key]; ok && was != f[2] {
				return fmt.Errorf("%s:%d: two hashes of %s: %s and %s", name, number, key, was, f[2])
			}
			p.sums[key] = f[2]
		}
		if needed {
			p.versions[m] = p.versions[m] || !isMod
		}
	}
	return nil
}

// addMod reads a go.mod, and the hashes of the go.sum beside it.
func (p *Plan) addMod(name string) error {
	b := newBuild()
	if err := p.main(b, name); err != nil {
		return err
	}
	p.builds = append(p.builds, b)
	sum := strings.TrimSuffix(name, ".mod") + ".sum"
	if err := p.addSum(sum, false); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func newBuild() *build {
	return &build{mains: map[string]bool{}, pruned: true, replace: map[module.Version]replacement{}, excluded: map[module.Version]bool{}}
}

// main adds a main module to a build.
func (p *Plan) main(b *build, name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	f, err := modfile.Parse(name, data, func(_, v string) (string, error) { return v, nil })
	if err != nil {
		return err
	}
	if f.Module != nil {
		b.mains[f.Module.Mod.Path] = true
	}
	for _, r := range f.Require {
		if !protocol.Canonical(r.Mod) {
			return fmt.Errorf("%s: require %s: not a canonical version; run go mod tidy", name, r.Mod)
		}
		b.requires = append(b.requires, r.Mod)
	}
	b.pruned = b.pruned && isPruned(f.Go)
	for _, x := range f.Exclude {
		b.excluded[x.Mod] = true
	}
	p.replacements(b, filepath.Dir(name), f.Replace, false)
	if f.Go != nil {
		p.toolchains["go"+f.Go.Version] = true
	}
	if f.Toolchain != nil {
		p.toolchains[f.Toolchain.Name] = true
	}
	return nil
}

// replacements adds replace lines. Those of a go.work count more than others.
func (p *Plan) replacements(b *build, dir string, lines []*modfile.Replace, force bool) {
	for _, r := range lines {
		to := replacement{Version: r.New}
		if r.New.Version == "" {
			to.folder = r.New.Path
			if !filepath.IsAbs(to.folder) {
				to.folder = filepath.Join(dir, to.folder)
			}
		}
		if _, ok := b.replace[r.Old]; !ok || force {
			b.replace[r.Old] = to
		}
	}
}

// addWork reads a go.work with its modules.
func (p *Plan) addWork(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	f, err := modfile.ParseWork(name, data, nil)
	if err != nil {
		return err
	}
	dir := filepath.Dir(name)
	b := newBuild()
	b.workspace = true
	for _, use := range f.Use {
		folder := use.Path
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(dir, folder)
		}
		if err := p.main(b, filepath.Join(folder, "go.mod")); err != nil {
			return err
		}
		if err := p.addSum(filepath.Join(folder, "go.sum"), false); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	p.replacements(b, dir, f.Replace, true)
	if f.Go != nil {
		p.toolchains["go"+f.Go.Version] = true
	}
	if f.Toolchain != nil {
		p.toolchains[f.Toolchain.Name] = true
	}
	p.builds = append(p.builds, b)
	if err := p.addSum(name+".sum", false); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// AddList reads a list of modules, one a line: MODULE@VERSION, MODULE VERSION (as "go list -m all"
// prints, also with => and a replacement), MODULE@QUERY, such as latest or v1, or MODULE, which
// means latest. A "#" begins a comment.
func (p *Plan) AddList(name string, r io.Reader) error {
	lines := bufio.NewScanner(r)
	for number := 1; lines.Scan(); number++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if _, replacement, ok := strings.Cut(line, "=>"); ok {
			line = replacement
		}
		fields := strings.Fields(strings.Replace(line, "@", " ", 1))
		if len(fields) == 0 {
			continue
		}
		m := module.Version{Path: fields[0], Version: "latest"}
		if len(fields) > 1 {
			m.Version = fields[1]
		}
		if len(fields) > 2 || module.CheckPath(m.Path) != nil {
			if len(fields) == 1 { // the main module, or a folder that replaces one
				continue
			}
			return fmt.Errorf("%s:%d: want MODULE@VERSION", name, number)
		}
		if protocol.Canonical(m) {
			p.versions[m] = true
		} else {
			p.queries = append(p.queries, query{m.Path, m.Version})
		}
	}
	return lines.Err()
}

// toolchainsFor returns the toolchains that were named. A language version such as go1.22 is none.
func (p *Plan) toolchainsFor(platforms []string) []module.Version {
	var all []module.Version
	for name := range p.toolchains {
		if strings.Count(name, ".") < 2 && !strings.Contains(name, "rc") || !strings.HasPrefix(name, "go1.") {
			continue
		}
		for _, platform := range platforms {
			m := module.Version{Path: "golang.org/toolchain", Version: "v0.0.1-" + name + "." + strings.ReplaceAll(platform, "/", "-")}
			if protocol.Canonical(m) {
				all = append(all, m)
			}
		}
	}
	return all
}
