package web

import (
	"archive/zip"
	"net/http"
	"path"
	"strings"

	"golang.org/x/mod/module"
)

// maxListed is how many files a page lists.
const maxListed = 2000

// sourceData is a file, or the list of files.
type sourceData struct {
	Module module.Version
	Name   string
	Files  []fileRow
	More   int
	Lines  []string
	Size   uint64
	Doc    bool // Lines are wrapped
}

// fileRow is a file in the list.
type fileRow struct {
	Name string
	Size uint64
}

// file shows a file of a version.
func (q *request) file(text string) (string, error) {
	at := strings.Index(text, "@")
	if at < 0 {
		return "", &statusError{http.StatusNotFound, "There is no such page."}
	}
	version, name, _ := strings.Cut(text[at:], "/")
	m, err := q.version(text[:at] + version)
	if err != nil {
		return "", err
	}
	if err := q.heavy.Acquire(q.ctx); err != nil {
		return "", err
	}
	defer q.heavy.Release()
	z, err := q.openZip(q.ctx, m)
	if err != nil {
		return "", err
	}
	defer z.close()
	q.Section = "modules"
	if name == "" {
		q.Title = "Files of " + m.String()
		d := &sourceData{Module: m}
		for i, f := range z.files {
			if i == maxListed {
				d.More = len(z.files) - i
				break
			}
			d.Files = append(d.Files, fileRow{z.name(f), f.UncompressedSize64})
		}
		q.Data = d
		return "files.html", nil
	}
	f := z.find(path.Clean(name))
	if f == nil {
		return "", errNoFile
	}
	content, err := z.text(f, maxShown)
	if err != nil {
		return "", err
	}
	q.Title = path.Base(name) + " · " + m.String()
	q.Data = &sourceData{Module: m, Name: z.name(f), Lines: splitLines(content), Size: f.UncompressedSize64}
	return "file.html", nil
}

// compareData is what changed between two versions.
type compareData struct {
	Path          string
	Before, After string
	Files         []fileDiff
	Added         int
	Removed       int
	Changed       int
	More          int // files that are not shown
}

// fileDiff is a file that changed.
type fileDiff struct {
	Name  string
	Kind  string // added, removed or changed
	Lines []diffLine
	Note  string // why there are no lines
}

// compare shows what changed between two versions.
func (q *request) compare(text string) (string, error) {
	first, after, ok := strings.Cut(text, "..")
	m, err := q.version(first)
	if err != nil || !ok || m.Version == "" {
		return "", &statusError{http.StatusNotFound, "There is no such comparison."}
	}
	other, err := q.version(m.Path + "@" + after)
	if err != nil || after == "" {
		return "", &statusError{http.StatusNotFound, "There is no such comparison."}
	}
	if err := q.heavy.Acquire(q.ctx); err != nil {
		return "", err
	}
	defer q.heavy.Release()
	a, err := q.openZip(q.ctx, m)
	if err != nil {
		return "", err
	}
	defer a.close()
	b, err := q.openZip(q.ctx, other)
	if err != nil {
		return "", err
	}
	defer b.close()
	q.Title, q.Section = "Changes of "+m.Path, "modules"
	d := &compareData{Path: m.Path, Before: m.Version, After: other.Version}
	q.Data = d
	return "diff.html", q.differences(d, a, b)
}

// differences walks over the files of both versions.
func (q *request) differences(d *compareData, a, b *archive) error {
	budget := diffBudget{lines: maxDiffLines, bytes: 16 << 20}
	i, j := 0, 0
	for i < len(a.files) || j < len(b.files) {
		if err := q.ctx.Err(); err != nil {
			return err
		}
		var old, new *zip.File
		switch {
		case j == len(b.files) || i < len(a.files) && a.name(a.files[i]) < b.name(b.files[j]):
			old, i = a.files[i], i+1
			d.Removed++
		case i == len(a.files) || a.name(a.files[i]) > b.name(b.files[j]):
			new, j = b.files[j], j+1
			d.Added++
		default:
			old, new, i, j = a.files[i], b.files[j], i+1, j+1
			if old.CRC32 == new.CRC32 && old.UncompressedSize64 == new.UncompressedSize64 {
				continue
			}
			d.Changed++
		}
		if len(d.Files) == 300 {
			d.More++
			continue
		}
		d.Files = append(d.Files, budget.of(a, b, old, new))
	}
	return nil
}

// diffBudget is how much a page may still read and show.
type diffBudget struct {
	lines int
	bytes int64
}

// of compares a file of two versions; one of them may be nil.
func (left *diffBudget) of(a, b *archive, old, new *zip.File) fileDiff {
	d := fileDiff{Kind: "changed"}
	var texts [2]string
	for i, side := range []struct {
		z *archive
		f *zip.File
	}{{a, old}, {b, new}} {
		if side.f == nil {
			d.Kind = [...]string{"added", "removed"}[i]
			continue
		}
		d.Name = side.z.name(side.f)
		if left.lines <= 0 || left.bytes <= 0 {
			d.Note = "not shown: the comparison is too long"
			continue
		}
		text, err := side.z.text(side.f, maxDiffBytes)
		left.bytes -= max(int64(len(text)), maxDiffBytes/16)
		if err != nil {
			d.Note = err.Error()
			continue
		}
		texts[i] = text
	}
	if d.Note != "" {
		return d
	}
	lines, ok := diff(texts[0], texts[1])
	switch {
	case !ok:
		d.Note = "the versions differ in too many lines"
	case len(lines) > left.lines:
		d.Note = "not shown: the comparison is too long"
		left.lines = 0
	default:
		d.Lines = lines
		left.lines -= len(lines)
	}
	return d
}
