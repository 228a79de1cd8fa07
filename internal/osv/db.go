package osv

import (
	"maps"
	"slices"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// DB is a database. It does not change; all methods may be called at once. A nil *DB has
// no advisories.
//
// It is a few slices of numbers and one text, whatever the number of advisories: the garbage
// collector marks it with each of its cycles, and would otherwise follow a pointer for each
// word of each record.
type DB struct {
	modules  map[string]span // of affected, by path in lower case
	affected []packed
	ranges   []span // of events
	events   []packedEvent
	versions []span // of the text
	text     string
	records  int
}

// span is a part of one of a DB's slices, or of its text.
type span struct{ from, to uint32 }

// packed is an affected.
type packed struct {
	id, alias, summary span // of the text
	ranges, versions   span
	all                bool
}

type packedEvent struct {
	version span // of the text
	kind    kind
}

// Len returns the number of advisories about Go modules.
func (db *DB) Len() int { return db.records }

// Find returns the advisories that a version is affected by, in the order of the database.
func (db *DB) Find(m module.Version) []Finding {
	if db == nil {
		return nil
	}
	list, ok := db.modules[strings.ToLower(m.Path)]
	if !ok || m.Version == "" || module.CanonicalVersion(m.Version) != m.Version {
		return nil
	}
	var found []Finding
	for _, a := range db.affected[list.from:list.to] {
		if is, fixedIn := db.affects(a, m.Version); is {
			found = append(found, Finding{db.word(a.id), db.word(a.alias), db.word(a.summary), fixedIn})
		}
	}
	return found
}

// affects reports whether a version is affected, and the first later one that is not.
func (db *DB) affects(a packed, v string) (is bool, fixedIn string) {
	_, named := slices.BinarySearchFunc(db.versions[a.versions.from:a.versions.to], plain(v), func(s span, v string) int {
		return strings.Compare(db.word(s), v)
	})
	is = a.all || named
	for _, events := range db.ranges[a.ranges.from:a.ranges.to] {
		inside, end := db.within(db.events[events.from:events.to], v)
		if !inside {
			continue
		}
		is = true
		if end != "" && (fixedIn == "" || semver.Compare(end, fixedIn) > 0) {
			fixedIn = end
		}
	}
	return is, fixedIn
}

// within reports whether a version is in a range, and which one fixes it.
func (db *DB) within(events []packedEvent, v string) (inside bool, end string) {
	for _, e := range events {
		at := db.word(e.version)
		order := semver.Compare(v, at)
		switch {
		case e.kind == introduced && order >= 0:
			inside = true
		case e.kind == fixed && order >= 0, e.kind == lastAffected && order > 0:
			inside = false
		case e.kind == fixed && inside:
			return true, at
		}
	}
	return inside, ""
}

// plain returns a version without "+incompatible".
func plain(v string) string { return strings.TrimSuffix(v, "+incompatible") }

// word returns a part of the text.
func (db *DB) word(s span) string { return db.text[s.from:s.to] }

// pack makes a DB of what was read. Its numbers are large enough for any database that may be
// read.
func (all *reading) pack() *DB {
	db := &DB{modules: make(map[string]span, len(all.modules)), records: all.records}
	var (
		text  strings.Builder
		known = make(map[string]span)
		names []span // of modules
		lists []span // of what is affected of each
	)
	put := func(s string) span {
		at, ok := known[s]
		if !ok {
			from := text.Len()
			text.WriteString(s)
			at = newSpan(from, text.Len())
			known[s] = at
		}
		return at
	}
	for _, path := range slices.Sorted(maps.Keys(all.modules)) {
		first := len(db.affected)
		for _, a := range all.modules[path] {
			db.affected = append(db.affected, db.packOne(a, put))
		}
		names, lists = append(names, put(path)), append(lists, newSpan(first, len(db.affected)))
	}
	db.text = text.String()
	for i, name := range names {
		db.modules[db.word(name)] = lists[i]
	}
	return db
}

// packOne packs what one advisory says of a module. Put adds to the text.
func (db *DB) packOne(a affected, put func(string) span) packed {
	ranges, versions := len(db.ranges), len(db.versions)
	for _, events := range a.ranges {
		first := len(db.events)
		for _, e := range events {
			db.events = append(db.events, packedEvent{put(e.version), e.kind})
		}
		db.ranges = append(db.ranges, newSpan(first, len(db.events)))
	}
	for _, v := range slices.Sorted(slices.Values(a.versions)) {
		db.versions = append(db.versions, put(v))
	}
	return packed{
		id: put(a.finding.ID), alias: put(a.finding.Alias), summary: put(a.finding.Summary),
		ranges: newSpan(ranges, len(db.ranges)), versions: newSpan(versions, len(db.versions)), all: a.all,
	}
}

func newSpan(from, to int) span { return span{uint32(from), uint32(to)} }
