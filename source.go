package athens

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/mod/module"
)

// Source is one of the places that a public module comes from, see [Route].From.
type Source struct {
	// Upstream is the server to ask. If it is nil, Options.Fetcher reads version
	// control.
	Upstream Upstream
	// OnError says that the next source is asked after any error of this one, as behind
	// "|" in GOPROXY. If it is false, the next one is asked only after a definite "not
	// found", as behind ",".
	OnError bool
}

// source is where a module comes from when the store does not hold it.
type source struct {
	Fetcher
	Route
	name string // for errors and logs
	vcs  bool   // version control: a version is stored whole before clients get it

	parent any // RequestInfo.TraceParent of the request or fill that needs it first

	location Upstream    // where clients may be sent; nil: nowhere
	list     *sourceList // nil: this is a single source
	label    string      // tells upstreams apart
}

// host names the server that has to answer questions about a module: the upstream, or the
// host of the module's repository.
func (s source) host(path string) string {
	if !s.vcs {
		return s.name + s.label
	}
	host, _, _ := strings.Cut(path, "/")
	return s.name + " of " + host
}

// versions lists the versions of a module. If version control has no tags of it, versions
// asks whether the module exists.
func (s source) versions(ctx context.Context, path string) ([]string, error) {
	versions, err := s.Versions(ctx, path)
	if err == nil && len(versions) == 0 && s.vcs {
		_, latestErr := s.Resolve(ctx, path, "latest")
		if missing, ok := outermost(latestErr).(*MissingError); ok {
			err = &MissingError{Path: path, Err: missing.Err}
		}
	}
	return versions, err
}

// pin returns the source of one version. That is s, unless s stands for several sources.
func (s source) pin(ctx context.Context, m module.Version) (source, error) {
	if s.list == nil {
		return s, nil
	}
	return s.list.pin(ctx, m)
}

// sourceFrom returns a source that stands for those of Route.From. If there are several,
// this server asks them itself: a client could be sent to one of them only.
func (o *Options) sourceFrom(route Route, parent any) source {
	if len(route.From) == 1 {
		return o.member(route, route.From[0], parent)
	}
	list := new(sourceList)
	for _, from := range route.From {
		list.members = append(list.members, o.member(route, from, parent))
		list.onError = append(list.onError, from.OnError)
	}
	return source{Fetcher: list, Route: route, name: SourceUpstream, parent: parent, list: list, label: list.members[0].label}
}

// member returns the source for one entry of Route.From.
func (o *Options) member(route Route, from Source, parent any) source {
	switch {
	case from.Upstream != nil:
		src := source{Fetcher: from.Upstream, Route: route, name: SourceUpstream, parent: parent}
		if o.Upstream != nil { // a registry sends nobody away
			src.location = from.Upstream
		}
		if named, ok := from.Upstream.(fmt.Stringer); ok {
			src.label = " " + named.String()
		}
		return src
	case o.Fetcher != nil:
		return source{Fetcher: o.Fetcher, Route: route, name: SourceVCS, vcs: true, parent: parent}
	}
	return source{Fetcher: noFetcher{}, Route: route, name: SourceVCS, vcs: true, parent: parent}
}

// noFetcher stands for version control on a server without Options.Fetcher.
type noFetcher struct{}

func (noFetcher) err() error { return &UnavailableError{Source: "version control", Err: errNoFetcher} }

// Versions implements [Fetcher].
func (f noFetcher) Versions(context.Context, string) ([]string, error) { return nil, f.err() }

// Resolve implements [Fetcher].
func (f noFetcher) Resolve(context.Context, string, string) (*Info, error) { return nil, f.err() }

// Fetch implements [Fetcher].
func (f noFetcher) Fetch(context.Context, module.Version) (Content, error) { return nil, f.err() }

// sourceList asks several sources in order, the next one only after an error that allows
// it. Like the go command, it starts with the first source for each question and file.
type sourceList struct {
	members []source
	onError []bool // see Source.OnError
}

// each calls ask for one source after the other until one succeeds, or fails in a way that
// ends the walk. It returns "not found" only if no source failed otherwise: an outage must
// not become a 404. Of several failures it returns that of version control, otherwise the
// last one.
func (l *sourceList) each(ask func(i int, src source) error) error {
	var best error
	ofVCS := false
	for i, src := range l.members {
		err := ask(i, src)
		if err == nil {
			return nil
		}
		_, missing := outermost(err).(*MissingError)
		if best == nil || !missing && !ofVCS {
			best, ofVCS = err, src.vcs && !missing
		}
		if stop, ok := errors.AsType[*stopError](err); ok {
			return stop.err
		}
		if !missing && !l.onError[i] {
			break
		}
	}
	return best
}

// stopError ends the walk of sourceList.each.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }

// Versions implements [Fetcher].
func (l *sourceList) Versions(ctx context.Context, path string) (versions []string, err error) {
	err = l.each(func(_ int, src source) (err error) {
		versions, err = src.versions(ctx, path)
		return err
	})
	return versions, err
}

// Resolve implements [Fetcher].
func (l *sourceList) Resolve(ctx context.Context, path, query string) (info *Info, err error) {
	err = l.each(func(_ int, src source) (err error) {
		info, err = src.Resolve(ctx, path, query)
		return err
	})
	return info, err
}

// Fetch implements [Fetcher].
func (l *sourceList) Fetch(ctx context.Context, m module.Version) (Content, error) {
	src, err := l.pin(ctx, m)
	if err != nil {
		return nil, err
	}
	return src.Fetch(ctx, m)
}

// pin returns the source of one version: version control, or the upstream that has its
// .info.
func (l *sourceList) pin(ctx context.Context, m module.Version) (pinned source, err error) {
	c := &listContent{list: l, module: m, contents: make([]Content, len(l.members))}
	err = l.each(func(i int, src source) (err error) {
		if c.contents[i], err = src.Fetch(ctx, m); err != nil {
			return err
		}
		if src.vcs {
			pinned = src
			return nil
		}
		if c.info, err = c.contents[i].Info(ctx); c.info == nil {
			c.info = new(Info) // of no version
		}
		pinned = src
		pinned.Fetcher, pinned.location = pinnedFetcher{src.Fetcher, c}, nil
		return err
	})
	return pinned, err
}

// pinnedFetcher fetches one version, whose content it has already.
type pinnedFetcher struct {
	Fetcher
	content Content
}

// Fetch implements [Fetcher].
func (f pinnedFetcher) Fetch(context.Context, module.Version) (Content, error) { return f.content, nil }

// listContent is a version whose .info came from one of several sources.
type listContent struct {
	list     *sourceList
	module   module.Version
	info     *Info
	contents []Content // of each source; nil: it was not asked yet
}

// Info implements [Content].
func (c *listContent) Info(context.Context) (*Info, error) {
	info := *c.info
	if info.Origin != nil {
		info.Origin = new(*info.Origin)
	}
	return &info, nil
}

// Mod implements [Content].
func (c *listContent) Mod(ctx context.Context) (mod []byte, err error) {
	err = c.each(ctx, func(content Content) (err error) {
		mod, err = content.Mod(ctx)
		return err
	})
	return mod, err
}

// Zip implements [Content]. Once a source has sent a part of the zip, it asks no other one.
func (c *listContent) Zip(ctx context.Context, w io.Writer) error {
	return c.each(ctx, func(content Content) error {
		used := false
		err := content.Zip(ctx, &firstWrite{w: w, then: func() { used = true }})
		if err != nil && used {
			return &stopError{err}
		}
		return err
	})
}

// each asks one source after the other for a file. Version control must not contradict the
// .info of an upstream.
func (c *listContent) each(ctx context.Context, ask func(Content) error) error {
	return c.list.each(func(i int, src source) (err error) {
		content := c.contents[i]
		if content == nil || src.vcs {
			if content, err = src.Fetch(ctx, c.module); err != nil {
				return err
			}
		}
		if src.vcs {
			info, err := content.Info(ctx)
			if err != nil {
				return err
			}
			if a, b := compareInfos(c.info, info, false); a != b {
				return &InvalidError{c.module.Path, c.module.Version, fmt.Errorf("an upstream has %s, version control %s", a, b)}
			}
		}
		return ask(content)
	})
}

// compareInfos returns the values in which two .info files of one version contradict
// each other, or two empty strings. An upstream's .info is a hint: only another commit
// contradicts the stored one. An .info made from a commit (vcs) must also have the
// stored time.
func compareInfos(held, got *Info, vcs bool) (ofHeld, ofGot string) {
	was, is := held.commit(), got.commit()
	switch both := was != "" && is != ""; {
	case both && was != is:
		return "commit " + was, "commit " + is
	case !both && vcs && !held.Time.Equal(got.Time):
		return "time " + held.Time.String(), "time " + got.Time.String()
	}
	return "", ""
}

// commit returns the commit that i names, or "".
func (i *Info) commit() string {
	if i.Origin == nil {
		return ""
	}
	return i.Origin.Hash
}

// firstWrite calls then before the first byte is written to w.
type firstWrite struct {
	w    io.Writer
	then func()
}

func (f *firstWrite) Write(p []byte) (int, error) {
	if f.then != nil {
		f.then()
		f.then = nil
	}
	return f.w.Write(p)
}
