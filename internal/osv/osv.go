// Package osv reads a local copy of a database of known vulnerabilities and says which of
// them a module version has. Package redirect/rules blocks versions with it.
//
// A database is a folder as the Go vulnerability database has it (ID/*.json beside
// index/), any other folder of OSV records, or a zip of such records. The schema is that
// of https://ossf.github.io/osv-schema. Its own library comes with protocol buffers; what
// is needed of a record is the few fields of [record], so this package decodes them itself.
package osv

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// DB is a database. It does not change; all methods may be called at once. A nil *DB has
// no advisories.
type DB struct {
	modules map[string][]affected // by path in lower case
	records int
}

// Len returns the number of advisories about Go modules.
func (db *DB) Len() int { return db.records }

// Finding is an advisory that a version is affected by.
type Finding struct {
	ID      string // such as GO-2026-0001
	Alias   string // such as CVE-2026-1, or ""
	Summary string // one line, at most 100 bytes, or ""
	Fixed   string // the version that fixes it, or ""
}

// String returns one line for a person.
func (f Finding) String() string {
	s := f.ID
	if f.Alias != "" {
		s += " (" + f.Alias + ")"
	}
	if f.Summary != "" {
		s += ": " + f.Summary
	}
	if f.Fixed == "" {
		return s + ": no version fixes it"
	}
	return s + ": fixed in " + f.Fixed
}

// affected is what one advisory says of a module.
type affected struct {
	finding  Finding         // without Fixed
	ranges   [][]event       // each in semantic version order
	versions map[string]bool // named one by one
	all      bool            // each version is affected
}

// event is where a range begins or ends.
type event struct {
	kind    kind
	version string // with its v; "" is before every version
}

type kind uint8

// In the order in which events of one version count.
const (
	fixed kind = iota
	introduced
	lastAffected
)

// record is what is read of an OSV record.
type record struct {
	ID        string
	Withdrawn string
	Aliases   []string
	Summary   string
	Affected  []struct {
		Package  struct{ Name, Ecosystem string }
		Ranges   []recordRange
		Versions []string
	}
}

type recordRange struct {
	Type   string
	Events []struct {
		Introduced, Fixed, Limit string
		LastAffected             string `json:"last_affected"`
	}
}

// maxRecordBytes bounds one record.
const maxRecordBytes = 4 << 20

var errNoRecord = errors.New("it is no OSV record: it has no id")

// add reads one record. One that was withdrawn, or is of another ecosystem, of the standard
// library or of the toolchain, is left out.
func (db *DB) add(data []byte) error {
	var r record
	if len(data) > maxRecordBytes {
		return fmt.Errorf("a record of more than %d bytes", maxRecordBytes)
	}
	if err := json.Unmarshal(bytes.TrimPrefix(data, []byte("\uFEFF")), &r); err != nil {
		return fmt.Errorf("it is no OSV record: %w", err)
	}
	if r.ID == "" {
		return errNoRecord
	}
	if r.Withdrawn != "" {
		return nil
	}
	finding := Finding{ID: line(r.ID, 40), Summary: line(r.Summary, 100)}
	for _, alias := range r.Aliases {
		if finding.Alias == "" || strings.HasPrefix(alias, "CVE-") && !strings.HasPrefix(finding.Alias, "CVE-") {
			finding.Alias = line(alias, 40)
		}
	}
	found := false
	for _, a := range r.Affected {
		name := a.Package.Name
		if a.Package.Ecosystem != "Go" || name == "stdlib" || name == "toolchain" || module.CheckPath(name) != nil {
			continue
		}
		found = true
		about := affected{finding: finding, all: len(a.Ranges) == 0 && len(a.Versions) == 0}
		for _, rg := range a.Ranges {
			if rg.Type != "GIT" { // commits say nothing of versions
				about.ranges = append(about.ranges, events(rg))
			}
		}
		for _, v := range a.Versions {
			if v = withV(v); semver.IsValid(v) {
				if about.versions == nil {
					about.versions = make(map[string]bool)
				}
				about.versions[plain(v)] = true
			}
		}
		path := strings.ToLower(name)
		db.modules[path] = append(db.modules[path], about)
	}
	if found {
		db.records++
	}
	return nil
}

// events returns the events of a range in order. What begins at no version begins with the
// first one, and what ends at none does not end: a mistake in a record makes no version
// harmless.
func events(r recordRange) []event {
	var all []event
	for _, e := range r.Events {
		if e.Introduced != "" {
			v := withV(e.Introduced)
			if !semver.IsValid(v) || e.Introduced == "0" {
				v = ""
			}
			all = append(all, event{introduced, v})
		}
		for _, end := range []string{e.Fixed, e.Limit} {
			if v := withV(end); end != "" && semver.IsValid(v) {
				all = append(all, event{fixed, v})
			}
		}
		if v := withV(e.LastAffected); e.LastAffected != "" && semver.IsValid(v) {
			all = append(all, event{lastAffected, v})
		}
	}
	slices.SortStableFunc(all, func(a, b event) int {
		return cmp.Or(semver.Compare(a.version, b.version), cmp.Compare(a.kind, b.kind))
	})
	return all
}

// Find returns the advisories that a version is affected by, in the order of the database.
func (db *DB) Find(m module.Version) []Finding {
	if db == nil || m.Version == "" || module.CanonicalVersion(m.Version) != m.Version {
		return nil
	}
	list := db.modules[m.Path]
	if list == nil {
		list = db.modules[strings.ToLower(m.Path)]
	}
	var found []Finding
	for _, a := range list {
		is, fixedIn := a.affects(m.Version)
		if is {
			f := a.finding
			f.Fixed = fixedIn
			found = append(found, f)
		}
	}
	return found
}

// affects reports whether a version is affected, and the first later one that is not.
func (a affected) affects(v string) (is bool, fixedIn string) {
	is = a.all || a.versions[plain(v)]
	for _, events := range a.ranges {
		inside, end := within(events, v)
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
func within(events []event, v string) (inside bool, end string) {
	for _, e := range events {
		order := semver.Compare(v, e.version)
		switch {
		case e.kind == introduced && order >= 0:
			inside = true
		case e.kind == fixed && order >= 0, e.kind == lastAffected && order > 0:
			inside = false
		case e.kind == fixed && inside:
			return true, e.version
		}
	}
	return inside, ""
}

// withV returns a version of a record, which has no v, with one.
func withV(v string) string {
	if strings.HasPrefix(v, "v") {
		return v
	}
	return "v" + v
}

// plain returns a version without "+incompatible".
func plain(v string) string { return strings.TrimSuffix(v, "+incompatible") }

// line makes s one line of printable characters with at most n bytes.
func line(s string, n int) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) || r == ' ' }), " ")
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n-3], "") + "…"
	}
	return s
}
