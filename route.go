package athens

import "golang.org/x/mod/module"

// Route says where a module comes from and whether it may be served. The zero
// Route is public and not blocked. Package redirect/rules
// makes routes from a rules file.
type Route struct {
	// Private modules are fetched from version control only: the Upstream
	// never hears of them.
	Private bool
	// Blocked is why the version may not be served, shown to the user; empty
	// if it may. Its .mod is served all the same, because module graphs
	// mention versions that nobody selects.
	Blocked string
}

// route asks Options.Route. An empty version means the module as a whole.
func (h *Handler) route(m module.Version) Route {
	if h.opts.Route == nil {
		return Route{}
	}
	return h.opts.Route(m)
}

// source is where what is not held comes from.
type source struct {
	Fetcher
	name string // for errors and logs
	vcs  bool   // version control: stored before it is answered, and whole
}

// sourceOf returns where a module comes from: an Upstream for what is public,
// else version control.
func (h *Handler) sourceOf(m module.Version, private bool) (source, error) {
	switch {
	case h.opts.Upstream != nil && !private:
		return source{h.opts.Upstream, "upstream", false}, nil
	case h.opts.Fetcher != nil:
		return source{h.opts.Fetcher, "vcs", true}, nil
	case private && h.opts.Upstream != nil:
		// Not a 404: a go command would then take the private path outside.
		return source{}, &UnavailableError{Source: "version control", Err: errNoFetcher}
	}
	return source{}, &MissingError{Path: m.Path, Query: m.Version, Err: errNoSource}
}
