package fetchertest

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	"golang.org/x/mod/sumdb/dirhash"

	"github.com/athens-go/athens"
)

func checkVersions(h Harness) error {
	return h.ask(h.New, func(ctx context.Context, f athens.Fetcher) error {
		for _, m := range h.Modules {
			for range 2 {
				got, err := f.Versions(ctx, m.Path)
				if err != nil {
					return fmt.Errorf("Versions(%s): %w", m.Path, err)
				}
				if err := wellFormed(got); err != nil {
					return fmt.Errorf("Versions(%s): %w", m.Path, err)
				}
				if !slices.Equal(got, m.Versions) {
					return fmt.Errorf("Versions(%s) = %q, want %q", m.Path, got, m.Versions)
				}
				clear(got) // the second answer must not suffer
			}
		}
		return nil
	})
}

func wellFormed(versions []string) error {
	for i, v := range versions {
		switch {
		case v != module.CanonicalVersion(v):
			return fmt.Errorf("%q is not canonical", v)
		case module.IsPseudoVersion(v):
			return fmt.Errorf("%q is a pseudo-version", v)
		case i > 0 && semver.Compare(versions[i-1], v) > 0:
			return fmt.Errorf("%q stands before %q", versions[i-1], v)
		}
	}
	return nil
}

func checkResolve(h Harness) error {
	return h.ask(h.New, func(ctx context.Context, f athens.Fetcher) error {
		for _, m := range h.Modules {
			for _, query := range slices.Sorted(maps.Keys(m.Queries)) {
				if err := resolves(ctx, f, m, query); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// resolves returns how the answer to a query is wrong.
func resolves(ctx context.Context, f athens.Fetcher, m Module, query string) error {
	want := m.Queries[query]
	got, err := f.Resolve(ctx, m.Path, query)
	if err != nil {
		return fmt.Errorf("Resolve(%s, %q): %w", m.Path, query, err)
	}
	if got == nil || got.Version != want {
		return fmt.Errorf("Resolve(%s, %q) = %+v, want %s", m.Path, query, got, want)
	}
	for _, c := range m.Contents {
		if c.Version == want && !got.Time.Equal(c.Time) {
			return fmt.Errorf("Resolve(%s, %q) has the time %s, want %s", m.Path, query, got.Time, c.Time)
		}
	}
	return nil
}

func checkResolveOwned(h Harness) error {
	return h.ask(h.New, func(ctx context.Context, f athens.Fetcher) error {
		for _, m := range h.Modules {
			for query := range m.Queries {
				info, err := f.Resolve(ctx, m.Path, query)
				if err != nil {
					return fmt.Errorf("Resolve(%s, %q): %w", m.Path, query, err)
				}
				spoil(info)
				if err := resolves(ctx, f, m, query); err != nil {
					return fmt.Errorf("after a change of the first answer: %w", err)
				}
			}
		}
		return nil
	})
}

func spoil(info *athens.Info) {
	info.Version, info.Time = "spoilt", time.Time{}
	if info.Origin != nil {
		*info.Origin = athens.Origin{VCS: "spoilt"}
	}
}

func checkContent(h Harness) error {
	return h.eachContent(func(ctx context.Context, c athens.Content, m module.Version, want Content) error {
		return errors.Join(checkInfo(ctx, c, want), checkMod(ctx, c, want), checkZip(ctx, c, m, want))
	})
}

func checkInfo(ctx context.Context, c athens.Content, want Content) error {
	info, err := c.Info(ctx)
	if err != nil {
		return fmt.Errorf("Info: %w", err)
	}
	if info.Version != want.Version || !info.Time.Equal(want.Time) {
		return fmt.Errorf("Info = %s of %s, want %s of %s", info.Version, info.Time, want.Version, want.Time)
	}
	if info.Time.Location() != time.UTC {
		return fmt.Errorf("Info has a time that is not UTC: %s", info.Time)
	}
	return nil
}

func checkMod(ctx context.Context, c athens.Content, want Content) error {
	mod, err := c.Mod(ctx)
	if err != nil {
		return fmt.Errorf("Mod: %w", err)
	}
	if string(mod) != want.Mod {
		return fmt.Errorf("Mod = %q, want %q", mod, want.Mod)
	}
	return nil
}

func checkZip(ctx context.Context, c athens.Content, m module.Version, want Content) error {
	var b bytes.Buffer
	if err := c.Zip(ctx, &b); err != nil {
		return fmt.Errorf("Zip: %w", err)
	}
	sum, err := hashZip(b.Bytes(), m)
	if err != nil {
		return fmt.Errorf("Zip: %w", err)
	}
	if sum != want.Sum {
		return fmt.Errorf("Zip has the hash %s, want %s", sum, want.Sum)
	}
	return nil
}

// hashZip returns the h1 hash of a zip whose files lie where m's must.
func hashZip(data []byte, m module.Version) (string, error) {
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return "", err
	}
	var names []string
	files := make(map[string]*zip.File)
	for _, f := range r.File {
		if !strings.HasPrefix(f.Name, m.Path+"@"+m.Version+"/") {
			return "", fmt.Errorf("the file %q is not %s's", f.Name, m)
		}
		names = append(names, f.Name)
		files[f.Name] = f
	}
	return dirhash.Hash1(names, func(name string) (io.ReadCloser, error) { return files[name].Open() })
}

func checkAnyOrder(h Harness) error {
	orders := []string{"i", "m", "z", "imz", "izm", "miz", "mzi", "zim", "zmi"}
	for _, order := range orders {
		err := h.eachContent(func(ctx context.Context, c athens.Content, m module.Version, want Content) error {
			for _, part := range order {
				var err error
				switch part {
				case 'i':
					err = checkInfo(ctx, c, want)
				case 'm':
					err = checkMod(ctx, c, want)
				case 'z':
					err = checkZip(ctx, c, m, want)
				}
				if err != nil {
					return fmt.Errorf("in the order %s: %w", order, err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func checkAtOnce(h Harness) error {
	return h.eachContent(func(ctx context.Context, c athens.Content, m module.Version, want Content) error {
		errs := make([]error, 3)
		var parts sync.WaitGroup
		parts.Go(func() { errs[0] = checkInfo(ctx, c, want) })
		parts.Go(func() { errs[1] = checkMod(ctx, c, want) })
		parts.Go(func() { errs[2] = checkZip(ctx, c, m, want) })
		parts.Wait()
		return errors.Join(errs...)
	})
}

func checkInfoOwned(h Harness) error {
	return h.eachContent(func(ctx context.Context, c athens.Content, m module.Version, want Content) error {
		info, err := c.Info(ctx)
		if err != nil {
			return fmt.Errorf("Info: %w", err)
		}
		spoil(info)
		// Another content of the same version, since each part is asked once.
		return h.ask(h.New, func(ctx context.Context, f athens.Fetcher) error {
			for range 2 {
				c, err := f.Fetch(ctx, m)
				if err != nil {
					return err
				}
				if err := checkInfo(ctx, c, want); err != nil {
					return fmt.Errorf("after a change of the first answer: %w", err)
				}
				if info, err = c.Info(ctx); err == nil {
					spoil(info)
				}
			}
			return nil
		})
	})
}

// errFull is what the kit's writers fail with.
var errFull = errors.New("the receiver is full")

// fullWriter takes a number of bytes and then fails.
type fullWriter struct{ left int }

func (w *fullWriter) Write(p []byte) (int, error) {
	if len(p) <= w.left {
		w.left -= len(p)
		return len(p), nil
	}
	n := w.left
	w.left = 0
	return n, errFull
}

func checkZipWriter(h Harness) error {
	for _, room := range []int{0, 1, 40} {
		err := h.eachContent(func(ctx context.Context, c athens.Content, m module.Version, _ Content) error {
			err := c.Zip(ctx, &fullWriter{room})
			var missing *athens.MissingError
			if err == nil {
				return fmt.Errorf("Zip into a writer that takes %d bytes: no error", room)
			}
			if errors.As(err, &missing) {
				return fmt.Errorf("Zip into a writer that takes %d bytes: a MissingError: %w", room, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
