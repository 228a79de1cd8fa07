package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/protocol"
	"github.com/athens-go/athens/internal/retryafter"
)

// find returns the line that a secret may be of: the one whose name it begins with, or the
// one of the user.
func (t *Tokens) find(user, secret string) *token {
	if i := strings.LastIndexByte(secret, '.'); i > 0 {
		if one := t.byName[secret[:i]]; one != nil {
			return one
		}
	}
	return t.byName[user]
}

// Require returns a handler that passes on to next what the tokens in force admit, with the
// token's name in the request's context (see [athens.RequestInfo]). Other requests are answered
// with 401 where a login is missing or wrong, and with 403 where it does not suffice. A GET
// or HEAD of /healthz or /readyz is passed on as it is.
//
// The right for a module's path is needed for what is under that path, and for look-ups of
// it in a checksum database. Tiles and heads of such a database, the pages at / and below /-/,
// and the feed at /events need the right for any path: pages and the feed ask [File.Allow]
// what they may show. Anything
// else, such as an index of all modules, needs a token for the pattern *.
func (f *File) Require(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if protocol.IsProbe(r) {
			next.ServeHTTP(w, r)
			return
		}
		t, err := f.authorize(r)
		if err != nil {
			f.refuse(w, err)
			return
		}
		if t != nil {
			info := athens.RequestInfoFrom(r.Context())
			info.User = t.Name
			r = r.WithContext(context.WithValue(info.Context(r.Context()), tokenKey{}, t))
		}
		next.ServeHTTP(w, r)
	})
}

// tokenKey is the context key of the token of a request that Require has admitted.
type tokenKey struct{}

// tokenOf returns the token of a request that Require has admitted, or what everybody may.
func (f *File) tokenOf(r *http.Request) *Identity {
	if t, ok := r.Context().Value(tokenKey{}).(*Identity); ok {
		return t
	}
	return f.now.Load().anonymous
}

// Allow returns why the sender of a request that [File.Require] has admitted may not read a
// module, nil if it may: for a page that shows modules, such as that of package web.
func (f *File) Allow(r *http.Request, m module.Version) error {
	t := f.tokenOf(r)
	switch {
	case t.may(Read, m.Path, m.Path == ""):
		return nil
	case t == nil || t.Name == "":
		return &athens.RefusedError{Status: http.StatusUnauthorized, Reason: "log in to read this"}
	}
	return forbidden(t.Name, Read, m.Path)
}

// AllowAll reports whether the sender of a request that [File.Require] has admitted may read
// all modules.
func (f *File) AllowAll(r *http.Request) bool { return f.tokenOf(r).may(Read, "", true) }

// Authorize returns the name of the token that a request presents, if it has a right for a
// module's path; an empty path stands for any. A missing or wrong login is an
// [*athens.RefusedError] with Status 401. It is for handlers that learn from a request's body which
// module it is about; others stand behind [File.Require].
func (f *File) Authorize(r *http.Request, right Rights, path string) (name string, err error) {
	challenge := fmt.Sprintf("Basic realm=%q", f.opts.Realm)
	if r.Header.Get("Authorization") == "" {
		return "", &athens.RefusedError{Status: http.StatusUnauthorized, Challenge: challenge, Reason: "log in with a token that has the right to " + right.String()}
	}
	t, err := f.verify(r)
	if wrong, ok := errors.AsType[*athens.RefusedError](err); ok && wrong.Status == http.StatusUnauthorized {
		return "", &athens.RefusedError{Status: wrong.Status, Challenge: challenge, Reason: wrong.Reason}
	}
	switch {
	case err != nil:
		return "", err
	case !t.may(right, path, false):
		return "", forbidden(t.Name, right, path)
	}
	return t.Name, nil
}

// authorize returns the token of a request that it suffices for, nil if none is needed.
func (f *File) authorize(r *http.Request) (*Identity, error) {
	right := needs(r)
	if r.Header.Get("Authorization") == "" {
		if _, ok := f.now.Load().anonymous.admits(r, right); !ok {
			return nil, &athens.RefusedError{Status: http.StatusUnauthorized, Reason: "log in: the go command takes the login from a netrc file or from GOAUTH"}
		}
		return nil, nil
	}
	t, err := f.verify(r)
	if err != nil {
		return nil, err
	}
	if path, ok := t.admits(r, right); !ok {
		return nil, forbidden(t.Name, right, path)
	}
	return t, nil
}

// admits reports whether a grant allows a request. If none does, path is the module's that the
// request is about.
func (i *Identity) admits(r *http.Request, right Rights) (path string, ok bool) {
	if i.may(right, "", true) {
		return "", true // whatever it is about
	}
	path, everything := subject(r, right)
	return path, i.may(right, path, everything)
}

// login returns what a request presents, as a Basic login or as a Bearer token; nothing if it
// presents something else.
func login(r *http.Request) (user, secret string) {
	if user, secret, ok := r.BasicAuth(); ok {
		return user, secret
	}
	const bearer = "Bearer "
	if header := r.Header.Get("Authorization"); len(header) > len(bearer) && strings.EqualFold(header[:len(bearer)], bearer) {
		return "", strings.TrimSpace(header[len(bearer):])
	}
	return "", ""
}

// needs returns which right a request needs.
func needs(r *http.Request) Rights {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return Read
	case http.MethodPut:
		return Publish
	case http.MethodPost:
		return Refresh
	}
	return Admin
}

// subject returns the path of the module that a request is about. Everything says that it is
// about none and may tell of any.
func subject(r *http.Request, right Rights) (path string, everything bool) {
	if right == Read && (r.URL.Path == "/" || r.URL.Path == "/events" || r.URL.Path == "" || strings.HasPrefix(r.URL.Path, "/-/")) {
		return "", false // pages and feeds ask Allow about each module that they show
	}
	req, err := protocol.Parse(strings.TrimPrefix(r.URL.Path, "/"))
	if err != nil {
		return "", true
	}
	return req.Module.Path, req.Kind != protocol.SumDB && req.Module.Path == ""
}

// forbidden is the answer to a token that does not suffice.
func forbidden(name string, right Rights, path string) error {
	if path == "" {
		path = "this"
	}
	return &athens.RefusedError{Status: http.StatusForbidden, Reason: fmt.Sprintf("the token %s has no right to %s %s", name, right, path)}
}

// refuse answers with why a request is not admitted.
func (f *File) refuse(w http.ResponseWriter, err error) {
	status, retry := athens.Status(err)
	header := w.Header()
	if status == http.StatusUnauthorized {
		header.Add("WWW-Authenticate", fmt.Sprintf("Basic realm=%q", f.opts.Realm))
		header.Add("WWW-Authenticate", fmt.Sprintf("Bearer realm=%q", f.opts.Realm))
	}
	retryafter.Set(header, retry)
	header.Set("Cache-Control", "no-store")
	http.Error(w, err.Error(), status)
}
