package rules

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/durable"
	"github.com/athens-go/athens/internal/limit"
)

// Kinds of moments.
const (
	firstSight = 's' // when this server first knew of a version
	committed  = 'c' // when its commit says that it was made
)

// Route says what the rules in force say of m, as [Rules.Route] does, and holds back
// what is younger than a cooldown. It has the form of [athens.Options].Route.
//
// The age of a version counts from when [File.Seen] was first told of it, or from when
// the store has held it if that is earlier. Where a cooldown-by commit line says so, it
// counts from the time of the commit if that is known and earlier still. A version of
// which nothing is known is as young as can be. What the store held before the cooldown
// came in, and what it got while no cooldown covered it, is available.
func (f *File) Route(ctx context.Context, m module.Version) (athens.Route, error) {
	now := f.now.Load()
	route, err := now.route(m)
	if err != nil || route.Blocked != "" {
		return route, err
	}
	n := now.cooldown(m)
	if n < 0 {
		return route, nil
	}
	if _, old := now.old.Get(m); old {
		return route, nil
	}
	l := now.lines[n]
	first, available := f.firstSight(ctx, now, l, m)
	if available || time.Since(first) >= l.age {
		now.old.Put(m, struct{}{})
		return route, nil
	}
	l.young(&route, first)
	return route, nil
}

// firstSight returns since when m counts, or that it is available whatever its age.
func (f *File) firstSight(ctx context.Context, now *inForce, l line, m module.Version) (first time.Time, available bool) {
	first = time.Now()
	stored, held := f.stored(ctx, m)
	seen, known := f.memory.get(keyOf(firstSight, m))
	if held && (known && !seen.cooled() || !known && !stored.IsZero() && stored.Before(now.since[l.arrival()])) {
		return first, true
	}
	earlier := func(t time.Time) {
		if t.Before(first) {
			first = t
		}
	}
	if known {
		earlier(seen.time())
	}
	if held && !stored.IsZero() {
		earlier(stored)
	}
	if now.countsCommits(m.Path) {
		if t, ok := f.commitTime(ctx, m, held); ok {
			earlier(t)
		}
	}
	return first, false
}

// stored returns whether the store holds m and since when, if it knows.
func (f *File) stored(ctx context.Context, m module.Version) (since time.Time, held bool) {
	if f.opts.Store == nil {
		return since, false
	}
	obj, err := f.opts.Store.Open(ctx, m, athens.ModFile)
	if err != nil {
		return since, false // then it counts as young
	}
	_ = obj.Body.Close() // nothing was read
	return obj.ModTime, true
}

// commitTime returns when the commit of m says that it was made.
func (f *File) commitTime(ctx context.Context, m module.Version, held bool) (time.Time, bool) {
	if t, err := module.PseudoVersionTime(m.Version); err == nil {
		return t, true
	}
	if at, ok := f.memory.get(keyOf(committed, m)); ok {
		return at.time(), true
	}
	if !held {
		return time.Time{}, false
	}
	obj, err := f.opts.Store.Open(ctx, m, athens.InfoFile)
	if err != nil {
		return time.Time{}, false
	}
	defer obj.Body.Close()
	var info athens.Info
	data, err := limit.ReadAll(obj.Body, 1<<20)
	if err != nil || json.Unmarshal(data, &info) != nil || info.Time.IsZero() {
		return time.Time{}, false
	}
	return info.Time, true
}

// How the .info of listed versions is asked for.
const (
	askedAtOnce = 16
	askTimeout  = 30 * time.Second // for all of a list
)

// Seen notes that a source has just named versions of a module: they are that old from
// now on. It has the form of [athens.Options].Named.
func (f *File) Seen(ctx context.Context, path string, versions []athens.Info) {
	inForce, now := f.now.Load(), time.Now()
	moments := make(map[key]moment, len(versions))
	var undated []module.Version
	commits := inForce.countsCommits(path)
	for _, v := range versions {
		m := module.Version{Path: path, Version: v.Version}
		cooled := inForce.cooldown(m) >= 0
		moments[keyOf(firstSight, m)] = momentOf(now, cooled)
		if cooled && len(versions) == 1 {
			f.cool(ctx, m)
		}
		switch {
		case !v.Time.IsZero():
			moments[keyOf(committed, m)] = momentOf(v.Time, false)
		case commits && cooled && !module.IsPseudoVersion(m.Version):
			undated = append(undated, m)
		}
	}
	if f.opts.Info != nil && len(undated) > 0 {
		maps.Copy(moments, f.commitTimes(ctx, undated))
	}
	f.memory.note(now, moments)
}

// cool notes that a version that was named before a cooldown covered it is fetched only
// now. It keeps its age.
func (f *File) cool(ctx context.Context, m module.Version) {
	seen, known := f.memory.get(keyOf(firstSight, m))
	if !known || seen.cooled() {
		return
	}
	if _, held := f.stored(ctx, m); !held {
		f.memory.replace(keyOf(firstSight, m), momentOf(seen.time(), true))
	}
}

// commitTimes asks the source when versions were made. What it does not say stays
// unknown.
func (f *File) commitTimes(ctx context.Context, undated []module.Version) map[key]moment {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var (
		mu      sync.Mutex
		asking  sync.WaitGroup
		slots   = make(chan struct{}, askedAtOnce)
		moments = make(map[key]moment)
	)
	for _, m := range undated {
		if _, known := f.memory.get(keyOf(committed, m)); known {
			continue
		}
		slots <- struct{}{}
		asking.Go(func() {
			defer func() { <-slots }()
			info, err := f.opts.Info(ctx, m)
			if err != nil || info == nil || info.Time.IsZero() {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			moments[keyOf(committed, m)] = momentOf(info.Time, false)
		})
	}
	asking.Wait()
	return moments
}

// arrivalsFile has when each cooldown came in.
const arrivalsFile = "cooldowns.json"

// arrival is what a cooldown is known by: a line that moves, or gets another reason,
// is the same.
func (l line) arrival() string { return l.name }

// arrivals returns when each cooldown of the rules came in: now, unless it was there
// before.
func (f *File) arrivals(rules *Rules, now time.Time) map[string]time.Time {
	before := make(map[string]time.Time)
	if old := f.now.Load(); old != nil {
		before = old.since
	} else if f.opts.SeenDir != "" {
		if data, err := os.ReadFile(f.place(arrivalsFile)); err == nil && json.Unmarshal(data, &before) != nil {
			f.opts.Logger.Warn("could not read since when cooldowns apply; they count from now", "file", f.place(arrivalsFile))
		}
	}
	since := make(map[string]time.Time)
	for _, l := range rules.lines {
		if l.verb != cooldown || l.age == 0 {
			continue
		}
		at, ok := before[l.arrival()]
		if !ok || at.After(now) {
			at = now
		}
		since[l.arrival()] = at
	}
	if f.opts.SeenDir != "" && !maps.EqualFunc(since, before, time.Time.Equal) {
		if err := writeJSON(f.place(arrivalsFile), since); err != nil {
			f.opts.Logger.Warn("could not store since when cooldowns apply", "error", err)
		}
	}
	return since
}

// writeJSON gives a file another content, at once and durable.
func writeJSON(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return durable.Replace(durable.OS{}, filepath.Dir(name), ".new-", name, data)
}
