package goimport_test

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/internal/protocol"
	"github.com/athens-go/athens/serve/goimport"
	"github.com/athens-go/athens/storage"
)

// answers is a server with these modules, and other answers for some.
type answers struct {
	modules []string
	status  map[string]int
	asked   []string
}

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req, err := protocol.Parse(strings.TrimPrefix(r.URL.Path, "/"))
	if err != nil || req.Kind != protocol.List {
		http.Error(w, "passed on", http.StatusTeapot)
		return
	}
	a.asked = append(a.asked, req.Module.Path)
	switch status := a.status[req.Module.Path]; {
	case status == http.StatusBadGateway:
		http.Error(w, (&protocol.LoopError{Via: "1.1 athens-x"}).Error(), status)
	case status != 0:
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.Header().Set("Retry-After", "7")
		http.Error(w, "refused: "+r.Header.Get("Authorization"), status)
	case !slices.Contains(a.modules, req.Module.Path):
		http.Error(w, "not found", http.StatusNotFound)
	}
}

func get(h http.Handler, url string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, url, http.NoBody)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func front(t *testing.T, a http.Handler, patterns string, opts *goimport.Options) http.Handler {
	p, err := goimport.New(patterns, opts)
	require.NoError(t, err)
	return p.Front(a)
}

// A page names the longest path that is a module, and where this server is.
func TestPages(t *testing.T) {
	a := &answers{modules: []string{"corp.example/x", "corp.example/x/v2", "corp.example/x/tools", "corp.example/Upper", "team.example/a/b", "corp.example/go/y"}}
	for url, want := range map[string]string{
		"http://corp.example/x?go-get=1":                               "corp.example/x mod http://corp.example",
		"https://corp.example/x/?go-get=1":                             "corp.example/x mod https://corp.example",
		"http://corp.example/x/pkg/sub?go-get=1":                       "corp.example/x mod http://corp.example",
		"http://corp.example/x/tools/cmd?go-get=1":                     "corp.example/x/tools mod http://corp.example",
		"http://corp.example/x/v2?go-get=1":                            "corp.example/x/v2 mod http://corp.example",
		"http://corp.example/x/v2/pkg?go-get=1":                        "corp.example/x/v2 mod http://corp.example",
		"http://corp.example/x/v3/pkg?go-get=1":                        "corp.example/x mod http://corp.example",
		"http://Corp.Example:8080/x?go-get=1":                          "corp.example/x mod http://corp.example:8080",
		"http://corp.example/Upper?go-get=1&x=y":                       "corp.example/Upper mod http://corp.example",
		"http://team.example/a/b/c?go-get=1":                           "team.example/a/b mod http://team.example",
		"http://corp.example/none?go-get=1":                            "",
		"http://corp.example/x.?go-get=1":                              "passed on",
		"http://corp.example/?go-get=1":                                "",
		"http://corp.example/x":                                        "passed on",
		"http://corp.example/x?go-get=0":                               "passed on",
		"http://other.example/x?go-get=1":                              "passed on",
		"http://team.example/b?go-get=1":                               "passed on",
		"http://127.0.0.1:3001/corp.example/x?go-get=1":                "passed on",
		"http://corp.example" + strings.Repeat("/x", 20) + "?go-get=1": "passed on",
	} {
		w := get(front(t, a, "corp.example,team.example/a", nil), url)
		switch want {
		case "":
			assert.Equal(t, http.StatusNotFound, w.Code, url)
		case "passed on":
			assert.Equal(t, http.StatusTeapot, w.Code, "%s: %s", url, w.Body)
		default:
			assert.Equal(t, http.StatusOK, w.Code, url)
			assert.Contains(t, w.Body.String(), `<meta name="go-import" content="`+want+`">`, url)
			assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		}
	}
	w := get(front(t, a, "corp.example", nil), "http://127.0.0.1/x?go-get=1", "X-Forwarded-Host", "corp.example", "X-Forwarded-Proto", "https")
	assert.Contains(t, w.Body.String(), "corp.example/x mod https://corp.example\"")
	w = get(front(t, a, "corp.example", &goimport.Options{URL: "https://go.corp.example/"}), "http://corp.example/x?go-get=1")
	assert.Contains(t, w.Body.String(), "corp.example/x mod https://go.corp.example\"")
	w = get(front(t, a, "corp.example", &goimport.Options{Prefix: "/go"}), "https://corp.example/y/pkg?go-get=1")
	assert.Contains(t, w.Body.String(), "corp.example/go/y mod https://corp.example/go\"")
}

// Who may not know a module does not learn of it here, and an outage is no "not found".
func TestRefused(t *testing.T) {
	a := &answers{modules: []string{"corp.example/x"}, status: map[string]int{
		"corp.example/login": 401, "corp.example/no": 403, "corp.example/down": 503, "corp.example/loop": 502, "corp.example/x/slow": 429,
	}}
	h := front(t, a, "corp.example", nil)
	for path, status := range map[string]int{"login": 401, "login/pkg": 401, "no": 403, "down/pkg": 503, "loop": 404, "loop/pkg": 404, "x/slow": 200} {
		w := get(h, "http://corp.example/"+path+"?go-get=1", "Authorization", "Bearer s3cret")
		assert.Equal(t, status, w.Code, path)
		switch status {
		case 401:
			assert.Equal(t, `Basic realm="x"`, w.Header().Get("WWW-Authenticate"))
			assert.Contains(t, w.Body.String(), "Bearer s3cret", "the question has the client's login")
		case 503:
			assert.Equal(t, "7", w.Header().Get("Retry-After"))
		}
	}
}

// A module that was published is found by any of its packages; one that version control
// could have is looked for there.
func TestWithHandler(t *testing.T) {
	vcs := athenstest.NewSource(t, "vcs")
	m := module.Version{Path: "corp.example/x", Version: "v1.0.0"}
	vcs.Add(m)
	handler, err := athens.NewHandler(storage.NewMemory(), &athens.Options{Fetcher: vcs, Private: "corp.example"})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, handler.Shutdown(context.Background())) })
	h := front(t, handler, "corp.example", nil)
	w := get(h, "http://corp.example/x/pkg?go-get=1")
	assert.Contains(t, w.Body.String(), "corp.example/x mod http://corp.example\"")
	assert.Equal(t, http.StatusNotFound, get(h, "http://corp.example/y?go-get=1").Code)
	w = get(h, "http://corp.example/corp.example/x/@v/list")
	assert.Equal(t, "v1.0.0\n", w.Body.String())
}

func TestNew(t *testing.T) {
	for want, c := range map[string]struct {
		patterns string
		opts     goimport.Options
	}{
		"needs the patterns": {"", goimport.Options{}},
		"bad private":        {"corp.example/[", goimport.Options{}},
		"the prefix":         {"corp.example", goimport.Options{Prefix: "go\""}},
		"URL is malformed":   {"corp.example", goimport.Options{URL: "corp.example"}},
		"a login":            {"corp.example", goimport.Options{URL: "https://u:p@corp.example"}},
	} {
		_, err := goimport.New(c.patterns, &c.opts)
		assert.ErrorContains(t, err, want)
	}
}

// Whatever host and path a client sends, the page has one tag, of a path under the patterns.
func FuzzPages(f *testing.F) {
	f.Add("corp.example", "/x", "https")
	f.Add(`corp.example"><script>`, "/x\">", "")
	f.Add("corp.example:80\r\nX: y", "/%22/..", "x")
	f.Add("CORP.example.", "//x", "http")
	all := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	p, err := goimport.New("corp.example", nil)
	if err != nil {
		f.Fatal(err)
	}
	h := p.Front(all)
	f.Fuzz(func(t *testing.T, host, path, proto string) {
		r := httptest.NewRequest(http.MethodGet, "/?go-get=1", http.NoBody)
		r.Host, r.URL.Path = host, path
		r.Header["X-Forwarded-Proto"] = []string{proto}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		body := w.Body.String()
		if body == "" {
			return // passed on
		}
		_, tag, _ := strings.Cut(body, `<meta name="go-import" content="`)
		content, rest, _ := strings.Cut(tag, `">`)
		words := strings.Fields(html.UnescapeString(content))
		if len(words) != 3 || words[1] != "mod" || strings.Count(rest, "<") != 4 || module.CheckPath(words[0]) != nil {
			t.Fatalf("%q %q: %s", host, path, body)
		}
		if words[0] != "corp.example" && !strings.HasPrefix(words[0], "corp.example/") {
			t.Fatal(fmt.Sprint("another host's: ", words))
		}
	})
}
