package operate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/captured"
	"github.com/athens-go/athens/serve/internal/refusal"
)

// Refreshed is what /refresh answers with: what the version or the ref meant.
type Refreshed struct {
	Module  string
	Version string
	Time    time.Time // of its commit
}

// refresh asks for a module anew.
func (a *API) refresh(w http.ResponseWriter, r *http.Request) error {
	if isHook(r) {
		return a.hook(w, r)
	}
	o, name, err := a.read(w, r, Refresh)
	switch {
	case err != nil:
		return err
	case o.Version != "" && o.Ref != "":
		return malformed("give a version or a ref, not both")
	case o.Reason != "":
		return malformed("this request takes no reason")
	case len(o.Ref) > maxRef:
		return malformed("the ref has more than %d bytes", maxRef)
	}
	done, err := a.renew(r, o.Module, o.Version, o.Ref)
	if err != nil {
		return err
	}
	a.opts.Logger.Info("module refreshed", "module", done.Module, "version", done.Version, "user", name)
	return answer(w, done)
}

// renew forgets what sources said about a module, resolves the version or ref, @latest if
// there is neither, and makes the store hold it.
func (a *API) renew(r *http.Request, path, version, ref string) (Refreshed, error) {
	leave, err := enter(a.slots, "operations")
	if err != nil {
		return Refreshed{}, err
	}
	defer leave()
	a.handler.Refresh(path)
	escaped, err := module.EscapePath(path)
	if err != nil {
		return Refreshed{}, malformed("module: %w", err)
	}
	// A list first: what follows is then fetched from repositories as they are now.
	_, _ = a.ask(r, "/"+escaped+"/@v/list")
	if version == "" {
		question := "/" + escaped + "/@latest"
		if ref != "" {
			short, err := module.EscapeVersion(shortRef(path, ref))
			if err != nil {
				return Refreshed{}, malformed("ref: %w", err)
			}
			question = "/" + escaped + "/@v/" + short + ".info"
			if module.CanonicalVersion(shortRef(path, ref)) == shortRef(path, ref) {
				question, version = "", shortRef(path, ref)
			}
		}
		if question != "" {
			info, err := a.ask(r, question)
			if err != nil {
				return Refreshed{}, err
			}
			version = info.Version
		}
	}
	m := module.Version{Path: path, Version: version}
	if err := a.handler.Fill(r.Context(), athens.Fill{Module: m, Zip: true}); err != nil {
		return Refreshed{}, err
	}
	a.changed(r.Context(), "refreshed", m, "")
	info, err := a.ask(r, "/"+escaped+"/@v/"+url.PathEscape(version)+".info")
	return Refreshed{Module: path, Version: version, Time: info.Time}, err
}

// shortRef returns a reference as a version query spells it: a branch or tag without
// refs/heads/ or refs/tags/, and a tag of a module in a folder without that folder.
func shortRef(path, ref string) string {
	if branch, ok := strings.CutPrefix(ref, "refs/heads/"); ok {
		return branch
	}
	tag, ok := strings.CutPrefix(ref, "refs/tags/")
	if !ok {
		return ref
	}
	prefix, _, _ := module.SplitPathVersion(path)
	if i := strings.LastIndexByte(tag, '/'); i > 0 && strings.HasSuffix(prefix, "/"+tag[:i]) {
		return tag[i+1:]
	}
	return tag
}

// maxAnswer bounds an answer in memory, in bytes. An .info has less than half of it.
const maxAnswer = 2 << 20

// ask lets the handler answer a question of the protocol, as the client of r.
func (a *API) ask(r *http.Request, path string) (athens.Info, error) {
	q := r.Clone(context.WithoutCancel(r.Context())) // what was begun is answered to the end
	ctx, cancel := context.WithTimeout(q.Context(), 5*time.Minute)
	defer cancel()
	q = q.WithContext(ctx)
	q.Method, q.Body, q.ContentLength = http.MethodGet, http.NoBody, 0
	q.URL = &url.URL{Path: path}
	q.RequestURI = path
	for _, name := range []string{"Content-Type", "Content-Length", "Transfer-Encoding", "Range", "If-None-Match", "If-Modified-Since", "Via"} {
		q.Header.Del(name)
	}
	got := captured.Serve(a.handler, q, maxAnswer)
	var info athens.Info
	switch {
	case got.Status != http.StatusOK:
		refused := &refusal.Error{Status: got.Status, Err: errors.New(strings.TrimSpace(string(got.Body)))}
		if got.Status == http.StatusTooManyRequests {
			refused.RetryAfter = time.Second
		}
		return info, refused
	case strings.HasSuffix(path, "/list"):
		return info, nil
	}
	if err := json.Unmarshal(got.Body, &info); err != nil {
		return info, fmt.Errorf("the answer to %s: %w", path, err)
	}
	return info, nil
}
