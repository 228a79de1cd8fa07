package rules

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/osv"
	"github.com/athens-go/athens/internal/reload"
)

// parseAdvisories reads the name of a database and how it counts.
func (s *scanner) parseAdvisories(r *rule) error {
	if !s.more() {
		return &columnError{s.at + 1, errors.New("advisories needs a folder or a zip with OSV records")}
	}
	r.database, _ = s.word()
	if s.more() {
		if word, column := s.word(); word != "warn" {
			return &columnError{column, fmt.Errorf("advisories can only warn, not %q", word)}
		}
		r.warns = true
	}
	return s.end(r)
}

// loadAdvisories opens the databases that the lines name; relative names start in dir.
func (r *Rules) loadAdvisories(dir string) error {
	for _, n := range r.advisories {
		l := &r.lines[n]
		if !filepath.IsAbs(l.database) {
			l.database = filepath.Join(dir, l.database)
		}
		var err error
		if l.db, err = osv.Open(l.database); err != nil {
			return fmt.Errorf("%s: %w", l.place, err)
		}
	}
	return nil
}

// unloaded returns the error for lines whose databases were not opened.
func (r *Rules) unloaded() error {
	for _, n := range r.advisories {
		if l := r.lines[n]; l.db == nil {
			return fmt.Errorf("%s: an advisories line takes effect in a file that rules.Read or rules.Open reads", l.place)
		}
	}
	return nil
}

// vulnerable appends the lines that block a version with a known vulnerability.
func (r *Rules) vulnerable(lines []int, m module.Version) []int {
	for _, n := range r.advisories {
		if l := &r.lines[n]; !l.warns && len(l.db.Find(m)) > 0 {
			lines = append(lines, n)
		}
	}
	return lines
}

// mark notes in a route that a version that is served has a known vulnerability.
func (r *Rules) mark(route *athens.Route, m module.Version) {
	for _, n := range r.advisories {
		if found := r.lines[n].found(m); found != "" {
			route.Advisory = found
		}
	}
}

// found says which vulnerabilities of a version the database of an advisories line knows,
// and where they are fixed; "" if it knows none.
func (l *line) found(m module.Version) string {
	found := l.db.Find(m)
	if len(found) == 0 {
		return ""
	}
	const most = 3
	var b strings.Builder
	b.WriteString("known vulnerability ")
	for i, f := range found[:min(most, len(found))] {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(f.String())
	}
	if len(found) > most {
		fmt.Fprintf(&b, "; and %d more", len(found)-most)
	}
	return b.String() + " (" + l.place + ")"
}

// stamp tells apart the states of the databases. A folder changes when a file is added to
// it, removed or replaced by another; that of a Go vulnerability database says in its
// index when it was changed.
func (r *Rules) stamp() string {
	var b strings.Builder
	for _, n := range r.advisories {
		for _, name := range []string{".", "ID", "index", "index/db.json"} {
			if at, err := os.Stat(filepath.Join(r.lines[n].database, name)); err == nil {
				fmt.Fprintf(&b, "%s %d %d\n", name, at.Size(), at.ModTime().UnixNano())
			}
		}
	}
	return b.String()
}

// watchAdvisories reads the rules and the databases again when a database has changed and
// stayed the same for one interval, until ctx is done.
func (f *File) watchAdvisories(ctx context.Context, interval time.Duration) {
	tried := ""
	look := func() string { return f.now.Load().stamp() }
	same := func(a, b string) bool { return a == b }
	reload.Watch(ctx, interval, look, same, func(stamp string) {
		if stamp != f.now.Load().stamped && stamp != tried {
			tried = stamp
			_ = f.Reload() // the log has what is wrong
		}
	})
}
