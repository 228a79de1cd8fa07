package fetcher

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// goImport is one <meta name="go-import" content="…"> tag.
type goImport struct {
	prefix, vcs, repo, subdir string
}

// parseGoImport parses a tag's content. The result does not keep the page in
// memory.
func parseGoImport(content string) (tag goImport, ok bool) {
	words := strings.Fields(content)
	if len(words) != 3 && len(words) != 4 {
		return tag, false
	}
	fields := []*string{&tag.prefix, &tag.vcs, &tag.repo, &tag.subdir}
	for i, word := range words {
		*fields[i] = strings.Clone(word)
	}
	return tag, true
}

// parseGoImports returns the go-import tags in the head of a page. Those of the
// GOPROXY protocol ("mod") come first and replace others with the same prefix.
// It returns an error only if it found no tag.
func parseGoImports(body []byte) ([]goImport, error) {
	d := xml.NewDecoder(bytes.NewReader(body))
	d.Strict = false
	d.CharsetReader = func(charset string, r io.Reader) (io.Reader, error) {
		switch strings.ToLower(charset) {
		case "utf-8", "ascii":
			return r, nil
		}
		return nil, fmt.Errorf("the page's charset %q is not supported", charset)
	}
	var (
		mods, others []goImport
		err          error
	)
	for {
		var token xml.Token
		if token, err = d.RawToken(); err != nil {
			break
		}
		if end, ok := token.(xml.EndElement); ok && strings.EqualFold(end.Name.Local, "head") {
			break
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if strings.EqualFold(start.Name.Local, "body") {
			break
		}
		if !strings.EqualFold(start.Name.Local, "meta") || attribute(start, "name") != "go-import" {
			continue
		}
		tag, ok := parseGoImport(attribute(start, "content"))
		if !ok {
			continue
		}
		if tag.vcs == vcsMod {
			mods = append(mods, tag)
		} else {
			others = append(others, tag)
		}
	}
	covered := make(map[string]bool)
	for _, tag := range mods {
		covered[tag.prefix] = true
	}
	tags := mods
	for _, tag := range others {
		if !covered[tag.prefix] {
			tags = append(tags, tag)
		}
	}
	if err != nil && err != io.EOF && len(tags) == 0 {
		return nil, err
	}
	return tags, nil
}

// attribute returns the value of an element's attribute, whatever its case.
func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if strings.EqualFold(a.Name.Local, name) {
			return a.Value
		}
	}
	return ""
}

// matchGoImport returns the one tag whose prefix contains path. It prefers a "mod"
// tag; otherwise several matches are an error.
func matchGoImport(tags []goImport, path string) (goImport, error) {
	var match *goImport
	for i, tag := range tags {
		if !hasPathPrefix(path, tag.prefix) {
			continue
		}
		if match != nil {
			if match.vcs == vcsMod && tag.vcs != vcsMod {
				break
			}
			return goImport{}, fmt.Errorf("several go-import tags match %q", path)
		}
		match = &tags[i]
	}
	if match == nil {
		return goImport{}, fmt.Errorf("no go-import tag matches %q", path)
	}
	return *match, nil
}

// hasPathPrefix reports whether path is prefix or lies under it.
func hasPathPrefix(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || prefix == "" || rest[0] == '/' || strings.HasSuffix(prefix, "/"))
}
