// Package storagetest checks that an implementation of [athens.Storage] keeps
// its promises. It is the kit of every backend: [Run] needs to know only how
// the store is opened.
//
//	func TestStorage(t *testing.T) {
//		storagetest.Run(t, func(t *testing.T) storagetest.Open {
//			dir := t.TempDir()
//			return func() (athens.Storage, error) { return storage.NewDisk(dir, nil) }
//		})
//	}
//
// The promises are a table, [Cases]; a case uses nothing but the contract. What
// only the implementation can show (that it survives kill -9 and a full medium)
// stays with the implementation's own tests.
package storagetest

import (
	"context"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/athens-go/athens"
)

// Open opens the store under test. Each call opens the same medium again, as
// another process would where several may share it; otherwise it may return
// what it returned before. A store that is an [io.Closer] is closed.
type Open func() (athens.Storage, error)

// Case is one promise.
type Case struct {
	Name    string // what the test is called
	Promise string // what a store promises
	// Check returns an error that says how the store broke the promise. The
	// medium must be empty before.
	Check func(ctx context.Context, open Open) error
}

// Cases returns all promises, the simple ones first.
func Cases() []Case {
	return slices.Concat(putCases, zipCases, sharedCases, catalogueCases, sumdbCases, inventoryCases, removeCases)
}

// caseTime bounds a case; all of them together take about a second on memory.
const caseTime = 2 * time.Minute

// Run checks each case on a medium of its own, which medium makes, empty.
func Run(t *testing.T, medium func(t *testing.T) Open) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), caseTime)
			defer cancel()
			open, closeAll := tracked(medium(t))
			err := c.Check(ctx, open)
			if cerr := closeAll(); err == nil {
				err = cerr
			}
			if err != nil {
				t.Errorf("%v\npromise: %s", err, c.Promise)
			}
		})
	}
}

// tracked remembers what was opened, so that it can be closed.
func tracked(open Open) (Open, func() error) {
	var closers []io.Closer
	tracked := func() (athens.Storage, error) {
		s, err := open()
		if c, ok := s.(io.Closer); ok && err == nil {
			closers = append(closers, c)
		}
		return s, err
	}
	closeAll := func() error {
		for _, c := range closers {
			if err := c.Close(); err != nil {
				return err
			}
		}
		return nil
	}
	return tracked, closeAll
}
