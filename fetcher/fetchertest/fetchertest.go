// Package fetchertest checks that an [athens.Fetcher] keeps its promises; an
// [athens.Upstream] is one too.
//
// An implementation's test puts some modules where its Fetcher finds them,
// describes them in a [Harness], and calls [Run]:
//
//	func TestKit(t *testing.T) {
//		fetchertest.Run(t, fetchertest.Harness{
//			New:     func() (athens.Fetcher, error) { return fetcher.New(t.TempDir(), opts) },
//			Modules: []fetchertest.Module{{Path: "corp.test/m", Versions: []string{"v1.0.0"}, …}},
//			Missing: []module.Version{{Path: "corp.test/nosuch"}, {Path: "corp.test/m", Version: "v9.9.9"}},
//		})
//	}
//
// The promises are the rows of [Cases]. Each is checked on what can be seen from
// outside. What an optional field of the harness is needed for is left out if
// that is not set.
package fetchertest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// Harness is how the kit gets at an implementation and knows what it has to
// answer. New and Modules are required.
type Harness struct {
	// New returns a Fetcher that has asked nothing yet. Each check uses its
	// own; the kit does not close it.
	New func() (athens.Fetcher, error)

	// Modules are what the source has: at least one module with versions and
	// queries, and better one without versions too.
	Modules []Module

	// Missing are what the source definitely does not have: modules, where
	// Version is empty, and versions or queries of those in Modules.
	Missing []module.Version

	// Down returns a Fetcher whose source can't be reached. Nil leaves that
	// out.
	Down func() (athens.Fetcher, error)

	// Hold makes the source answer nothing more, until release is called,
	// and Asked counts how often it was asked so far. With both the kit sees
	// how questions at once are shared; nil leaves that out.
	Hold  func() (release func())
	Asked func() int

	// Patience is how long "soon" may be. Zero means 20 seconds.
	Patience time.Duration
}

// Module is one module that the source has.
type Module struct {
	Path     string
	Versions []string          // as Versions must list them; none is allowed
	Queries  map[string]string // "latest", branches, commits, prefixes, each with the version it means
	Contents []Content         // some of its versions, pseudo-versions too
}

// Content is what one version consists of.
type Content struct {
	Version string
	Time    time.Time
	Mod     string // the .mod
	Sum     string // the zip's h1 hash
}

// Case is one promise.
type Case struct {
	Name    string // a few words, as a test's name
	Promise string // what must hold
	// Check returns how the promise was broken. It needs no [testing.T].
	Check func(Harness) error
}

// Cases returns the promises that [Run] checks.
func Cases() []Case {
	return []Case{
		{"versions", "Versions lists what is tagged: canonical, without pseudo-versions, in order; without tags, nothing", checkVersions},
		{"resolve", "Resolve turns a query into the version it means, with its time", checkResolve},
		{"resolve-owned", "what Resolve returns, the caller may change", checkResolveOwned},
		{"content", "a version's .info, .mod and .zip are what the source has", checkContent},
		{"any-order", "a content's parts may be asked for in any order, and one alone", checkAnyOrder},
		{"at-once", "a content's parts may be asked for at once", checkAtOnce},
		{"info-owned", "what Info returns, the caller may change", checkInfoOwned},
		{"zip-writer", "when the zip can't be written, Zip fails", checkZipWriter},
		{"missing", "what is not there is a MissingError, which is final and fs.ErrNotExist", checkMissing},
		{"hostile", "paths and queries that make no sense are refused, and harm nothing", checkHostile},
		{"down", "a source that can't be reached is not missing, not final, and not fs.ErrNotExist", checkDown},
		{"cancelled", "a question whose context is done returns soon, and then no definite answer", checkCancelled},
		{"leaver", "a question that is given up leaves the same question of others alone", checkLeaver},
		{"concurrent", "all questions may be asked at once, and each is answered as when asked alone", checkConcurrent},
		{"shared", "equal lists and queries at once cost about what one does", checkShared},
	}
}

// Run checks every promise, each as a subtest of its name.
func Run(t *testing.T, h Harness) {
	t.Helper()
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Check(h); err != nil {
				t.Errorf("broken promise: %s:\n\t%v", c.Promise, err)
			}
		})
	}
}

// patience is how long the kit waits for what should happen soon.
func (h Harness) patience() time.Duration {
	if h.Patience > 0 {
		return h.Patience
	}
	return 20 * time.Second
}

// ask opens a Fetcher and calls check with it and a context of limited time.
func (h Harness) ask(open func() (athens.Fetcher, error), check func(context.Context, athens.Fetcher) error) error {
	f, err := open()
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), h.patience())
	defer cancel()
	return check(ctx, f)
}

// eachContent calls check for each version that the harness describes.
func (h Harness) eachContent(check func(context.Context, athens.Content, module.Version, Content) error) error {
	return h.ask(h.New, func(ctx context.Context, f athens.Fetcher) error {
		for _, m := range h.Modules {
			for _, want := range m.Contents {
				v := module.Version{Path: m.Path, Version: want.Version}
				c, err := f.Fetch(ctx, v)
				if err != nil {
					return fmt.Errorf("Fetch(%s): %w", v, err)
				}
				if err := check(ctx, c, v, want); err != nil {
					return fmt.Errorf("%s: %w", v, err)
				}
			}
		}
		return nil
	})
}

// wantMissing returns how err fails to be the definite answer.
func wantMissing(what string, err error) error {
	var missing *athens.MissingError
	switch {
	case err == nil:
		return fmt.Errorf("%s: no error", what)
	case !errors.As(err, &missing):
		return fmt.Errorf("%s: not a MissingError: %T: %w", what, err, err)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: not fs.ErrNotExist: %w", what, err)
	case !athens.Final(err):
		return fmt.Errorf("%s: not final: %w", what, err)
	}
	return nil
}
