package web

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"golang.org/x/mod/module"
)

// Rows of the lists on the first page.
const (
	lately  = 12
	plotted = 6 * 12 // slots: six hours
)

// homeData is the first page.
type homeData struct {
	Paste    string
	Modules  int
	Versions int
	Counted  bool // Modules and Versions are known
	Building bool
	Live     liveData
}

// liveData is what a script reads again.
type liveData struct {
	Requests, Bytes int64
	Ratio           string // of files that were held
	Failed          int64
	Plot            template.HTML
	Stored          []row
	Failing         []row
	Pending         int64
	Running         []row
}

// row is a line of a list of versions.
type row struct {
	Module module.Version
	At     time.Time
	What   string
	Source string
	Bytes  int64
	Took   time.Duration
	Reason string

	Outcome  string
	Attempts int
}

func (q *request) home() (string, error) {
	modules, versions, counted := q.totals()
	q.Section = "home"
	q.Data = &homeData{
		Paste: q.paste(), Modules: modules, Versions: versions, Counted: counted,
		Building: q.lister != nil && !q.index.built.Load(),
		Live:     q.liveData(),
	}
	return "home.html", nil
}

// live answers with the part of the first page that changes.
func (q *request) live() (string, error) {
	q.Data = q.liveData()
	return "live.html", nil
}

func (q *request) liveData() liveData {
	slots, sum := q.activity.traffic(plotted, q.reader.all)
	d := liveData{Requests: sum.requests, Bytes: sum.bytes, Failed: sum.failed, Ratio: "–", Plot: plot(slots)}
	if files := sum.served + sum.missed; files > 0 {
		d.Ratio = fmt.Sprintf("%d %%", 100*sum.served/files)
	}
	d.Stored = q.storedLately(lately)
	for _, h := range q.activity.failing(lately, q.sees) {
		d.Failing = append(d.Failing, row{Module: h.module, At: h.at, What: h.op, Source: h.source, Reason: h.reason(q.reader.all)})
	}
	if status, ok := q.fillStatus(); ok {
		for _, e := range status.Running {
			if len(d.Running) < lately && q.sees(e.Path) {
				d.Running = append(d.Running, row{Module: module.Version{Path: e.Path, Version: e.Version}, At: e.Started})
			}
		}
		if q.reader.all {
			d.Pending = status.Counts.Pending
		} else {
			for _, e := range status.Pending {
				if q.sees(e.Path) {
					d.Pending++
				}
			}
		}
	}
	return d
}

// storedLately are the versions that came in last, by events, and before those what the
// index knows.
func (q *request) storedLately(n int) []row {
	var rows []row
	seen := make(map[string]bool)
	for _, h := range q.activity.latest(&q.activity.stored, n, func(h *happened) bool { return q.sees(h.module.Path) }) {
		if seen[h.module.String()] {
			continue
		}
		seen[h.module.String()] = true
		seen[h.module.Path] = true
		rows = append(rows, row{Module: h.module, At: h.at})
	}
	for _, h := range q.index.latest(3 * n) {
		if len(rows) < n && !seen[h.path] && q.sees(h.path) {
			rows = append(rows, row{Module: module.Version{Path: h.path, Version: h.latest()}, At: time.Unix(h.newest, 0)})
		}
	}
	return rows
}

// Size of the plot, in its own units.
const (
	plotWidth  = 720
	plotHeight = 96
)

// plot draws requests over time: what was served from the store, and the rest above it.
// Colours are the stylesheet's.
func plot(list []slot) template.HTML {
	var most int64 = 1
	var sum slot
	for _, s := range list {
		most = max(most, s.requests)
		sum.add(s)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="plot" viewBox="0 0 %d %d" role="img" aria-label="Requests in the last %d hours, in steps of 5 minutes: %d, at most %d in a step, of which %d files came from the store." preserveAspectRatio="none">`,
		plotWidth, plotHeight, len(list)/12, sum.requests, most, sum.served)
	for i := range 4 {
		fmt.Fprintf(&b, `<line class="grid" x1="0" x2="%d" y1="%d" y2="%d"/>`, plotWidth, i*plotHeight/4, i*plotHeight/4)
	}
	wide := float64(plotWidth) / float64(len(list))
	bar := func(class string, i int, from, to int64) {
		if to > from {
			y0, y1 := float64(plotHeight)*float64(from)/float64(most), float64(plotHeight)*float64(to)/float64(most)
			fmt.Fprintf(&b, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, class, float64(i)*wide+1, plotHeight-y1, wide-2, max(y1-y0, 1))
		}
	}
	for i, s := range list {
		held := s.served
		bar("held", i, 0, held)
		bar("other", i, held, s.requests-s.failed)
		bar("failed", i, s.requests-s.failed, s.requests)
	}
	fmt.Fprintf(&b, `<line class="axis" x1="0" x2="%d" y1="%d" y2="%d"/></svg>`, plotWidth, plotHeight, plotHeight)
	return template.HTML(b.String()) //nolint:gosec // numbers alone
}
