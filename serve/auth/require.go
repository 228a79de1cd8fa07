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
// it in a checksum database. Tiles and heads of such a database, and the pages at / and below
// /-/, need the right for any path: pages ask [File.Allow] what they may show. Anything
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
			info.User = t.name
			r = r.WithContext(context.WithValue(info.Context(r.Context()), tokenKey{}, t))
		}
		next.ServeHTTP(w, r)
	})
}

// tokenKey is the context key of the token of a request that Require has admitted.
type tokenKey struct{}

// tokenOf returns the token of a request that Require has admitted, or what everybody may.
func (f *File) tokenOf(r *http.Request) *token {
	if t, ok := r.Context().Value(tokenKey{}).(*token); ok {
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
	case t == nil || t.name == "":
		return &athens.RefusedError{Status: http.StatusUnauthorized, Reason: "log in to read this"}
	}
	return fmt.Errorf("the token %s has no right to read %s", t.name, describe(m.Path))
}

// AllowAll reports whether the sender of a request that [File.Require] has admitted may read
// all modules.
func (f *File) AllowAll(r *http.Request) bool { return f.tokenOf(r).may(Read, "", true) }

// Authorize returns the name of the token that a request presents, if it has a right for a
// module's path; an empty path stands for any. A missing or wrong login is an
// [*athens.RefusedError] with Status 401. It is for handlers that learn from a request's body which
// module it is about; others stand behind [File.Require].
func (f *File) Authorize(r *http.Request, right Rights, path string) (name string, err error) {
	user, secret, given := login(r)
	challenge := fmt.Sprintf("Basic realm=%q", f.opts.Realm)
	if !given {
		return "", &athens.RefusedError{Status: http.StatusUnauthorized, Challenge: challenge, Reason: "log in with a token that has the right to " + right.String()}
	}
	t, err := f.verify(r.Context(), user, secret)
	switch {
	case err != nil:
		return "", &athens.UnavailableError{Source: "the login", Err: errBusy}
	case t == nil:
		return "", &athens.RefusedError{Status: http.StatusUnauthorized, Challenge: challenge, Reason: "this login is not valid"}
	case !t.may(right, path, false):
		return "", fmt.Errorf("the token %s has no right to %s %s", t.name, right, describe(path))
	}
	return t.name, nil
}

// errBusy says that secrets can't be compared just now.
var errBusy = errors.New("too many logins are compared at once; try again")

// authorize returns the token of a request that it suffices for, nil if none is needed.
func (f *File) authorize(r *http.Request) (*token, error) {
	right, path, everything := needs(r)
	user, secret, given := login(r)
	if given {
		t, err := f.verify(r.Context(), user, secret)
		switch {
		case err != nil:
			return nil, errBusy
		case t == nil:
			return nil, &athens.RefusedError{Status: http.StatusUnauthorized, Reason: "this login is not valid"}
		case !t.may(right, path, everything):
			return nil, fmt.Errorf("the token %s has no right to %s %s", t.name, right, describe(path))
		}
		return t, nil
	}
	if !f.now.Load().anonymous.may(right, path, everything) {
		return nil, &athens.RefusedError{Status: http.StatusUnauthorized, Reason: "log in: the go command takes the login from a netrc file or from GOAUTH"}
	}
	return nil, nil
}

func describe(path string) string {
	if path == "" {
		return "this"
	}
	return path
}

// login returns what a request presents, as a Basic login or as a Bearer token, and whether
// it presents anything.
func login(r *http.Request) (user, secret string, given bool) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return "", "", false
	}
	if user, secret, ok := r.BasicAuth(); ok {
		return user, secret, true
	}
	const bearer = "Bearer "
	if len(header) > len(bearer) && strings.EqualFold(header[:len(bearer)], bearer) {
		return "", strings.TrimSpace(header[len(bearer):]), true
	}
	return "", "", true
}

// needs returns which right a request needs, and for which module. Everything says that it
// is of no module and may tell of any.
func needs(r *http.Request) (right Rights, path string, everything bool) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		right = Read
	case http.MethodPut:
		right = Publish
	case http.MethodPost:
		right = Refresh
	default:
		right = Admin
	}
	if right == Read && (r.URL.Path == "/" || r.URL.Path == "" || strings.HasPrefix(r.URL.Path, "/-/")) {
		return right, "", false // pages ask Allow about each module that they show
	}
	req, err := protocol.Parse(strings.TrimPrefix(r.URL.Path, "/"))
	switch {
	case err != nil:
		return right, "", true
	case req.Kind == protocol.SumDB:
		return right, req.Module.Path, false
	}
	return right, req.Module.Path, req.Module.Path == ""
}

// refuse answers with why a request is not admitted.
func (f *File) refuse(w http.ResponseWriter, err error) {
	status := http.StatusForbidden
	header := w.Header()
	if code, _ := athens.Status(err); code == http.StatusUnauthorized {
		status = code
		header.Add("WWW-Authenticate", fmt.Sprintf("Basic realm=%q", f.opts.Realm))
		header.Add("WWW-Authenticate", fmt.Sprintf("Bearer realm=%q", f.opts.Realm))
	} else if errors.Is(err, errBusy) {
		status = http.StatusServiceUnavailable
		header.Set("Retry-After", "5")
	}
	header.Set("Cache-Control", "no-store")
	http.Error(w, err.Error(), status)
}
