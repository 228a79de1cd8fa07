package web

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// perPage is how many rows of a list a page has.
const perPage = 50

// modulesData is a list of modules.
type modulesData struct {
	Query    string
	Rows     []moduleRow
	More     bool   // there are more that match
	After    string // where the next page begins
	Building bool
}

// moduleRow is a module in a list.
type moduleRow struct {
	Path     string
	Latest   string
	Versions int32
	Bytes    int64
	Newest   time.Time
}

func rowOf(h *held) moduleRow {
	r := moduleRow{Path: h.path, Latest: h.latest(), Versions: h.count, Bytes: h.bytes}
	if h.newest > 0 {
		r.Newest = time.Unix(h.newest, 0)
	}
	return r
}

// modules lists what is held, or what matches a query.
func (q *request) modules() (string, error) {
	form := q.r.URL.Query()
	query := cut(form.Get("q"), maxQuery)
	q.Title, q.Section, q.Query = "Modules", "modules", query
	d := &modulesData{Query: query, Building: q.lister != nil && !q.index.built.Load()}
	q.Data = d
	asked := 0
	add := func(h *held) bool {
		if asked++; asked > maxCounted {
			d.More = true
			return false
		}
		if !q.sees(h.path) {
			return true
		}
		if len(d.Rows) == perPage {
			d.More, d.After = true, d.Rows[perPage-1].Path
			return false
		}
		d.Rows = append(d.Rows, rowOf(h))
		return true
	}
	if strings.TrimSpace(query) == "" {
		q.index.all(cut(form.Get("after"), 1000), add)
	} else {
		found, more := q.index.search(query)
		d.More = more
		for i := range found {
			if !add(&found[i]) {
				break
			}
		}
		d.After = ""
	}
	if form.Has("part") {
		return "results.html", nil
	}
	return "modules.html", nil
}

// latest returns the modules that versions were stored of last.
func (x *index) latest(n int) []held {
	if x.now.Load().count > maxCounted {
		return nil // events tell soon enough
	}
	var all []held
	x.all("", func(h *held) bool {
		if h.newest > 0 {
			all = append(all, *h)
		}
		return true
	})
	slices.SortFunc(all, func(a, b held) int { return cmp.Compare(b.newest, a.newest) })
	return all[:min(n, len(all))]
}
