package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/athens-go/athens"
)

// Bounds of a module's page.
const (
	perModule     = 30  // versions on a page
	maxRequires   = 500 // requirements that are listed
	maxDependents = 100
)

// moduleData is a module at one version.
type moduleData struct {
	Module     module.Version
	Get        string // what to paste
	Versions   []versionRow
	Count      int
	Page, Last int
	Private    bool

	Go         string
	License    string
	Deprecated string
	Row        versionRow // of the version itself
	Requires   []requirement
	Indirect   []requirement
	More       int // requirements that are not listed
	Unseen     int // requirements that the reader may not see
	Graph      *graph
	Dependents []module.Version
	MoreOfThem bool
	Removed    []removedRow
	Readme     template.HTML
	ReadmeName string
	ReadmeNote string // why there is none
}

// Prev is the page with newer versions.
func (d *moduleData) Prev() int { return d.Page - 1 }

// Next is the page with older versions.
func (d *moduleData) Next() int { return d.Page + 1 }

// versionRow is a version in the list.
type versionRow struct {
	Version   string
	Time      time.Time // of its commit
	Stored    time.Time
	Bytes     int64 // of its zip
	Zip       bool  // it is held
	Source    string
	Commit    string
	Ref       string
	Pseudo    bool
	Retracted bool
	Why       string // it was retracted
	Blocked   string
	Until     time.Time
	Hidden    string // why it is not listed for clients
	Before    string // the version to compare with
}

// removedRow is a version that was taken back.
type removedRow struct{ Version, Reason string }

// requirement is a line of a go.mod.
type requirement struct {
	Module module.Version
	Held   bool
}

// module makes the page of a module.
func (q *request) module(text string) (string, error) {
	m, err := q.version(strings.TrimSuffix(text, "/"))
	if err != nil {
		return "", err
	}
	list, err := q.storage.Versions(q.ctx, m.Path)
	if err != nil {
		return "", err
	}
	marks := q.marks(m.Path)
	if mark, ok := marks[m.Version]; ok && mark.Removed {
		return "", &statusError{http.StatusGone, "That version was removed here: " + cut(mark.Reason, 300)}
	}
	if len(list) == 0 {
		return "", &statusError{http.StatusNotFound, "Nothing of that module is held here."}
	}
	h := held{versions: strings.Join(list, " ")}
	newest := module.Version{Path: m.Path, Version: h.latest()}
	if m.Version == "" {
		m.Version = newest.Version
	} else if !slices.Contains(list, m.Version) {
		return "", &statusError{http.StatusNotFound, "That version is not held here."}
	}
	q.Title, q.Section = m.Path, "modules"
	d := &moduleData{Module: m, Get: "go get " + m.String(), Count: len(list), Private: q.kinds.private(m.Path)}
	q.Data = d
	var about modInfo // what the highest version says of all
	if mod, err := q.readMod(q.ctx, newest); err == nil {
		about = parseMod(mod)
	}
	d.Deprecated = about.deprecated
	slices.Reverse(list)
	d.Last = (len(list) + perModule - 1) / perModule
	d.Page = min(pageNumber(q.r), d.Last)
	for i := (d.Page - 1) * perModule; i < min(d.Page*perModule, len(list)); i++ {
		row := q.row(module.Version{Path: m.Path, Version: list[i]}, &about)
		row.Hidden = cut(marks[list[i]].Reason, 300)
		if i+1 < len(list) {
			row.Before = list[i+1]
		}
		d.Versions = append(d.Versions, row)
	}
	d.Row = q.row(m, &about)
	d.Row.Hidden = cut(marks[m.Version].Reason, 300)
	for _, v := range slices.SortedFunc(maps.Keys(marks), func(a, b string) int { return semver.Compare(b, a) }) {
		if marks[v].Removed && len(d.Removed) < perModule {
			d.Removed = append(d.Removed, removedRow{v, cut(marks[v].Reason, 300)})
		}
	}
	q.requirements(d)
	q.readme(d)
	return "module.html", nil
}

// marks returns which versions of a module were taken back.
func (q *request) marks(path string) map[string]athens.BlockedError {
	store, ok := q.storage.(athens.Remover)
	if !ok {
		return nil
	}
	marks, err := store.Marks(q.ctx, path)
	if err != nil {
		return nil // the list shows what is held
	}
	return marks
}

// row reads what is shown of a version.
func (q *request) row(m module.Version, about *modInfo) versionRow {
	row := versionRow{Version: m.Version, Pseudo: module.IsPseudoVersion(m.Version)}
	if data, err := q.readSmall(q.ctx, m, athens.InfoFile); err == nil {
		var info athens.Info
		if json.Unmarshal(data, &info) == nil {
			row.Time = info.Time
			if o := info.Origin; o != nil {
				row.Source, row.Commit, row.Ref = cut(o.URL, 200), cut(o.Hash, 12), cut(strings.TrimPrefix(o.Ref, "refs/tags/"), 80)
				row.Commit = strings.TrimSuffix(row.Commit, "…")
			}
		}
	}
	if _, at, err := q.stat(q.ctx, m, athens.ModFile); err == nil {
		row.Stored = at
	}
	if size, _, err := q.stat(q.ctx, m, athens.ZipFile); err == nil {
		row.Bytes, row.Zip = size, true
	}
	row.Why, row.Retracted = about.retracted(m.Version)
	row.Blocked, row.Until = q.blocked(m)
	return row
}

// blocked asks the policy about a version.
func (q *request) blocked(m module.Version) (reason string, until time.Time) {
	route := q.watched.Load().Route
	if route == nil {
		return "", time.Time{}
	}
	ctx, cancel := context.WithTimeout(q.ctx, 2*time.Second)
	defer cancel()
	r, err := route(ctx, m)
	if blocked, ok := errors.AsType[*athens.BlockedError](err); ok {
		return cut(blocked.Reason, 200), blocked.Until
	}
	return cut(r.Blocked, 200), r.Until
}

// requirements fills in what the version requires, and who requires the module.
func (q *request) requirements(d *moduleData) {
	var info modInfo
	if mod, err := q.readMod(q.ctx, d.Module); err == nil {
		info = parseMod(mod)
		d.Go = info.goVersion
		d.Requires = q.requirementRows(d, info.requires)
		d.Indirect = q.requirementRows(d, info.indirect)
	}
	asked := 0
	q.index.dependents(d.Module.Path, func(h held) bool {
		if asked++; len(d.Dependents) == maxDependents || asked > maxCounted {
			d.MoreOfThem = true
			return false
		}
		if q.sees(h.path) {
			d.Dependents = append(d.Dependents, module.Version{Path: h.path, Version: h.latest()})
		}
		return true
	})
	slices.SortFunc(d.Dependents, func(a, b module.Version) int { return strings.Compare(a.Path, b.Path) })
	d.Graph = q.graphOf(d, info.requires)
}

// requirementRows lists requirements that the reader may see, and counts the others.
func (q *request) requirementRows(d *moduleData, all []module.Version) (rows []requirement) {
	for i, m := range all {
		if i == maxRequires {
			d.More += len(all) - i
			break
		}
		if !q.sees(m.Path) {
			d.Unseen++
			continue
		}
		rows = append(rows, requirement{m, q.holds(m)})
	}
	return rows
}

// readme fills in the README and the license.
func (q *request) readme(d *moduleData) {
	if !d.Row.Zip {
		d.ReadmeNote = "Only the go.mod of this version is held: nobody asked for its zip yet."
		return
	}
	if err := q.heavy.Acquire(q.ctx); err != nil {
		d.ReadmeNote = "The server is busy; try again."
		return
	}
	defer q.heavy.Release()
	z, err := q.openZip(q.ctx, d.Module)
	if err != nil {
		d.ReadmeNote = "The zip can't be shown."
		return
	}
	defer z.close()
	best := ""
	for _, f := range z.files {
		name := z.name(f)
		if strings.Contains(name, "/") {
			continue
		}
		if isLicense(name) && d.License == "" {
			if text, err := z.text(f, maxShown); err == nil {
				d.License = licenseOf(text)
			}
		}
		if isReadme(name) && (best == "" || strings.EqualFold(path.Ext(name), ".md")) {
			best = name
		}
	}
	if best == "" {
		d.ReadmeNote = "This version has no README."
		return
	}
	d.ReadmeName = best
	key := module.Version{Path: q.Base + " " + d.Module.Path, Version: d.Module.Version}
	if html, ok := q.readmes.Get(key); ok {
		d.Readme = html
		return
	}
	text, err := z.text(z.find(best), maxShown)
	if err != nil {
		d.ReadmeNote = fmt.Sprintf("The README can't be shown: %v.", err)
		return
	}
	d.Readme = renderReadme(best, text, func(file string) string { return q.File(d.Module, file) })
	q.readmes.Put(key, d.Readme)
}

// isReadme reports whether a file at the top of a module describes it.
func isReadme(name string) bool {
	base, _, _ := strings.Cut(strings.ToLower(name), ".")
	switch strings.ToLower(path.Ext(name)) {
	case "", ".md", ".markdown", ".txt", ".rst", ".adoc", ".org":
		return base == "readme"
	}
	return false
}
