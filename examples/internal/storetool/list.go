package storetool

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/athens-go/athens"
)

// list prints each version that a store holds, or that is marked in it.
func (t *Tool) list(ctx context.Context, flags *flag.FlagSet, args []string, stdout io.Writer) error {
	dir := t.dirFlag(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	return t.with(ctx, *dir, func(store Store) error {
		if flags.NArg() == 0 {
			return listAll(ctx, store, stdout)
		}
		for _, path := range flags.Args() {
			versions, err := store.Versions(ctx, path)
			if err != nil {
				return err
			}
			if err := listModule(ctx, store, path, versions, stdout); err != nil {
				return err
			}
		}
		return nil
	})
}

// listAll prints all modules.
func listAll(ctx context.Context, store Store, stdout io.Writer) error {
	var failed error
	var versions []string
	path, listed := "", map[string]bool{}
	for m, err := range store.All(ctx) {
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		if m.Path != path && path != "" {
			if err := listModule(ctx, store, path, versions, stdout); err != nil {
				return err
			}
			versions = versions[:0]
		}
		path, versions = m.Path, append(versions, m.Version)
		listed[path] = true
	}
	if path != "" {
		failed = errors.Join(failed, listModule(ctx, store, path, versions, stdout))
	}
	for mark, err := range store.AllMarks(ctx) {
		switch {
		case err != nil:
			failed = errors.Join(failed, err)
		case !listed[mark.Path]: // all of it was removed
			listed[mark.Path] = true
			failed = errors.Join(failed, listModule(ctx, store, mark.Path, nil, stdout))
		}
	}
	return failed
}

// sortedMarks returns the marked versions in semantic version order.
func sortedMarks(marks map[string]athens.BlockedError) []string {
	versions := slices.Collect(maps.Keys(marks))
	semver.Sort(versions)
	return versions
}

// listModule prints the versions of one module, with their marks.
func listModule(ctx context.Context, store Store, path string, versions []string, stdout io.Writer) error {
	marks, err := store.Marks(ctx, path)
	if err != nil {
		return err
	}
	held := map[string]bool{}
	var out strings.Builder
	for _, v := range versions {
		held[v] = true
		line := path + "@" + v
		if mark, ok := marks[v]; ok {
			line += "  hidden: " + mark.Reason
		}
		out.WriteString(line + "\n")
	}
	for _, v := range sortedMarks(marks) {
		if mark := marks[v]; !held[v] {
			fmt.Fprintf(&out, "%s@%s  %s: %s\n", path, v, map[bool]string{true: "removed", false: "hidden"}[mark.Removed], mark.Reason)
		}
	}
	_, err = io.WriteString(stdout, out.String())
	return err
}

// diskUsage prints how many bytes each module takes, those of nested modules apart.
func (t *Tool) diskUsage(ctx context.Context, flags *flag.FlagSet, args []string, stdout io.Writer) error {
	dir := t.dirFlag(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is no flag", flags.Arg(0))
	}
	return t.with(ctx, *dir, func(store Store) error {
		var total int64
		last := ""
		for m, err := range store.All(ctx) {
			if err != nil {
				return err
			}
			if m.Path == last {
				continue
			}
			last = m.Path
			bytes, err := store.ModuleBytes(ctx, m.Path)
			if err != nil {
				return err
			}
			total += bytes
			if _, err := fmt.Fprintf(stdout, "%12d  %s\n", bytes, m.Path); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(stdout, "%12d  total\n", total)
		return err
	})
}
