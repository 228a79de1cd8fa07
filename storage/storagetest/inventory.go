package storagetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// inventoryCases are about what an export asks of a store, see package storage/bundle. Stores that
// lack these abilities pass.
var inventoryCases = []Case{
	{"sumdb-listed", "AllSumDB yields each name under which something is stored once; it ends when its caller has enough, and with the error of a context that is done", twice(checkSumDBListed)},
	{"zip-hash", "ZipHash returns the h1 that the zip was committed with; without a zip it is fs.ErrNotExist, of a removed version an *athens.BlockedError", twice(checkZipHash)},
}

// sumDBLister is that of package storage/bundle.
type sumDBLister interface {
	athens.SumDBStore
	AllSumDB(ctx context.Context) iter.Seq2[string, error]
}

// zipHasher is that of package storage/bundle.
type zipHasher interface {
	ZipHash(ctx context.Context, m module.Version) (string, error)
}

// listedSums returns what AllSumDB yields, in order.
func listedSums(ctx context.Context, l sumDBLister) (names []string, err error) {
	for name, err := range l.AllSumDB(ctx) {
		if err != nil {
			return nil, fmt.Errorf("AllSumDB: %w", err)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

func checkSumDBListed(ctx context.Context, a, b athens.Storage) error {
	from, ok1 := a.(sumDBLister)
	l, ok2 := b.(sumDBLister)
	if !ok1 || !ok2 {
		return nil
	}
	if err := ordinary().Store(ctx, a); err != nil {
		return err
	}
	var want []string
	for _, name := range append([]string{""}, sumdbNames...) {
		for range 2 { // the same again is listed once
			if name != "" {
				if err := from.PutSumDB(ctx, name, []byte("x")); err != nil {
					return err
				}
			}
		}
		if name != "" {
			want = append(want, name)
			slices.Sort(want)
		}
		got, err := listedSums(ctx, l)
		if err != nil {
			return err
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("AllSumDB yields %q, want %q", got, want)
		}
	}
	calls := 0
	l.AllSumDB(ctx)(func(string, error) bool {
		calls++
		return calls < 2
	})
	if calls != 2 {
		return fmt.Errorf("the caller had enough after 2 names and was given %d", calls)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	var last error
	for _, err := range l.AllSumDB(done) {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		return fmt.Errorf("with a context that is done AllSumDB ends with the error %v, want context.Canceled", last)
	}
	return nil
}

func checkZipHash(ctx context.Context, a, b athens.Storage) error {
	h, ok := b.(zipHasher)
	if !ok {
		return nil
	}
	v := ordinary()
	without := func(when string) error {
		if h1, err := h.ZipHash(ctx, v.Module); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s ZipHash returns %q with the error %v, want fs.ErrNotExist", when, h1, err)
		}
		return nil
	}
	if err := without("of a version that is not held"); err != nil {
		return err
	}
	if err := v.Put(ctx, a); err != nil {
		return err
	}
	if err := without("of a version without a zip"); err != nil {
		return err
	}
	if err := v.Commit(ctx, a); err != nil {
		return err
	}
	if h1, err := h.ZipHash(ctx, v.Module); err != nil || h1 != v.H1 {
		return fmt.Errorf("ZipHash returns %q with the error %w, want %s", h1, err, v.H1)
	}
	remover, ok := b.(athens.Remover)
	if !ok {
		return nil
	}
	if err := remover.Remove(ctx, v.Module, "bad"); err != nil {
		return err
	}
	h1, err := h.ZipHash(ctx, v.Module)
	if blocked, ok := errors.AsType[*athens.BlockedError](err); !ok || !blocked.Removed {
		return fmt.Errorf("of a removed version ZipHash returns %q with the error %w, want an *athens.BlockedError", h1, err)
	}
	return nil
}
