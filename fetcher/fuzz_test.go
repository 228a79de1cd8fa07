package fetcher

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/fetcher/internal/gitwire"
)

func FuzzGoImports(f *testing.F) {
	f.Add(`<html><head><meta name="go-import" content="corp.test/x git https://corp.test/x.git sub"></head>`, "corp.test/x/y")
	f.Add(`<?xml encoding="utf-8"?><META NAME=go-import CONTENT='a mod b'><body>`, "a")
	f.Add(`<meta name="go-import" content="a git b"><meta name="go-import" content="a mod b">&lt;<![CDATA[`, "a/b")
	f.Fuzz(func(t *testing.T, page, path string) {
		tags, err := parseGoImports([]byte(page))
		if err != nil && len(tags) > 0 {
			t.Error("tags and an error")
		}
		tag, err := matchGoImport(tags, path)
		if err == nil && !hasPathPrefix(path, tag.prefix) {
			t.Errorf("%q does not lie under %q", path, tag.prefix)
		}
	})
}

func FuzzObjects(f *testing.F) {
	f.Add([]byte("tree 0123456789012345678901234567890123456789\nparent 0123456789012345678901234567890123456789\ncommitter a <b> 1 +0000\n\nx"))
	f.Add([]byte("100644 a\x0001234567890123456789" + "40000 b\x0001234567890123456789"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := parseCommit(bytes.NewReader(data)); err == nil && len(c.tree) != hashDigits {
			t.Errorf("tree %q", c.tree)
		}
		_ = parseTree(bytes.NewReader(data), func(e entry) bool {
			if e.name == "" || strings.Contains(e.name, "/") {
				t.Errorf("name %q", e.name)
			}
			return true
		})
	})
}

// FuzzVersions asks for a version or a query that is in fact a tag, a branch
// or nothing, of a repository whose commits are all there but can't be read:
// whatever is asked, the answer is an error or a version of the path.
func FuzzVersions(f *testing.F) {
	f.Add("corp.test/m/v2", "v2.0.0", "v2.0.0\nsub/v1.0.0\nv1.2.3-0.20200101000000-abcdefabcdef")
	f.Add("gopkg.in/m.v1", "v1", "v1.0.0+meta\nv1")
	f.Add("corp.test/m", "v1.2.3-0.20200101000000-abcdefabcdef", "v1.2.2\nv1.2.3-pre.0")
	f.Fuzz(func(t *testing.T, path, query, tags string) {
		var list refList
		for tag := range strings.SplitSeq(tags, "\n") {
			list.add([]byte(tagsPrefix+tag), gitwire.ID{}, gitwire.ID{})
		}
		rs := &refSet{list: list.sort()}
		s, err := newSource(&repoLocation{root: strings.TrimSuffix(path, "/v2")}, path, &repo{name: "https://corp.test/m"}, rs)
		if err != nil {
			return
		}
		for tag := range rs.tags("") {
			v, exact := s.versionOf(tag)
			if exact && s.revOf(v) != tag && !module.IsPseudoVersion(v) {
				t.Errorf("the version %s of the tag %s stands for %s", v, tag, s.revOf(v))
			}
		}
		n := &versioner{codeRepo: s, query: query, rev: &revision{commit: strings.Repeat("a", hashDigits), tags: rs.tagsOf("none"), time: time.Unix(1577836800, 0).UTC()}}
		if module.IsPseudoVersion(query) && rs.list.len() == 0 {
			_ = n.checkPseudo(context.Background(), query)
		}
		_ = isRevision(query)
		_ = isPrefix(query)
		_ = s.listOrigin("v1")
	})
}
