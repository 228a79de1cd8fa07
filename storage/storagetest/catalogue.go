package storagetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/athens-go/athens"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// catalogueCases are about stores that have a catalogue; others pass.
var catalogueCases = []Case{
	{"catalogue", "All names each held version once, those of a module one after the other in semantic version order", alone(catalogued(checkCatalogue))},
	{"catalogue-stop", "All ends when its caller has enough, and with the error of a context that is done", alone(catalogued(checkCatalogueStop))},
	{"catalogue-beside", "All names once what is held all the while, though others write", twice(checkCatalogueBeside)},
}

// catalogued makes a check for stores that have a catalogue.
func catalogued(check func(context.Context, athens.Storage, athens.Lister) error) func(context.Context, athens.Storage) error {
	return func(ctx context.Context, st athens.Storage) error {
		if c, ok := st.(athens.Lister); ok {
			return check(ctx, st, c)
		}
		return nil
	}
}

func checkCatalogue(ctx context.Context, st athens.Storage, c athens.Lister) error {
	if got, err := walked(ctx, c); err != nil {
		return fmt.Errorf("an empty store: %w", err)
	} else if len(got) > 0 {
		return fmt.Errorf("All of an empty store names %v", got)
	}
	want := map[string][]string{
		"example.com/mod":           {"v0.0.0-20200101000000-abcdefabcdef", "v1.2.0", "v1.10.0", "v2.0.0+incompatible"},
		"example.com/mod/v2":        {"v2.1.0"},
		"example.com/mod/sub":       {"v1.1.0-RC.1"},
		"example.com/Mod":           {"v1.0.0"},
		"example.com/a~b_c.d-e/sub": {"v1.0.0"},
		"example.org":               {"v1.0.0"},
	}
	for path, versions := range want {
		for i := range versions {
			s := NewSample(path, versions[len(versions)-1-i], "")
			if err := s.Put(ctx, st); err != nil {
				return err
			}
			if i == 0 { // the others are held without
				if err := s.Commit(ctx, st); err != nil {
					return err
				}
			}
		}
	}
	got, err := walked(ctx, c)
	if err != nil {
		return err
	}
	if !maps.EqualFunc(got, want, slices.Equal) {
		return fmt.Errorf("All names %v, want %v", got, want)
	}
	return nil
}

// walked walks over all of c, and returns the versions by module.
func walked(ctx context.Context, c athens.Lister) (map[string][]string, error) {
	got := map[string][]string{}
	var last module.Version
	for m, err := range c.All(ctx) {
		switch {
		case err != nil:
			return nil, fmt.Errorf("All: %w", err)
		case m.Path != last.Path && got[m.Path] != nil:
			return nil, fmt.Errorf("All names %s after it has left that module for another", m)
		case m.Path == last.Path && semver.Compare(last.Version, m.Version) >= 0:
			return nil, fmt.Errorf("All names %s after %s", m, last)
		}
		got[m.Path] = append(got[m.Path], m.Version)
		last = m
	}
	return got, nil
}

func checkCatalogueStop(ctx context.Context, st athens.Storage, c athens.Lister) error {
	for _, path := range []string{"example.com/a", "example.com/b", "example.org/c"} {
		for _, version := range []string{"v1.0.0", "v1.1.0"} {
			if err := NewSample(path, version, "").Put(ctx, st); err != nil {
				return err
			}
		}
	}
	for enough := 1; enough <= 6; enough++ {
		calls := 0
		c.All(ctx)(func(module.Version, error) bool {
			calls++
			return calls < enough
		})
		if calls != enough {
			return fmt.Errorf("the caller had enough after %d versions and was given %d", enough, calls)
		}
	}
	done, cancel := context.WithCancel(ctx)
	defer cancel()
	calls, last := 0, error(nil)
	for _, err := range c.All(done) {
		cancel()
		calls++
		last = err
	}
	if calls != 2 || !errors.Is(last, context.Canceled) {
		return fmt.Errorf("after its context was done All gave %d answers, the last with the error %v, want one with context.Canceled", calls-1, last)
	}
	return nil
}

func checkCatalogueBeside(ctx context.Context, a, b athens.Storage) error {
	c, ok := b.(athens.Lister)
	if !ok {
		return nil
	}
	const n = 40
	for i := range n {
		if err := NewSample(fmt.Sprintf("example.com/held%d", 2*i+1), "v1.0.0", "").Put(ctx, a); err != nil {
			return err
		}
	}
	writer := make(chan error, 1)
	go func() {
		for i := range n {
			if err := NewSample(fmt.Sprintf("example.com/held%d", 2*i), "v1.0.0", "").Put(ctx, a); err != nil {
				writer <- err
				return
			}
		}
		writer <- nil
	}()
	for ended := false; !ended; {
		select {
		case err := <-writer:
			if err != nil {
				return err
			}
			ended = true
		default:
		}
		got, err := walked(ctx, c)
		if err != nil {
			return err
		}
		for i := range n {
			if path := fmt.Sprintf("example.com/held%d", 2*i+1); !slices.Equal(got[path], []string{"v1.0.0"}) {
				return fmt.Errorf("beside a writer All names %v of %s, want v1.0.0", got[path], path)
			}
		}
	}
	return nil
}
