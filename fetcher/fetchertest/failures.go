package fetchertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// read asks for a part of a version, by its file.
func read(ctx context.Context, f athens.Fetcher, m module.Version, file athens.File) error {
	c, err := f.Fetch(ctx, m)
	if err != nil {
		return err
	}
	switch file {
	case athens.InfoFile:
		_, err = c.Info(ctx)
	case athens.ModFile:
		_, err = c.Mod(ctx)
	default:
		err = c.Zip(ctx, io.Discard)
	}
	return err
}

var allFiles = []athens.File{athens.InfoFile, athens.ModFile, athens.ZipFile}

func checkMissing(h Harness) error {
	return h.ask(h.New, func(ctx context.Context, f athens.Fetcher) error {
		for _, m := range h.Missing {
			query := m.Version
			if query == "" {
				query = "latest"
			}
			_, err := f.Resolve(ctx, m.Path, query)
			if err := wantMissing(fmt.Sprintf("Resolve(%s, %q)", m.Path, query), err); err != nil {
				return err
			}
			if m.Version == "" {
				// A list may be empty instead: there is no tag in sight.
				if list, err := f.Versions(ctx, m.Path); len(list) > 0 {
					return fmt.Errorf("Versions(%s) = %q", m.Path, list)
				} else if err != nil {
					if err := wantMissing(fmt.Sprintf("Versions(%s)", m.Path), err); err != nil {
						return err
					}
				}
				m.Version = "v1.0.0"
			}
			if module.Check(m.Path, m.Version) != nil {
				continue // a query, which nobody fetches
			}
			for _, file := range allFiles {
				if err := wantMissing(fmt.Sprintf("the .%s of %s", file, m), read(ctx, f, m, file)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func checkHostile(h Harness) error {
	path := h.Modules[0].Path
	var questions []module.Version
	for _, p := range []string{
		"", ".", "..", "/", path + "/", path + "//x", path + "/../x", "../" + path, "x", "\x00", path + "\n", path + "@v1.0.0",
		"corp.test/" + strings.Repeat("a", 64<<10), "localhost/x", "corp.test:99999/x", "corp.test/\xff", "-corp.test/x", "https://" + path,
	} {
		questions = append(questions, module.Version{Path: p, Version: "latest"}, module.Version{Path: p, Version: "v1.0.0"})
	}
	for _, q := range []string{
		"", ".", "..", "/", "-", "--upload-pack=x", "@", "refs/heads/../../x", "a\nb", "\x00", "v1.0.0\r\nX: y", "HEAD~1", "main^{tree}", "*", "+x:y",
		strings.Repeat("f", 64<<10), "v1.0.0/../../x", "\xff", "v0.0.0-99999999999999-ffffffffffff", "v1.2.3-0.20200101000000-ABCDEFABCDEF",
	} {
		questions = append(questions, module.Version{Path: path, Version: q})
	}
	return h.ask(h.New, func(ctx context.Context, f athens.Fetcher) error {
		for _, q := range questions {
			if info, err := f.Resolve(ctx, q.Path, q.Version); err == nil {
				return fmt.Errorf("Resolve(%.100q, %.100q) = %+v", q.Path, q.Version, info)
			}
			if err := read(ctx, f, q, athens.InfoFile); err == nil {
				return fmt.Errorf("Fetch(%.100q, %.100q): no error", q.Path, q.Version)
			}
		}
		// It still works.
		_, err := f.Versions(ctx, path)
		return err
	})
}

func checkDown(h Harness) error {
	if h.Down == nil {
		return nil
	}
	return h.ask(h.Down, func(ctx context.Context, f athens.Fetcher) error {
		for _, m := range h.Modules {
			_, err := f.Versions(ctx, m.Path)
			if err := wantOutage("Versions("+m.Path+")", err); err != nil {
				return err
			}
			for query := range m.Queries {
				_, err := f.Resolve(ctx, m.Path, query)
				if err := wantOutage(fmt.Sprintf("Resolve(%s, %q)", m.Path, query), err); err != nil {
					return err
				}
			}
			for _, c := range m.Contents {
				v := module.Version{Path: m.Path, Version: c.Version}
				for _, file := range allFiles {
					if err := wantOutage(fmt.Sprintf("the .%s of %s", file, v), read(ctx, f, v, file)); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
}

// wantOutage returns how err could be taken for a definite answer.
func wantOutage(what string, err error) error {
	var missing *athens.MissingError
	switch {
	case err == nil:
		return fmt.Errorf("%s: no error", what)
	case errors.As(err, &missing):
		return fmt.Errorf("%s: a MissingError: %w", what, err)
	case athens.Final(err):
		return fmt.Errorf("%s: final: %w", what, err)
	case errors.Is(err, fs.ErrNotExist) && !errors.As(err, new(*athens.UnavailableError)):
		return fmt.Errorf("%s: fs.ErrNotExist, and not an UnavailableError: %w", what, err)
	}
	return nil
}
