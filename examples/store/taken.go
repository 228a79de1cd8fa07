package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve/operate"
	"github.com/athens-go/athens/storage"
)

// takeBack returns the command that has that name: rm, hide or restore.
func takeBack(name string) func(context.Context, *flag.FlagSet, []string, io.Writer) error {
	return func(ctx context.Context, flags *flag.FlagSet, args []string, stdout io.Writer) error {
		dir := flags.String("dir", "", "change the store in this `folder`, also beside servers that run; empty means -server")
		server := flags.String("server", "", "let the server at this `URL` do it, which needs a token with the right admin; empty means -dir")
		token := flags.String("token-file", "", "the `file` with the token for -server; empty means the environment's ATHENS_TOKEN")
		var reason *string
		if name != "restore" {
			reason = flags.String("reason", "", "the `text` that users are shown; empty is an error")
		}
		if err := flags.Parse(args); err != nil {
			return err
		}
		versions, err := versionsOf(flags.Args())
		switch {
		case err != nil:
			return err
		case (*dir == "") == (*server == ""):
			return errors.New("want either -dir or -server")
		case reason != nil:
			if err := operate.CheckReason(*reason); err != nil {
				return fmt.Errorf("-reason: %w", err)
			}
		default:
			reason = new(string)
		}
		mark := inFolder(*dir)
		if *server != "" {
			mark, err = atServer(*server, *token)
		}
		for _, m := range versions {
			if err == nil {
				err = mark(ctx, name, m, *reason)
			}
			if err == nil {
				_, err = fmt.Fprintf(stdout, "%s: %s\n", map[string]string{"rm": "removed", "hide": "hidden", "restore": "restored"}[name], m)
			}
		}
		return err
	}
}

// versionsOf reads arguments such as example.com/mod@v1.0.0.
func versionsOf(args []string) ([]module.Version, error) {
	var all []module.Version
	for _, arg := range args {
		path, version, _ := strings.Cut(arg, "@")
		if err := module.Check(path, version); err != nil || module.CanonicalVersion(version) != version {
			return nil, fmt.Errorf("%q is not MODULE@VERSION with a canonical version, such as example.com/mod@v1.2.3", arg)
		}
		all = append(all, module.Version{Path: path, Version: version})
	}
	if all == nil {
		return nil, errors.New("want MODULE@VERSION")
	}
	return all, nil
}

// inFolder returns what marks a version in the store of a folder.
func inFolder(dir string) func(context.Context, string, module.Version, string) error {
	return func(ctx context.Context, name string, m module.Version, reason string) error {
		store, err := openStore(dir)
		switch {
		case err != nil:
			return err
		case name == "rm":
			return store.Remove(ctx, m, reason)
		case name == "hide":
			return store.Hide(ctx, m, reason)
		}
		return store.Restore(ctx, m)
	}
}

// openStore opens a store that is there.
func openStore(dir string) (*storage.Store, error) {
	if dir == "" {
		return nil, errors.New("-dir is missing")
	}
	if info, err := os.Stat(dir); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a folder", dir)
	}
	return storage.NewDisk(dir, nil)
}

// atServer returns what has a server mark a version.
func atServer(server, tokenFile string) (func(context.Context, string, module.Version, string) error, error) {
	to, err := url.Parse(server)
	if err != nil || to.Host == "" || to.Scheme != "https" && to.Scheme != "http" {
		return nil, fmt.Errorf("-server is %q, not a URL such as https://go.corp.example", server)
	}
	token := os.Getenv("ATHENS_TOKEN")
	if tokenFile != "" {
		data, err := os.ReadFile(tokenFile)
		if err != nil {
			return nil, err
		}
		token = string(data)
	}
	if token = strings.TrimSpace(token); token == "" {
		return nil, errors.New("there is no token: give -token-file, or set ATHENS_TOKEN")
	}
	client := &http.Client{
		Timeout: 5 * time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("the server redirects, and the token is for it alone")
		},
	}
	return func(ctx context.Context, name string, m module.Version, reason string) error {
		order := map[string]string{"module": m.Path, "version": m.Version}
		if reason != "" {
			order["reason"] = reason
		}
		body, err := json.Marshal(order)
		if err != nil {
			return err
		}
		path := map[string]string{"rm": "remove", "hide": "hide", "restore": "restore"}[name]
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, to.JoinPath(path).String(), bytes.NewReader(body))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := client.Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		said, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s answers %s: %s", m, to.Host, resp.Status, strings.TrimSpace(string(said)))
		}
		return err
	}, nil
}

// list prints each version that a store holds, or that is marked in it.
func list(ctx context.Context, flags *flag.FlagSet, args []string, stdout io.Writer) error {
	dir := flags.String("dir", "", "the store's `folder`; empty is an error")
	if err := flags.Parse(args); err != nil {
		return err
	}
	store, err := openStore(*dir)
	if err != nil {
		return err
	}
	path, failed := "", error(nil)
	if flags.NArg() > 0 {
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
	}
	var versions []string
	listed := map[string]bool{}
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
	others, err := markedModules(*dir)
	for _, path := range others {
		if !listed[path] { // all of it was removed
			err = errors.Join(err, listModule(ctx, store, path, nil, stdout))
		}
	}
	return errors.Join(failed, err)
}

// markedModules returns the modules with marks, which a store keeps in files called taken.
func markedModules(dir string) (paths []string, err error) {
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case d.IsDir() && name != dir && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir // the server's own
		case d.Name() != "taken" || filepath.Base(filepath.Dir(name)) != "@v":
			return nil
		}
		escaped, err := filepath.Rel(dir, filepath.Dir(filepath.Dir(name)))
		if err == nil {
			if path, err := module.UnescapePath(filepath.ToSlash(escaped)); err == nil {
				paths = append(paths, path)
			}
		}
		return err
	})
	return paths, err
}

// sortedMarks returns the marked versions in semantic version order.
func sortedMarks(marks map[string]athens.BlockedError) []string {
	versions := slices.Collect(maps.Keys(marks))
	semver.Sort(versions)
	return versions
}

// listModule prints the versions of one module, with their marks.
func listModule(ctx context.Context, store *storage.Store, path string, versions []string, stdout io.Writer) error {
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
func diskUsage(ctx context.Context, flags *flag.FlagSet, args []string, stdout io.Writer) error {
	dir := flags.String("dir", "", "the store's `folder`; empty is an error")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is no flag", flags.Arg(0))
	}
	store, err := openStore(*dir)
	if err != nil {
		return err
	}
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
		escaped, err := module.EscapePath(m.Path)
		if err != nil {
			return err
		}
		bytes, err := sizeOf(filepath.Join(*dir, filepath.FromSlash(escaped), "@v"))
		if err != nil {
			return err
		}
		total += bytes
		if _, err := fmt.Fprintf(stdout, "%12d  %s\n", bytes, m.Path); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(stdout, "%12d  total\n", total)
	return err
}

// sizeOf returns the bytes of the files in a folder. What goes meanwhile counts nothing.
func sizeOf(dir string) (bytes int64, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		info, ierr := e.Info()
		switch {
		case errors.Is(ierr, fs.ErrNotExist):
		case ierr != nil:
			return 0, ierr
		case info.Mode().IsRegular():
			bytes += info.Size()
		}
	}
	return bytes, err
}
