package gocmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/athens-go/athens"
)

// head is a query that the tools answer, or refuse, from the repository itself.
const head = "HEAD"

// inTempDir calls ask with a new temporary folder and then removes the folder.
func (f *Fetcher) inTempDir(ask func(dir string) error) error {
	dir, err := f.newFolder()
	if err != nil {
		return err
	}
	defer f.remove(dir)
	return ask(dir)
}

// list lists the tagged versions.
func (f *Fetcher) list(ctx context.Context, path string) (list []string, err error) {
	command := []string{"list", "-m", "-e", "-versions", "-retracted", "-json", path}
	err = f.inTempDir(func(dir string) error {
		answer, err := f.run(ctx, dir, path, 1, command...)
		if err == nil && answer[0].Error != "" {
			err = f.refusal(ctx, dir, module.Version{Path: path}, answer[0])
		}
		if err == nil {
			list = answer[0].Versions
		}
		return err
	})
	if err != nil || len(list) > 0 {
		return canonicalVersions(list), err
	}
	// If hg or svn fails to list tags, the go command reports a repository without
	// tags. So an empty list counts only if the repository also answers another query.
	// If that needed a clone, the clone has the tags.
	err = f.inTempDir(func(dir string) error {
		answer, err := f.run(ctx, dir, path, 1, "list", "-m", "-e", "-json", path+"@"+head)
		if err == nil && !reached(path, answer[0]) {
			err = f.unconfirmedError(dir, path, answer[0])
		}
		if err != nil {
			return err
		}
		if answer, err = f.run(ctx, dir, path, 1, command...); err == nil && answer[0].Error != "" {
			err = f.refusal(ctx, dir, module.Version{Path: path}, answer[0])
		}
		if err == nil {
			list = answer[0].Versions
		}
		return err
	})
	return canonicalVersions(list), err
}

// canonicalVersions returns the sorted canonical versions of the go command's list,
// without pseudo-versions.
func canonicalVersions(list []string) []string {
	list = slices.DeleteFunc(list, func(v string) bool { return v != module.CanonicalVersion(v) || module.IsPseudoVersion(v) })
	semver.Sort(list)
	return list
}

// resolve resolves a query.
func (f *Fetcher) resolve(ctx context.Context, m module.Version) (info *athens.Info, err error) {
	err = f.inTempDir(func(dir string) error {
		info, _, err = f.stat(ctx, dir, m)
		return err
	})
	return info, err
}

// stat resolves a version or query, and returns the file with its go.mod. The
// go command leaves the file out if it can't be read.
func (f *Fetcher) stat(ctx context.Context, dir string, m module.Version) (info *athens.Info, gomod string, err error) {
	answer, err := f.run(ctx, dir, m.Path, 1, "list", "-m", "-e", "-json", m.Path+"@"+m.Version)
	if err != nil {
		return nil, "", err
	}
	p := answer[0]
	if p.Error != "" {
		return nil, "", f.refusal(ctx, dir, m, p)
	}
	if p.Version == "" || p.Version != module.CanonicalVersion(p.Version) || module.Check(m.Path, p.Version) != nil {
		return nil, "", fmt.Errorf("the go command resolves %s to %q, which is not a version of this module", m.Version, sanitize(p.Version, dir))
	}
	if p.Origin != nil {
		p.Origin.URL = stripLogins(p.Origin.URL)
	}
	return &athens.Info{Version: p.Version, Time: p.Time.UTC(), Origin: p.Origin}, p.GoMod, nil
}

// refusal returns the error for an error text of the go command.
func (f *Fetcher) refusal(ctx context.Context, dir string, m module.Version, p moduleJSON) error {
	text := trimSubject(m.Path, string(p.Error))
	words := errors.New(sanitize(text, dir))
	f.opts.Logger.InfoContext(ctx, "go command failed", "module", m.Path, "version", m.Version, "error", sanitizeForLog(text, dir))
	missing := &athens.MissingError{Path: m.Path, Query: m.Version, Err: words}
	switch classify(m.Path, string(p.Error)) {
	case notFound:
		return missing
	case unconfirmed:
		if !keepsClone(p) {
			if err := f.confirm(ctx, m); err != nil {
				return err
			}
		}
		return missing
	case invalid:
		return &athens.InvalidError{Path: m.Path, Version: m.Version, Err: words}
	case tooNew:
		words = fmt.Errorf("the go command on this server is too old for this version and must be updated; Options.Go names it: %w", words)
		return &athens.InvalidError{Path: m.Path, Version: m.Version, Err: words}
	case disallowed:
		return &athens.BlockedError{Path: m.Path, Version: m.Version, Reason: words.Error()}
	}
	if tool := noTool.FindStringSubmatch(string(p.Error)); tool != nil {
		words = fmt.Errorf("%s is not installed on this server, or not in its PATH: %w", sanitize(tool[1], dir), words)
	}
	return &athens.UnavailableError{Source: "version control of " + m.Path, Err: words}
}

// keepsClone reports whether the go command reads the repository from a clone. If the
// server did not answer, cloning would have failed with another error text.
func keepsClone(p moduleJSON) bool {
	return p.Origin != nil && slices.Contains([]string{"git", "hg", "bzr", "fossil"}, p.Origin.VCS)
}

// confirm repeats the query together with another one, so that a server that does
// not answer is not taken for one that refuses.
func (f *Fetcher) confirm(ctx context.Context, m module.Version) error {
	query := cmp.Or(m.Version, "latest")
	return f.inTempDir(func(dir string) error {
		answer, err := f.run(ctx, dir, m.Path, 2, "list", "-m", "-e", "-json", m.Path+"@"+query, m.Path+"@"+head)
		if err != nil {
			return err
		}
		again := classify(m.Path, string(answer[0].Error))
		if answer[0].Error == "" || again != unconfirmed && again != notFound || !reached(m.Path, answer[1]) {
			return f.unconfirmedError(dir, m.Path, answer[1])
		}
		return nil
	})
}

var unknownHead = regexp.MustCompile(`unknown revision ` + head + `$`)

// reached reports whether the answer about [head] came from the repository.
func reached(path string, p moduleJSON) bool {
	switch classify(path, string(p.Error)) {
	case notFound:
		return true
	case unconfirmed:
		return keepsClone(p) || !unknownHead.MatchString(string(p.Error))
	}
	return p.Error == ""
}

// unconfirmedError returns the outage for a refusal that could not be confirmed.
func (f *Fetcher) unconfirmedError(dir, path string, p moduleJSON) error {
	why := errors.New("its refusal can't be distinguished from an outage")
	if p.Error != "" {
		why = fmt.Errorf("%w: %s", why, sanitize(trimSubject(path, string(p.Error)), dir))
	}
	if p.Origin != nil && p.Origin.VCS != "" && !hasTool(f.env, p.Origin.VCS) {
		why = fmt.Errorf("%s is not installed on this server, or not in its PATH", p.Origin.VCS)
	}
	return &athens.UnavailableError{Source: "version control of " + path, Err: why}
}
