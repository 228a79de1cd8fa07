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

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/athens-go/athens/internal/oneline"
)

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

// reading is a database that is being read.
type reading struct {
	modules map[string][]affected // by path in lower case
	records int
}

// affected is what one advisory says of a module.
type affected struct {
	finding  Finding   // without Fixed
	ranges   [][]event // each in semantic version order
	versions []string  // named one by one
	all      bool      // each version is affected
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
func (all *reading) add(data []byte) error {
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
	finding := Finding{ID: oneline.Of(r.ID, 40), Summary: oneline.Of(r.Summary, 100)}
	for _, alias := range r.Aliases {
		if finding.Alias == "" || strings.HasPrefix(alias, "CVE-") && !strings.HasPrefix(finding.Alias, "CVE-") {
			finding.Alias = oneline.Of(alias, 40)
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
				about.versions = append(about.versions, plain(v))
			}
		}
		path := strings.ToLower(name)
		all.modules[path] = append(all.modules[path], about)
	}
	if found {
		all.records++
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

// withV returns a version of a record, which has no v, with one.
func withV(v string) string {
	if strings.HasPrefix(v, "v") {
		return v
	}
	return "v" + v
}
