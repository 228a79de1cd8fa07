package web

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve"
)

// pageTimeout bounds how long a page reads from the store.
const pageTimeout = 20 * time.Second

// policy keeps a browser from running, loading or sending anything that is not of this
// server, and other sites from framing the pages.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// asset is a file that pages refer to by its hash.
type asset struct {
	content []byte
	kind    string
	hash    string
}

func readAssets(in fs.FS) (map[string]asset, error) {
	kinds := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	all := make(map[string]asset)
	err := fs.WalkDir(in, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(in, name)
		sum := sha256.Sum256(content)
		all[name] = asset{content, kinds[path.Ext(name)], hex.EncodeToString(sum[:6])}
		return err
	})
	return all, err
}

// statusError is an error that a reader is to see.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return e.text }

// view is what a page is made of. Its methods are for the templates.
type view struct {
	Title   string
	Section string // of the navigation
	Name    string // of the server
	Base    string // URL path of the root, without a slash at its end
	Query   string // in the search field
	All     bool   // the reader may see everything
	Ledger  bool   // there is one
	Data    any
	static  map[string]asset
}

// Asset returns the URL of a file such as style.css.
func (v *view) Asset(name string) string {
	return v.Base + "/-/" + name + "?v=" + v.static[name].hash
}

// request is a page that is being made.
type request struct {
	*Site
	*reader
	ctx context.Context
	w   http.ResponseWriter
	r   *http.Request
	view
}

// ServeHTTP answers / and what is below /-/; anything else is 404.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cache-Control", "private, no-cache")
	header.Add("Vary", "Accept, Authorization")
	if name, ok := strings.CutPrefix(r.URL.Path, "/-/"); ok {
		if a, ok := s.static[name]; ok {
			if r.URL.Query().Get("v") == a.hash {
				header.Set("Cache-Control", "public, max-age=31536000, immutable")
			}
			header.Set("Content-Type", a.kind)
			http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(a.content))
			return
		}
	}
	if r.URL.Path == "/" && !strings.Contains(r.Header.Get("Accept"), "text/html") {
		s.plain().ServeHTTP(w, r)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), pageTimeout)
	defer cancel()
	q := &request{Site: s, reader: s.readerOf(r), ctx: ctx, w: w, r: r}
	q.view = view{
		Name: s.opts.Name, Base: base(r), static: s.static, All: q.reader.all,
		Ledger: s.watched.Load().Ledger != nil,
	}
	name, err := q.route()
	if err != nil {
		name, err = "error.html", q.fail(err)
	}
	if err == nil && name != "" {
		err = q.render(name)
	}
	if err != nil {
		s.opts.Logger.Warn("page", "path", cut(r.URL.Path, 200), "error", err)
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
	}
}

// route makes the data of a page, and returns the name of its template; empty if it has
// answered.
func (q *request) route() (string, error) {
	if q.r.Method != http.MethodGet && q.r.Method != http.MethodHead {
		if q.r.Method == http.MethodPost && mayPost(q.r.URL.Path) {
			return q.retry()
		}
		return q.post()
	}
	if q.r.URL.Path == "/" || q.r.URL.Path == "" {
		return q.home()
	}
	rest, ok := strings.CutPrefix(q.r.URL.Path, "/-/")
	if !ok {
		return "", &statusError{http.StatusNotFound, "There is no such page."}
	}
	kind, rest, _ := strings.Cut(rest, "/")
	switch kind {
	case "m":
		return q.module(rest)
	case "f":
		return q.file(rest)
	case "d":
		return q.compare(rest)
	case "live":
		return q.live()
	case "stream":
		return q.stream()
	case "modules":
		return q.modules()
	case "fills":
		return q.fills()
	case "policy":
		return q.policy()
	case "ledger":
		return q.ledger()
	case "store":
		return q.store()
	}
	return "", &statusError{http.StatusNotFound, "There is no such page."}
}

// post is for what changes something.
func (q *request) post() (string, error) {
	q.w.Header().Set("Allow", "GET, HEAD")
	return "", &statusError{http.StatusMethodNotAllowed, "This page can only be read."}
}

// failure is the data of an error's page.
type failure struct {
	Status int
	Text   string
}

// fail makes the page of an error, and writes its status.
func (q *request) fail(err error) error {
	f := failure{http.StatusServiceUnavailable, "The store could not be read."}
	var told *statusError
	var blocked *athens.BlockedError
	switch {
	case errors.As(err, &blocked):
		f = failure{http.StatusGone, "That version is not shown: " + cut(blocked.Reason, 300)}
	case errors.As(err, &told):
		f = failure{told.status, told.text}
	case isMissing(err):
		f = failure{http.StatusNotFound, "Nothing of that name is held here."}
	case errors.Is(err, errTooLarge), errors.Is(err, errManyFiles), errors.Is(err, errBinary), errors.Is(err, errNoFile):
		f = failure{http.StatusNotFound, strings.ToUpper(err.Error()[:1]) + err.Error()[1:] + "."}
	case errors.Is(err, context.Canceled):
	default:
		q.opts.Logger.Warn("page", "path", cut(q.r.URL.Path, 200), "error", err)
	}
	q.Title, q.Data = http.StatusText(f.Status), f
	return nil
}

// render writes a page, or nothing if it can't be made.
func (q *request) render(name string) error {
	var b bytes.Buffer
	if err := q.pages.ExecuteTemplate(&b, name, &q.view); err != nil {
		return err
	}
	header := q.w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(b.Len()))
	if f, ok := q.Data.(failure); ok {
		q.w.WriteHeader(f.Status)
	}
	if q.r.Method != http.MethodHead {
		_, _ = q.w.Write(b.Bytes()) // the reader may have gone
	}
	return nil
}

// base is the path of the URL under which the site is mounted.
func base(r *http.Request) string {
	asked, err := url.ParseRequestURI(r.RequestURI)
	if err != nil {
		return ""
	}
	if prefix, ok := strings.CutSuffix(asked.EscapedPath(), r.URL.EscapedPath()); ok && strings.HasPrefix(prefix, "/") && !strings.HasPrefix(prefix, "//") {
		return prefix
	}
	return ""
}

// origin is the scheme and host by which the reader reaches this server, or "" if the
// request does not say so in a proper way.
func origin(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	host := strings.TrimPrefix(r.Host, "[")
	proper := func(c rune) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune(".-:]_", c)
	}
	if host == "" || len(host) > 260 || strings.TrimFunc(host, proper) != "" || strings.ContainsFunc(host, func(c rune) bool { return !proper(c) }) {
		return ""
	}
	return scheme + "://" + r.Host
}

// paste is the line that makes the go command use this server.
func (q *request) paste() string {
	at := q.opts.URL
	if at == "" {
		at = cmp.Or(origin(q.r), "https://HOST") + q.Base
	}
	if q.opts.SumDB != "" {
		return serve.PasteVerifiedLine(at, q.opts.SumDB, q.privatePatterns())
	}
	return serve.PasteLine(at, q.privatePatterns())
}

// privatePatterns are those of the line that clients paste.
func (s *Site) privatePatterns() string {
	return strings.Trim(s.kinds.current().patterns.String()+","+s.opts.NoSumDB, ",")
}

// plain is the text for a reader without a browser.
func (s *Site) plain() http.Handler {
	return serve.NewPage(&serve.PageOptions{Name: s.opts.Name, URL: s.opts.URL, Private: cmp.Or(s.privatePatterns(), "none"), SumDB: s.opts.SumDB})
}

// version reads PATH@VERSION, or PATH alone, of a module that the reader may see. What the
// reader may not see is as missing as what is not held.
func (q *request) version(text string) (module.Version, error) {
	missing := &statusError{http.StatusNotFound, "Nothing of that module is held here."}
	name, version, _ := strings.Cut(text, "@")
	m := module.Version{Path: name, Version: version}
	if len(text) > 1000 || module.CheckPath(name) != nil {
		return m, missing
	}
	if version != "" && (module.Check(name, version) != nil || module.CanonicalVersion(version) != version) {
		return m, missing
	}
	if !q.sees(name) {
		return m, missing
	}
	return m, nil
}

// pageNumber is the page of a list that is asked for, from 1 on.
func pageNumber(r *http.Request) int {
	n, err := strconv.Atoi(r.URL.Query().Get("page"))
	if err != nil || n < 1 || n > 10_000 {
		return 1
	}
	return n
}
