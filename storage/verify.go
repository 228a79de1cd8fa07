package storage

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/athens-go/athens"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// VerifyOptions adjusts [Store.Verify]. A nil *VerifyOptions is the same as a zero
// one, which changes nothing.
type VerifyOptions struct {
	// Quarantine moves damaged files to DIR/.athens/quarantine, so that the version is
	// a miss from then on, also for running servers. Its replacement must match the
	// record. Verify restores the files that the record contains (.info, .ziphash), and
	// the list.
	Quarantine bool
	// Record writes a record for each version that has none and passes all other
	// checks. This is for an adopted module cache, and for versions that were stored
	// before there were records.
	Record bool
	// Source returns the Fetcher for a damaged version, or nil if there is none, as for
	// a private path that must not leave. What it returns is checked and compared with
	// the record. It then takes the place of the damaged file, which is moved to
	// quarantine. A nil Source means that nothing is fetched.
	Source func(m module.Version) athens.Fetcher
	// Workers is how many versions are checked at once. Zero means 2.
	Workers int
	// BytesPerSecond bounds how fast files are read. Zero means no bound.
	BytesPerSecond int64
}

// Checked is the result of [Store.Verify] for one version. With an empty version it is for a
// module's folder, with an empty path for the store's own folder.
type Checked struct {
	Module module.Version
	// Recorded says that there is a sound record. Without one, damage to a .mod or .info may
	// go unnoticed, and a Source's answer can't be compared with the earlier content.
	Recorded bool
	Bytes    int64 // read
	Problems []Problem
}

// Damaged reports whether a file is damaged or missing and was not repaired. Strays and
// an outdated list are no damage.
func (c *Checked) Damaged() bool {
	return slices.ContainsFunc(c.Problems, func(p Problem) bool {
		return !p.Repaired && (p.Kind == ProblemDamaged || p.Kind == ProblemMissing)
	})
}

// Problem is what is wrong with one file.
type Problem struct {
	File     string // its name in the module's folder
	Kind     ProblemKind
	Err      error  // what is wrong
	Moved    string // where it is now, from the store's folder; empty if it was not moved
	Repaired bool   // it was repaired
	Failed   error  // why the repair failed; nil if there was none
}

// ProblemKind says what is wrong with a file.
type ProblemKind string

// The kinds of a [Problem].
const (
	ProblemDamaged ProblemKind = "damaged" // it is not what was stored, or can't be right
	ProblemMissing ProblemKind = "missing" // it was stored once, and may be in quarantine
	ProblemStray   ProblemKind = "stray"   // it is no file of a held version; it stays where it is
	// The list lacks versions that are held. A crash can leave that, and no version
	// is damaged; only readers of the file tree (GOPROXY=file://) miss them.
	ProblemOutdated ProblemKind = "outdated"
)

// Verify walks over the whole store and compares each version with its record;
// what has none, as what a go command wrote, with what it must be: an .info that
// names the version, a go.mod, a module zip that has the .ziphash and that go.mod.
// What is sound comes too, without a Problem; there is no order. An error stands
// in place of what could not be read, and the walk goes on; once ctx is done its
// error is the last.
//
// Other processes may use the store meanwhile: what looks wrong is looked at once
// more under the module's lock. The walk keeps in memory the names in one module's
// folder and, for each worker, one .mod of at most 16 MiB and one zip's directory.
func (s *Store) Verify(ctx context.Context, opts *VerifyOptions) iter.Seq2[Checked, error] {
	var o VerifyOptions
	if opts != nil {
		o = *opts
	}
	if o.Workers == 0 {
		o.Workers = 2
	}
	return func(yield func(Checked, error) bool) {
		if o.Workers < 0 || o.BytesPerSecond < 0 {
			yield(Checked{}, fmt.Errorf("storage: verify: Workers is %d and BytesPerSecond %d; neither may be negative", o.Workers, o.BytesPerSecond))
			return
		}
		inner, cancel := context.WithCancel(ctx)
		v := &verifier{Store: s, ctx: inner, opts: o, pace: &pace{rate: o.BytesPerSecond}}
		results := v.run()
		defer func() {
			cancel()
			for range results {
			}
		}()
		for r := range results {
			if ctx.Err() == nil && !yield(r.Checked, r.err) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(Checked{}, err)
		}
	}
}

// Recheck looks at one version that could not be read, or not be right, as
// [athens.Rechecker] says.
func (s *Store) Recheck(ctx context.Context, m module.Version) (damaged bool, err error) {
	v := &verifier{Store: s, ctx: ctx, opts: VerifyOptions{Quarantine: true}, pace: &pace{}}
	c, err := v.version(m)
	return slices.ContainsFunc(c.Problems, func(p Problem) bool { return p.Kind == ProblemDamaged }), err
}

// verifier is one run of Verify.
type verifier struct {
	*Store
	ctx  context.Context
	opts VerifyOptions
	pace *pace
}

// writes reports whether the store may be changed.
func (v *verifier) writes() bool { return v.opts.Quarantine || v.opts.Source != nil }

// result is a Checked or an error.
type result struct {
	Checked
	err error
}

// run walks in one goroutine and checks in others. All have ended when the
// channel is closed.
func (v *verifier) run() <-chan result {
	jobs, results := make(chan func() result), make(chan result)
	send := func(job func() result) bool {
		select {
		case jobs <- job:
			return true
		case <-v.ctx.Done():
			return false
		}
	}
	go func() {
		defer close(jobs)
		w := walk{Store: v.Store, ctx: v.ctx}
		w.fail = func(modPath string, err error) bool {
			return send(func() result { return result{Checked{Module: module.Version{Path: modPath}}, err} })
		}
		w.visit = func(modPath, dir string) bool {
			names, err := v.names(dir)
			if err != nil && !isAbsent(err) {
				return w.failed(modPath, err)
			}
			return v.jobs(modPath, dir, names, send)
		}
		if w.folder("") {
			send(v.staged)
		}
	}()
	var workers sync.WaitGroup
	for range v.opts.Workers {
		workers.Go(func() {
			for job := range jobs {
				results <- job()
			}
		})
	}
	go func() { workers.Wait(); close(results) }()
	return results
}

// jobs sends the checks of a module's folder to send.
func (v *verifier) jobs(modPath, dir string, names []string, send func(func() result) bool) bool {
	versions, strays := sortNames(modPath, names)
	for _, version := range versions {
		m := module.Version{Path: modPath, Version: version}
		if !send(func() result { c, err := v.version(m); return result{c, err} }) {
			return false
		}
	}
	return send(func() result { return v.folder(modPath, dir, strays) })
}

// sortNames returns the versions that have files with these names, and the names that belong to
// no version.
func sortNames(modPath string, names []string) (versions, strays []string) {
	seen := map[string]bool{}
	for _, name := range names {
		v, ok := "", name == listName || name == takenName || theirs(name)
		for _, ext := range []string{".info", ".mod", ".zip", hashExt, recordExt} {
			if version, is := versionOf(modPath, name, ext); is {
				v, ok = version, true
			}
		}
		if v != "" && !seen[v] {
			seen[v] = true
			versions = append(versions, v)
		}
		if !ok {
			strays = append(strays, name)
		}
	}
	semver.Sort(versions)
	return versions, strays
}

// theirs reports whether a go command keeps files of that name beside versions:
// locks, marks, and what it knows of branches.
func theirs(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".lock" || ext == ".partial" || ext == ".info"
}

// folder looks at what a module's folder has beside versions.
func (v *verifier) folder(modPath, dir string, strays []string) result {
	r := result{Checked: Checked{Module: module.Version{Path: modPath}}}
	for _, name := range strays {
		if v.there(dir, name) {
			r.Problems = append(r.Problems, Problem{File: name, Kind: ProblemStray, Err: errors.New("not a file of a version")})
		}
	}
	if _, err := v.readTaken(dir); err != nil {
		r.Problems = append(r.Problems, Problem{File: takenName, Kind: ProblemDamaged, Err: err})
		return r
	}
	same, _, err := v.listed(modPath, dir)
	if err == nil && !same {
		err = v.locked(modPath, func(n int) error { return v.list(n, modPath, dir, &r.Checked) })
	}
	if err != nil && !isAbsent(err) {
		r.err = fault("verify", r.Module, err)
	}
	return r
}

// list looks at a list that seems wrong, under the module's lock.
func (v *verifier) list(n int, modPath, dir string, c *Checked) error {
	same, want, err := v.listed(modPath, dir)
	if same || err != nil {
		return err
	}
	p := Problem{File: listName, Kind: ProblemDamaged, Err: errors.New("does not list the stored versions")}
	list, err := v.readSmall(filepath.Join(dir, listName), int64(len(want)))
	if err != nil && !isAbsent(err) {
		return err
	}
	if outdated(list, want) {
		p.Kind, p.Err = ProblemOutdated, errors.New("lacks stored versions, as after a power cut; the next Put to the module repairs it")
	}
	if v.writes() {
		if p.Failed = v.writeFile(n, filepath.Join(dir, listName), want); p.Failed == nil {
			p.Repaired = true
		}
	}
	c.Problems = append(c.Problems, p)
	return nil
}

// staged checks the stage folder for files that the sweep does not know.
func (v *verifier) staged() result {
	var r result
	names, err := v.names(v.inside(stageDir))
	if err != nil && !isAbsent(err) {
		r.err = fault("verify", module.Version{}, err)
	}
	for _, name := range names {
		if _, small := lockIn(name); !small && !strings.HasPrefix(name, zipPrefix) && v.there(v.inside(stageDir), name) {
			r.Problems = append(r.Problems, Problem{File: filepath.ToSlash(filepath.Join(hidden, stageDir, name)), Kind: ProblemStray, Err: errors.New("not a file of this store")})
		}
	}
	return r
}

// there reports whether a name that was read from a folder is that of a file in it. A
// file that is renamed meanwhile can appear under its new name in its old folder, as
// in afero's memory.
func (v *verifier) there(dir, name string) bool {
	_, err := v.fs.Stat(filepath.Join(dir, name))
	return !isAbsent(err)
}

// locked calls f with the lock of a module.
func (v *verifier) locked(modPath string, f func(n int) error) error {
	n := lockOf(modPath)
	unlock, err := v.locks.lock(v.ctx, n)
	if err != nil {
		return err
	}
	defer unlock()
	return f(n)
}
