package web

import (
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"
	"time"
)

// Bounds of what is kept of days.
const (
	maxDays   = 400
	shownDays = 90
)

// totals is how much is held.
type totals struct{ Modules, Versions, Bytes int64 }

func (t *totals) add(o totals) {
	t.Modules += o.Modules
	t.Versions += o.Versions
	t.Bytes += o.Bytes
}

// day is how much was held when it ended, or is held today.
type day struct {
	Day    int64 // since 1970, by UTC
	All    totals
	Public totals
	Known  bool // Public was counted
}

func dayOf(t time.Time) int64 { return t.Unix() / (24 * 60 * 60) }

// sample notes how much is held today.
func (s *Site) sample() {
	if !s.index.built.Load() {
		return
	}
	today := day{Day: dayOf(time.Now()), Known: len(s.index.now.Load().mods) <= maxCounted}
	s.index.all("", func(h *held) bool {
		t := totals{1, int64(h.count), h.bytes}
		today.All.add(t)
		if today.Known && !s.kinds.private(h.path) {
			today.Public.add(t)
		}
		return true
	})
	a := s.activity
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.days); n > 0 && a.days[n-1].Day >= today.Day {
		a.days[n-1] = today
	} else {
		a.days = append(a.days, today)
	}
	a.days = a.days[max(len(a.days)-maxDays, 0):]
}

// seed is what was stored on each day, as the times of files say it.
type seed map[int64]*day

// note adds a version.
func (s seed) note(at time.Time, first, private bool, bytes int64) {
	d := s[dayOf(at)]
	if d == nil {
		d = &day{Day: dayOf(at), Known: true}
		s[d.Day] = d
	}
	t := totals{0, 1, bytes}
	if first {
		t.Modules = 1
	}
	d.All.add(t)
	if !private {
		d.Public.add(t)
	}
}

// knowsNoDay reports whether nothing is known of any day.
func (a *activity) knowsNoDay() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.days) == 0
}

// grow makes days of a seed, for a site that knows none yet: a server that starts over a store
// of some age shows how it came to be.
func (a *activity) grow(s seed) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.days) > 0 {
		return
	}
	var sum day
	for _, d := range slices.SortedFunc(maps.Values(s), func(a, b *day) int { return cmp.Compare(a.Day, b.Day) }) {
		sum.All.add(d.All)
		sum.Public.add(d.Public)
		a.days = append(a.days, day{d.Day, sum.All, sum.Public, true})
	}
	a.days = a.days[max(len(a.days)-maxDays, 0):]
}

// growth is how much was held over the last days.
type growth struct {
	Bytes, Versions template.HTML // plots; empty if the sizes are not known
	Days            int
	First           totals // on the first of these days
}

// growth returns what a reader may see of the growth, or nil. A reader who sees some private
// modules sees none: totals would tell of the others.
func (q *request) growth() *growth {
	if !q.reader.all && q.allow != nil {
		return nil
	}
	q.activity.mu.Lock()
	days := slices.Clone(q.activity.days)
	q.activity.mu.Unlock()
	var list []totals // one for each day, until today
	today := dayOf(time.Now())
	var last *totals
	for d := today - shownDays + 1; d <= today; d++ {
		for len(days) > 0 && days[0].Day <= d {
			t := days[0].All
			if !q.reader.all {
				t = days[0].Public
			}
			if q.reader.all || days[0].Known {
				last = &t
			}
			days = days[1:]
		}
		if last != nil {
			list = append(list, *last)
		}
	}
	if len(list) == 0 {
		return nil
	}
	g := &growth{Days: len(list), First: list[0]}
	if len(list) > 1 {
		if slices.ContainsFunc(list, func(t totals) bool { return t.Bytes > 0 }) {
			g.Bytes = area(list, "Bytes held", sizeText, func(t totals) int64 { return t.Bytes })
		}
		g.Versions = area(list, "Versions held", func(n any) string { return number(n) }, func(t totals) int64 { return t.Versions })
	}
	return g
}

// area draws how a number changed over days. Colours are the stylesheet's.
func area(list []totals, name string, text func(any) string, of func(totals) int64) template.HTML {
	var most int64 = 1
	for _, t := range list {
		most = max(most, of(t))
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="plot" viewBox="0 0 %d %d" role="img" aria-label="%s over %d days: %s at first, %s now, %s at most." preserveAspectRatio="none">`,
		plotWidth, plotHeight, name, len(list), text(of(list[0])), text(of(list[len(list)-1])), text(most))
	for i := range 4 {
		fmt.Fprintf(&b, `<line class="grid" x1="0" x2="%d" y1="%d" y2="%d"/>`, plotWidth, i*plotHeight/4, i*plotHeight/4)
	}
	var line strings.Builder
	for i, t := range list {
		fmt.Fprintf(&line, "%.1f %.1f ", float64(plotWidth)*float64(i)/float64(len(list)-1), float64(plotHeight)*(1-float64(of(t))/float64(most)))
	}
	fmt.Fprintf(&b, `<path class="under" d="M0 %d L%sL%d %d z"/><path class="over" d="M%s"/>`, plotHeight, line.String(), plotWidth, plotHeight, line.String())
	fmt.Fprintf(&b, `<line class="axis" x1="0" x2="%d" y1="%d" y2="%d"/></svg>`, plotWidth, plotHeight, plotHeight)
	return template.HTML(b.String()) //nolint:gosec // numbers, and texts of this file
}
