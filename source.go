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

// source is where what is not held comes from.
type source struct {
	Fetcher
	Route
	name string // for errors and logs
	vcs  bool   // version control: stored before it is answered, and whole

	parent any // RequestInfo.TraceParent of the request or fill that needs it first

	location Upstream    // where clients may be sent; nil: nowhere
	list     *sourceList // it stands for several
	label    string      // of one of several upstreams
}

// host is what is silent when a question about a module is not answered: the
// upstream, or the host that the module is on.
func (s source) host(path string) string {
	if !s.vcs {
		return s.name + s.label
	}
	host, _, _ := strings.Cut(path, "/")
	return s.name + " of " + host
}

// versions lists the versions of a module. Of one without tags, version control says
// whether it is a module.
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

// pin returns the source for one version, if src stands for several.
func (s source) pin(ctx context.Context, m module.Version) (source, error) {
	if s.list == nil {
		return s, nil
	}
	return s.list.pin(ctx, m)
}

// sourceFrom returns the source that stands for those of Route.From. A list of several is
// asked on behalf of clients, which could be sent to one of them only.
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

// member returns the source for one place.
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

// noFetcher is version control that this server has no access to.
type noFetcher struct{}

func (noFetcher) err() error { return &UnavailableError{Source: "version control", Err: errNoFetcher} }

// Versions implements [Fetcher].
func (f noFetcher) Versions(context.Context, string) ([]string, error) { return nil, f.err() }

// Resolve implements [Fetcher].
func (f noFetcher) Resolve(context.Context, string, string) (*Info, error) { return nil, f.err() }

// Fetch implements [Fetcher].
func (f noFetcher) Fetch(context.Context, module.Version) (Content, error) { return nil, f.err() }

// sourceList asks several sources, each only if the one before it leaves that open. As in
// the go command, each question and each file starts with the first source.
type sourceList struct {
	members []source
	onError []bool // see Source.OnError
}

// each calls ask for one source after the other until one has the last word. What was not
// found is not found only if no other source failed: an outage must not become a 404. Of
// several failures that of version control counts, otherwise the last one.
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

// stopError ends a walk over the sources.
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

// pin returns the source for one version, by which of them has its .info. That is version
// control, whose content is stored whole and checked as such, or servers.
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

// pinnedFetcher has the content of one version.
type pinnedFetcher struct {
	Fetcher
	content Content
}

// Fetch implements [Fetcher].
func (f pinnedFetcher) Fetch(context.Context, module.Version) (Content, error) { return f.content, nil }

// listContent is a version of which a server of a list has the .info.
type listContent struct {
	list     *sourceList
	module   module.Version
	info     *Info
	contents []Content // of the sources that were asked for it
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

// Zip implements [Content]. Once a source has sent a part, no other one is asked.
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

// each asks one source after the other for a file. One that did not give the .info must
// not contradict it.
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
