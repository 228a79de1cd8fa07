package serve

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/athens-go/athens/internal/pattern"
	"github.com/athens-go/athens/internal/protocol"
)

// PageOptions configures [NewPage]. Its zero value is for a server whose address clients
// know from their request and that has no private modules.
type PageOptions struct {
	// Name is what the page calls the server. Empty means "a Go module proxy".
	Name string
	// URL is the address that clients use, for a server behind something that
	// changes it. Empty means the one that the request came to.
	URL string
	// Private has GOPRIVATE's syntax: the private modules. It is shown to each client,
	// which needs it in GONOSUMDB. If it is empty, GOPRIVATE and GONOPROXY of the
	// environment are used, as in [athens.Options]; "none" means no path.
	Private string
	// CurrentPrivate returns what Private is now, where a reload of rules can change it;
	// empty means no path. If it is nil, Private is shown.
	CurrentPrivate func() string
	// SumDB is the key of the checksum database that knows all modules of the server,
	// NAME+HASH+KEY: that of its ledger. Empty means that clients verify by their own.
	SumDB string
}

// NewPage returns what a person who opens the server in a browser should see: a short
// text that says what the server is and which line to paste into a shell. Package web has
// pages that show more. A nil opts means the zero [PageOptions]. Paths other than / are 404.
func NewPage(opts *PageOptions) http.Handler {
	var o PageOptions
	if opts != nil {
		o = *opts
	}
	if o.Name == "" {
		o.Name = "a Go module proxy"
	}
	list := ""
	if private, err := pattern.ParsePrivate(o.Private); err == nil { // no handler starts with malformed ones
		list = private.String()
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" && r.URL.Path != "" {
			http.NotFound(w, r) // of package web, which has more pages
			return
		}
		base := o.URL
		if base == "" {
			base = requestBase(r)
		}
		list := list
		if o.CurrentPrivate != nil {
			list = o.CurrentPrivate()
		}
		line := PasteLine(base, list)
		if o.SumDB != "" {
			line = PasteVerifiedLine(base, o.SumDB, list)
		}
		writeText(w, http.StatusOK, fmt.Sprintf(`This is %s. It serves Go modules to the go command ("go help goproxy").

To use it in a shell:

    %s

To use it always:

    go env -w %s

Then ask it for a module:

    go list -m -versions example.com/module

The server is well while /healthz answers 200, and takes requests while /readyz does.
`, o.Name, line, strings.TrimPrefix(line, "export ")))
	})
}

// requestBase is the address under which the client of r reaches this page, without a
// slash at its end.
func requestBase(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	path := r.URL.Path
	if asked, err := url.ParseRequestURI(r.RequestURI); err == nil {
		path = asked.Path // with the prefix that http.StripPrefix took away
	}
	return (&url.URL{Scheme: scheme, Host: r.Host, Path: strings.TrimSuffix(path, "/")}).String()
}

// Front returns a handler that answers GET and HEAD of the root, and whatever is below
// /-/, with page, GET and HEAD of /healthz and /readyz with health, and everything else with
// next. No module path begins like these. Page and health may be nil: next answers their paths then. Requests reach next
// with the http.ResponseWriter of the server, so that the kernel still copies files.
func Front(next http.Handler, health *Health, page http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case health != nil && protocol.IsProbe(r):
			health.ServeHTTP(w, r)
		case page != nil && (protocol.IsQuestion(r) && (r.URL.Path == "/" || r.URL.Path == "") || strings.HasPrefix(r.URL.Path, "/-/")):
			page.ServeHTTP(w, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
}
