package redirect

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/protocol"
)

func FuzzParseList(f *testing.F) {
	for _, s := range []string{"", "v1.0.0\n", "v1.2.0 2024-01-02T03:04:05Z\r\nv1.1.0\nv1.1.0", "v0.0.0-20240102030405-abcdefabcdef\n", "v2.0.0+incompatible\nv2.0.0\n\x00", "v1\nv1.2\n  v1.2.3-rc.1\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		l, err := parseList("example.com/m", []byte(body), 10)
		if err != nil {
			return
		}
		if !slices.IsSortedFunc(l.tagged, semver.Compare) || len(l.tagged) > 10 {
			t.Errorf("not in order, or too many: %q", l.tagged)
		}
		for i, v := range l.tagged {
			if !protocol.Canonical(module.Version{Path: "example.com/m", Version: v}) || module.IsPseudoVersion(v) || i > 0 && v == l.tagged[i-1] {
				t.Errorf("%q is no tagged version, or there twice", v)
			}
		}
		if v := highest(l.tagged, ""); (v == "") != (len(l.tagged) == 0) {
			t.Errorf("the highest of %q is %q", l.tagged, v)
		}
	})
}

func FuzzParseInfo(f *testing.F) {
	for _, s := range []string{
		`{"Version":"v1.0.0","Time":"2024-01-02T03:04:05Z"}`, `{"Version":"v1.0.0"}`, `null`, `[]`, `{"Version":"v2.0.0"}`, `{"Version":1}`,
		`{"Version":"v1.0.0","Origin":{"URL":"https://u:p@h/x"}}`, `{"Version":"v1.0.0","Origin":{"URL":"ssh://git:p@h/x"}}`, `{"Version":"v1.0.0","Origin":{"URL":"git@h:x"}}`, `{"Version":"v1.0.0","Time":"` + strings.Repeat("9", 1000) + `"}`,
	} {
		f.Add("v1.0.0", s)
		f.Add("main", s)
	}
	f.Fuzz(func(t *testing.T, query, body string) {
		info, err := parseInfo(question{module: "example.com/m", version: query}, []byte(body))
		if err != nil {
			if !athens.Final(err) || len(err.Error()) > len(query)+4000 {
				t.Errorf("%v", err)
			}
			return
		}
		if !protocol.Canonical(module.Version{Path: "example.com/m", Version: info.Version}) || query == "v1.0.0" && info.Version != query {
			t.Errorf("%s answers %s", info.Version, query)
		}
		if info.Time.Location() != time.UTC {
			t.Errorf("time %v", info.Time)
		}
		if info.Origin != nil {
			if u, err := url.Parse(info.Origin.URL); err == nil {
				if _, has := u.User.Password(); has {
					t.Errorf("password in %s", info.Origin.URL)
				}
			}
		}
	})
}

func FuzzBaseURL(f *testing.F) {
	for _, s := range []string{"http://a.test", "https://u:s3cret@a.test/go/", "http://u@[::1]:80", "http://u:p@ss@a.test", "//a.test", "http://a.test:x", "http://s3cret:@a.test/%2F"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, base string) {
		u, err := New(base, nil)
		if err != nil {
			if strings.Contains(base, "@") && err.Error() != "upstream: the URL is not one of http or https with a host, without query and fragment" {
				t.Errorf("%v", err)
			}
			return
		}
		at, err := url.Parse(u.client.url("example.com/!m/@v/v1.0.0.info"))
		if err != nil || at.User != nil || at.RawQuery != "" || !strings.HasSuffix(at.Path, "/example.com/!m/@v/v1.0.0.info") {
			t.Errorf("%v, %v", at, err)
		}
		if given, _ := url.Parse(base); (given.User.String() != "" && given.User.String() != ":") != (u.client.auth != "") {
			t.Errorf("credentials of %q: %q", base, u.client.auth)
		}
	})
}

func FuzzClean(f *testing.F) {
	for _, s := range []string{"", "plain", "a\x00\x1b[31m\n\u202e", "u:s3cret", strings.Repeat("ü", 1000), "dTpzM2NyZXQ="} {
		f.Add(s)
	}
	u, err := New("http://u:s3cret@a.test", nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := u.client.clean(text)
		if len(got) > maxText || strings.Contains(got, "s3cret") || strings.IndexFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
			t.Errorf("%q", got)
		}
	})
}
