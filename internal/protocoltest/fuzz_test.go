package protocoltest_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
)

// FuzzServeHTTP asks with any method, path and header: whatever comes, an error
// is one that the go command shows, and nothing private leaves for the upstream.
func FuzzServeHTTP(f *testing.F) {
	for _, p := range []string{
		athenstest.InfoPath, athenstest.ModPath, athenstest.ZipPath, athenstest.ListPath, athenstest.LatestPath, athenstest.QueryPath,
		"/example.com/!upper/@v/v1.0.0-!r!c1.info", "/corp.test/secret/@v/list", "/corp.test/secret/@v/v1.0.0.zip",
		"/sumdb/sum.test/lookup/corp.test/secret@v1.0.0", "/sumdb/corp.test/supported", "/sumdb/sum.test/tile/8/0/001",
		"/example.com%2fm/@v/list", "/..%2f..%2fx/@v/list", "/example.com/m%00/@v/%e2%80%ae.info", "/example.com/\xff/@latest", "//", "*",
	} {
		f.Add(http.MethodGet, p, "", "")
	}
	f.Add(http.MethodGet, athenstest.ZipPath, "Range", "bytes=5-,0-1,-1")
	f.Add(http.MethodHead, athenstest.ZipPath, "If-None-Match", `W/"x", *`)
	f.Add(http.MethodGet, "/example.com/n/@v/v1.0.0.zip", "Via", "1.1 athens-aaaaaaaaaaaaaaaaaaaaaaaaaa, 1.1 nginx")
	f.Add(http.MethodGet, "/example.com/n/@v/v1.0.0.zip", "X-Forwarded-Proto", "https")
	f.Add("B\nREW", athenstest.ListPath, "If-Modified-Since", "yesterday")

	store := athenstest.NewStore(f)
	athenstest.HoldAs(f, store, athenstest.NewVersion(f, athenstest.Example), "whole")
	vcs, up := athenstest.NewSource(f, "vcs"), athenstest.NewUpstream(athenstest.NewSource(f, "upstream"), "http://registry.test/")
	vcs.Add(module.Version{Path: "corp.test/secret", Version: "v1.0.0"})
	up.Add(module.Version{Path: "example.com/n", Version: "v1.0.0"})
	handlers := map[bool]*athens.Handler{}
	for _, through := range []bool{false, true} {
		h, err := athens.NewHandler(store, &athens.Options{
			Fetcher: vcs, Upstream: athenstest.SumDBUpstream{Upstream: up}, Fills: &athenstest.Fills{Full: true}, MissFetch: through, AnswerCacheBytes: 1 << 20,
			Route: func(_ context.Context, m module.Version) (athens.Route, error) {
				return athens.Route{Private: module.MatchPrefixPatterns("corp.test", m.Path)}, nil
			},
		})
		require.NoError(f, err)
		f.Cleanup(func() { require.NoError(f, h.Shutdown(context.Background())) })
		handlers[through] = h
	}

	f.Fuzz(func(t *testing.T, method, target, name, value string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		for _, h := range handlers {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			r.Method, r.URL = method, u
			r.Header.Set(name, value)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if code := w.Code; code >= 400 && code != http.StatusRequestedRangeNotSatisfiable && method != http.MethodHead {
				if err := athenstest.CheckErrorText(w.Body.String()); err != nil {
					t.Errorf("%d %q: %v", code, w.Body, err)
				}
			}
			if strings.Contains(w.Header().Get("Location"), "corp.test") {
				t.Errorf("sent to %s", w.Header().Get("Location"))
			}
		}
		for _, heard := range up.Heard() {
			if module.MatchPrefixPatterns("corp.test", heard) || strings.Contains(heard, "/corp.test/") {
				t.Errorf("the upstream heard of %q", heard)
			}
		}
		up.Reset()
		vcs.Take()
	})
}

// FuzzConditional asks for a part of a file, or for the file unless it is the same:
// what comes is that part, or nothing, and never more than the whole.
func FuzzConditional(f *testing.F) {
	f.Add("bytes=5-", "", "", "")
	f.Add("bytes=-3,0-0,2-4", "", "", "Thu, 01 Jan 1970 00:00:00 GMT")
	f.Add("bytes=0-9223372036854775807", "*", "", "")
	f.Add("bytes=99999999999999999999-", `W/"x", "y`, `"z"`, "yesterday")
	store := athenstest.NewStore(f)
	v := athenstest.NewVersion(f, athenstest.Example)
	athenstest.HoldAs(f, store, v, "whole")
	h, err := athens.NewHandler(store, nil)
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, h.Shutdown(context.Background())) })
	f.Fuzz(func(t *testing.T, ranges, noneMatch, ifRange, since string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, athenstest.ZipPath, nil)
		for name, value := range map[string]string{"Range": ranges, "If-None-Match": noneMatch, "If-Range": ifRange, "If-Modified-Since": since, "If-Match": noneMatch} {
			if value != "" && (name != "If-Match" || ifRange == "") {
				r.Header.Set(name, value)
			}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		body, tag := w.Body.Bytes(), w.Header().Get("Etag")
		switch w.Code {
		case http.StatusOK:
			if !bytes.Equal(body, v.Zip) {
				t.Errorf("200 with %d bytes of %d", len(body), len(v.Zip))
			}
		case http.StatusPartialContent:
			var from, to, size int
			if _, err := fmt.Sscanf(w.Header().Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size); err == nil {
				if size != len(v.Zip) || !bytes.Equal(body, v.Zip[from:to+1]) {
					t.Errorf("%s with %d bytes", w.Header().Get("Content-Range"), len(body))
				}
			} else if parts := strings.Count(ranges, ","); len(body) > len(v.Zip)+200*(parts+2) {
				t.Errorf("%d bytes of a file of %d, for %q", len(body), len(v.Zip), ranges)
			}
		case http.StatusNotModified:
			if len(body) > 0 || !strings.Contains(noneMatch, tag) && !strings.Contains(noneMatch, "*") && since == "" {
				t.Errorf("304 for %q and %q, the tag is %q", noneMatch, since, tag)
			}
		case http.StatusRequestedRangeNotSatisfiable, http.StatusPreconditionFailed:
		default:
			t.Errorf("status %d", w.Code)
		}
	})
}
