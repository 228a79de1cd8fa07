package bundle

import (
	"bytes"
	"fmt"
	"iter"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// order finds lines that are out of order, or there twice.
type order struct {
	answer string
	last   module.Version
	empty  bool // the last line was a module's
}

// lines yields an *answer or a *version for each line after the first.
func (m *Manifest) lines() iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		first, _, _ := strings.Cut(string(m.text[:min(len(m.text), 100)]), "\n")
		switch {
		case first == firstLine && bytes.HasSuffix(m.text, []byte("\n")):
		case first != firstLine && strings.HasPrefix(first, "athens bundle "):
			yield(nil, &FormatError{errNewer})
			return
		default:
			yield(nil, bad("this is no manifest of a bundle, or its end is missing"))
			return
		}
		var o order
		number := 1
		for line := range bytes.Lines(m.text[len(firstLine)+1:]) {
			number++
			parsed, err := o.parse(number, line)
			if err != nil {
				yield(nil, bad("line %d of the manifest: %w", number, err))
				return
			}
			if parsed != nil && !yield(parsed, nil) {
				return
			}
		}
		if o.empty {
			yield(nil, bad("the manifest's last module has no version"))
		}
	}
}

// parse reads a line; nil says that it has neither an answer nor a version.
func (o *order) parse(number int, raw []byte) (any, error) {
	if len(raw) > maxLine {
		return nil, fmt.Errorf("it has more than %d bytes", maxLine)
	}
	line := string(raw[:len(raw)-1])
	if rest, ok := strings.CutPrefix(line, "since "); ok {
		if number != 2 || strings.Trim(rest, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/:-") != "" || rest == "" {
			return nil, errLine
		}
		return nil, nil
	}
	if rest, ok := strings.CutPrefix(line, "sumdb "); ok {
		a, err := parseAnswer(rest)
		if err == nil && (a.name <= o.answer || o.last.Path != "") {
			err = fmt.Errorf("%.300q is out of order, or there twice", a.name)
		}
		if err != nil {
			return nil, err
		}
		o.answer = a.name
		return a, nil
	}
	if path, ok := strings.CutPrefix(line, "module "); ok {
		if path <= o.last.Path || o.empty {
			return nil, fmt.Errorf("%.300q is out of order, or there twice", path)
		}
		o.last, o.empty = module.Version{Path: path}, true
		return nil, module.CheckPath(path)
	}
	if o.last.Path == "" {
		return nil, errLine
	}
	v, err := parseVersion(o.last.Path, line)
	if err == nil && o.last.Version != "" && compareVersions(o.last.Version, v.m.Version) >= 0 {
		err = fmt.Errorf("%.300q is out of order, or there twice", v.m.String())
	}
	if err != nil {
		return nil, err
	}
	o.last, o.empty = v.m, false
	return v, nil
}

// compareVersions is the order of the versions of a module.
func compareVersions(a, b string) int {
	if c := semver.Compare(a, b); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

// modules yields the versions of one module after the other, after the answers of checksum
// databases have gone to each.
func (m *Manifest) modules(each func(*answer) error) iter.Seq2[[]*version, error] {
	return func(yield func([]*version, error) bool) {
		var of []*version
		for line, err := range m.lines() {
			if a, ok := line.(*answer); ok && err == nil {
				err = each(a)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			v, ok := line.(*version)
			if !ok {
				continue
			}
			if len(of) > 0 && of[0].m.Path != v.m.Path {
				if !yield(of, nil) {
					return
				}
				of = nil
			}
			of = append(of, v)
		}
		if len(of) > 0 {
			yield(of, nil)
		}
	}
}
