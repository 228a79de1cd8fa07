// Package warm fills a store before builds need it. It reads go.sum, go.mod and go.work files,
// folders of projects and lists of modules, finds out which module versions the builds need,
// and makes a handler or a running server fetch them.
//
//	plan := warm.NewPlan()
//	err := plan.AddFile("go.mod")
//	summary, err := warm.Run(ctx, warm.Handler(handler, store), plan, nil)
//
// For a go.mod, warm fetches what "go mod download" gets: the .mod files of its module graph,
// which it reads as the go command does (with pruning, replace and exclude), and the zips of the
// modules that the go.mod requires, also for tests and tools. If its go version is below 1.17,
// these are the zips of all modules. For a go.sum, warm fetches everything that the file has a
// hash of. It compares the hashes of a go.sum, also of one beside a go.mod, with the versions
// that it gets.
//
// A version that is held already costs one look into the store, so a run that was interrupted
// can be repeated.
package warm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// Target is what is filled. Make one with [Handler] or [Server].
type Target interface {
	// Fill makes it hold a version, with its zip if f.Zip.
	Fill(ctx context.Context, f athens.Fill) (Filled, error)
	// Get returns the answer to a GET request of the GOPROXY protocol for a path such as
	// example.com/m/@v/list. "Not found" is an [*athens.MissingError].
	Get(ctx context.Context, protocolPath string) ([]byte, error)
}

// Filled says what a Fill has done.
type Filled struct {
	Held      bool   // it was held before
	Scheduled bool   // the server has been told, and fills later
	Bytes     int64  // of the files; 0 if they are not known
	ZipHash   string // h1 of the zip; empty if it is not known
}

// Options configures [Run]. A nil *Options is the zero Options.
type Options struct {
	// Parallel is how many versions are filled at once. Zero means 64.
	Parallel int
	// Tries is how often a version is asked for whose source fails for a while. Zero means 3.
	Tries int
	// SumDB is the name of a checksum database whose answers about each version the target is to
	// hold, so that clients can verify without it. Empty means that none is asked.
	SumDB string
	// Platforms are those for which the toolchains that go.mod and go.work files name are
	// filled, such as linux/amd64. Empty means that no toolchain is.
	Platforms []string
	// Progress is called after each version. If it is nil, nobody learns of it.
	Progress func(Progress)
}

// Progress says how far a run has come.
type Progress struct {
	Done  int   // files and versions that are done, held ones too
	Of    int   // those that are known to be needed; it grows while graphs are read
	Bytes int64 // that were filled
}

// Summary says what a run has done.
type Summary struct {
	Versions  int   // versions that are held now
	Zips      int   // of them, those with a zip that was needed
	Held      int   // of them, those that were complete before
	Scheduled int   // versions that the server fills later
	Records   int   // versions that the checksum database vouches for
	Private   int   // versions of which the checksum database must not hear
	Bytes     int64 // that were filled
	Failed    []Failure
}

// Failure is what could not be filled.
type Failure struct {
	Module module.Version
	What   string // mod, zip, sum, or a query
	Err    error
}

// Error says what failed and why.
func (f Failure) Error() string { return fmt.Sprintf("%s: %s: %v", f.Module, f.What, f.Err) }

// Unwrap returns Err.
func (f Failure) Unwrap() error { return f.Err }

// Run has target hold what plan needs. What fails is in the Summary, and the rest goes on. The
// error is that of ctx; what was filled until then stays.
func Run(ctx context.Context, target Target, plan *Plan, opts *Options) (*Summary, error) {
	r := &run{target: target, plan: plan, mods: map[module.Version]*modFile{}, done: map[module.Version]*status{}, sum: &Summary{}}
	if opts != nil {
		r.opts = *opts
	}
	if r.opts.Parallel < 0 || r.opts.Tries < 0 {
		return nil, errors.New("warm: Parallel or Tries is negative")
	}
	if r.opts.Parallel == 0 {
		r.opts.Parallel = 64
	}
	if r.opts.Tries == 0 {
		r.opts.Tries = 3
	}
	r.ctx, r.work = ctx, newWork()
	r.start()
	r.work.run(ctx, r.opts.Parallel)
	return r.summary(), ctx.Err()
}

// run is one Run.
type run struct {
	ctx    context.Context
	target Target
	plan   *Plan
	opts   Options
	work   *work

	mu   sync.Mutex
	mods map[module.Version]*modFile // that were read, or are being read
	done map[module.Version]*status
	sum  *Summary
	of   int
	past int
}

// status says what has been done for a version.
type status struct {
	queued, zipQueued bool
	mod, zip          bool // held
	held, scheduled   bool
	failed            bool
	recorded          bool // the checksum database was asked
}

// start queues what is known from the beginning.
func (r *run) start() {
	for m, zip := range r.plan.versions {
		r.want(m, zip)
	}
	for _, m := range r.plan.toolchainsFor(r.opts.Platforms) {
		r.want(m, true)
	}
	for _, q := range r.plan.queries {
		r.add(false, func() { r.resolve(q) })
	}
	for _, b := range r.plan.builds {
		r.graph(b)
	}
}

// add queues work; first says that other work depends on it.
func (r *run) add(first bool, do func()) {
	r.mu.Lock()
	r.of++
	r.mu.Unlock()
	r.work.add(first, func() {
		do()
		r.mu.Lock()
		r.past++
		p := Progress{Done: r.past, Of: r.of, Bytes: r.sum.Bytes}
		r.mu.Unlock()
		if r.opts.Progress != nil {
			r.opts.Progress(p)
		}
	})
}

// want queues a version, once, and once with its zip.
func (r *run) want(m module.Version, zip bool) {
	r.mu.Lock()
	s := r.status(m)
	known := s.zipQueued || s.queued && !zip
	s.queued, s.zipQueued = true, s.zipQueued || zip
	r.mu.Unlock()
	if !known {
		r.add(false, func() { r.fill(m, zip) })
	}
}

// status returns the status of a version, for a caller that has the lock.
func (r *run) status(m module.Version) *status {
	s := r.done[m]
	if s == nil {
		s = &status{}
		r.done[m] = s
	}
	return s
}

// fill fills a version and verifies it. It reports whether it is held.
func (r *run) fill(m module.Version, zip bool) bool {
	what := "mod"
	if zip {
		what = "zip"
	}
	var filled Filled
	err := r.try(func() (err error) {
		filled, err = r.target.Fill(r.ctx, athens.Fill{Module: m, Zip: zip})
		return err
	})
	if err == nil && !filled.Scheduled {
		err = r.verify(m, zip, filled)
	}
	r.mu.Lock()
	s := r.status(m)
	if err == nil {
		s.mod, s.zip = true, s.zip || zip
		s.scheduled = s.scheduled || filled.Scheduled
		s.held = filled.Held
		if !filled.Held {
			r.sum.Bytes += filled.Bytes
		}
	}
	ask := err == nil && r.opts.SumDB != "" && !s.recorded
	s.recorded = s.recorded || ask
	r.mu.Unlock()
	if err != nil {
		r.fail(m, what, err)
		return false
	}
	if ask {
		r.add(false, func() { r.record(m) })
	}
	return true
}

// try runs do again while its error may pass.
func (r *run) try(do func() error) (err error) {
	for i := range r.opts.Tries {
		if err = do(); err == nil || athens.Final(err) || missing(err) || r.ctx.Err() != nil {
			return err
		}
		if i+1 == r.opts.Tries {
			break
		}
		_, after := athens.Status(err)
		select {
		case <-time.After(min(max(after, time.Second<<i), 30*time.Second)):
		case <-r.ctx.Done():
			return err
		}
	}
	return err
}

func missing(err error) bool {
	_, ok := errors.AsType[*athens.MissingError](err)
	return ok
}

// fail notes a failure, unless the run was canceled.
func (r *run) fail(m module.Version, what string, err error) {
	if r.ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.Version != "" {
		r.status(m).failed = true
	}
	r.sum.Failed = append(r.sum.Failed, Failure{m, what, err})
}
