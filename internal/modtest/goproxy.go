package modtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// GoProxy is a server that speaks the GOPROXY protocol over a fixed set of
// versions, as an upstream for the code under test. Its Tap counts requests by
// their path, such as "git.test/m/@v/v1.0.0.zip", and makes them fail:
//
//	p.Break("*.zip", modtest.Truncate(100))
//	p.Break("", modtest.Status(503))
//
// It is also an [http.Handler], for [Internet.Handle] of a whole host.
type GoProxy struct {
	*Tap
	URL string // http://127.0.0.1:PORT

	mu       sync.Mutex
	files    map[string][]byte
	versions map[string][]*Version // by module path, in semantic version order
}

// NewGoProxy starts a server of those versions. It ends with the test.
func NewGoProxy(t testing.TB, versions ...*Version) *GoProxy {
	t.Helper()
	p := &GoProxy{files: map[string][]byte{}, versions: map[string][]*Version{}}
	p.Tap = NewTap(t, http.HandlerFunc(p.serve))
	p.URL = "http://" + serve(t, nil, p.Tap)
	if err := p.add(versions); err != nil {
		t.Fatal(err)
	}
	return p
}

// Add serves more versions; list and @latest change accordingly. It replaces a version
// that is there already.
func (p *GoProxy) Add(versions ...*Version) {
	p.t.Helper()
	if err := p.add(versions); err != nil {
		p.t.Fatal(err)
	}
}

func (p *GoProxy) add(versions []*Version) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range versions {
		escaped, err := module.EscapePath(v.Path)
		version, err2 := module.EscapeVersion(v.Version.Version)
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		base := escaped + "/@v/"
		p.files[base+version+".info"] = v.Info
		p.files[base+version+".mod"] = v.Mod
		p.files[base+version+".zip"] = v.Zip
		known := p.versions[v.Path]
		at := 0
		for at < len(known) && semver.Compare(known[at].Version.Version, v.Version.Version) < 0 {
			at++
		}
		same := 0
		if at < len(known) && known[at].Version == v.Version {
			same = 1
		}
		known = append(known[:at:at], append([]*Version{v}, known[at+same:]...)...)
		p.versions[v.Path] = known
		p.files[base+"list"] = []byte(list(known))
		p.files[escaped+"/@latest"] = latest(known).Info
	}
	return nil
}

// Set serves body at that path, such as "git.test/m/@v/main.info"; nil makes it a 404.
func (p *GoProxy) Set(path string, body []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if body == nil {
		delete(p.files, path)
		return
	}
	p.files[path] = body
}

// Alias makes a query, such as a branch, mean a version that is served.
func (p *GoProxy) Alias(v *Version, query string) {
	p.t.Helper()
	escaped, err := module.EscapePath(v.Path)
	if err != nil {
		p.t.Fatal(err)
	}
	p.Set(escaped+"/@v/"+query+".info", v.Info)
}

// list is the answer to @v/list: all versions except pseudo-versions.
func list(versions []*Version) string {
	var s strings.Builder
	for _, v := range versions {
		if !module.IsPseudoVersion(v.Version.Version) {
			s.WriteString(v.Version.Version + "\n")
		}
	}
	return s.String()
}

// latest is the answer to @latest: the highest release, otherwise the highest
// pre-release, otherwise the newest pseudo-version.
func latest(versions []*Version) *Version {
	rank := func(v *Version) int {
		switch {
		case module.IsPseudoVersion(v.Version.Version):
			return 0
		case semver.Prerelease(v.Version.Version) != "":
			return 1
		}
		return 2
	}
	var best *Version
	for _, v := range versions {
		if best == nil || rank(v) > rank(best) || rank(v) == rank(best) && rank(v) > 0 || rank(v) == rank(best) && younger(v, best) {
			best = v
		}
	}
	return best
}

func younger(a, b *Version) bool {
	var x, y Info
	_ = json.Unmarshal(a.Info, &x)
	_ = json.Unmarshal(b.Info, &y)
	return x.Time.After(y.Time)
}

func (p *GoProxy) serve(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	p.mu.Lock()
	body, ok := p.files[name]
	p.mu.Unlock()
	if !ok {
		http.Error(w, "not found: modtest has no "+name, http.StatusNotFound)
		return
	}
	kind := "text/plain; charset=utf-8"
	switch {
	case path.Ext(name) == ".zip":
		kind = "application/zip"
	case path.Ext(name) == ".info" || path.Base(name) == "@latest":
		kind = "application/json"
	}
	w.Header().Set("Content-Type", kind)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}
