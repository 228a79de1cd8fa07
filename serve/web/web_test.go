package web

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fill"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/ledger"
	"github.com/athens-go/athens/storage"
)

const mit = "MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining a copy\nof this software"

// shown is a site over a store.
type shown struct {
	*Site
	t     testing.TB
	store *storage.Store
}

func newShown(t testing.TB, opts *Options, watched *athens.Options) *shown {
	s := &shown{t: t, store: storage.NewMemory()}
	for _, v := range []struct {
		path, version string
		files         map[string]string
	}{
		{"example.com/greet", "v1.0.0", map[string]string{"go.mod": "module example.com/greet\n\ngo 1.21\n", "greet.go": "package greet\n\nconst Hello = 1\n", "old.go": "package greet\n"}},
		{"example.com/greet", "v1.1.0", map[string]string{
			"go.mod":   "// Deprecated: say goodbye instead.\nmodule example.com/greet\n\ngo 1.22\n\nrequire (\n\texample.com/text v0.3.0\n\texample.com/far v1.0.0 // indirect\n)\n\nretract v1.0.0 // it was rude\n",
			"greet.go": "package greet\n\nconst Hello = 2\n", "new file.go": "package greet\n", "LICENSE": mit, "README.md": "# Greetings\n\nSee [the code](greet.go).\n",
		}},
		{"example.com/text", "v0.3.0", map[string]string{"go.mod": "module example.com/text\n"}},
		{"corp.test/secret", "v1.0.0", map[string]string{"go.mod": "module corp.test/secret\n\nrequire example.com/text v0.3.0\n", "README.md": "# Classified\n"}},
		{"example.com/Upper", "v0.1.0", map[string]string{"go.mod": "module example.com/Upper\n"}},
	} {
		athenstest.Hold(t, s.store, modtest.NewVersion(t, v.path, v.version, v.files), v.path != "example.com/text")
	}
	var err error
	s.Site, err = New(s.store, opts)
	require.NoError(t, err)
	if watched == nil {
		watched = &athens.Options{Private: "corp.test"}
	}
	s.Watch(watched)
	s.rebuild(context.Background())
	return s
}

// get asks for a page as a browser does.
func (s *shown) get(path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", path, nil)
	r.Header.Set("Accept", "text/html,*/*;q=0.8")
	s.ServeHTTP(w, r)
	assert.Equal(s.t, policy, w.Header().Get("Content-Security-Policy"), path)
	return w
}

func (s *shown) page(path string) string {
	w := s.get(path)
	assert.Equal(s.t, 200, w.Code, path)
	return w.Body.String()
}

func TestHome(t *testing.T) {
	s := newShown(t, &Options{Name: "Our modules"}, nil)
	home := s.page("/")
	assert.Contains(t, home, "<h1 id=\"use\">Our modules</h1>")
	assert.Contains(t, home, "export GOPROXY=http://example.com GONOPROXY=none GONOSUMDB=corp.test")
	assert.Contains(t, home, "4 versions of 3 modules")
	assert.Contains(t, home, ">example.com/greet</a>")
	assert.NotContains(t, home, "secret")

	s.watched.Load() // what came in, went out and failed
	o := athens.Options{Private: "corp.test"}
	s.Watch(&o)
	m := module.Version{Path: "example.com/new", Version: "v1.2.3"}
	o.Observe(athens.Event{Op: athens.OpPut, Outcome: athens.OutcomeDone, Module: m})
	o.Observe(athens.Event{Op: athens.OpRequest, File: "zip", Outcome: athens.OutcomeHeld, Module: m, Bytes: 1500})
	o.Observe(athens.Event{Op: athens.OpRequest, File: "zip", Outcome: athens.OutcomeFetch, Module: m, Bytes: 500})
	down := &athens.UnavailableError{Source: "upstream", Err: errors.New("dial tcp 10.1.2.3:443: refused")}
	o.Observe(athens.Event{Op: athens.OpFill, Outcome: athens.OutcomeFailed, Module: module.Version{Path: "example.com/broken", Version: "v0.0.1"}, Err: down})
	home = s.page("/")
	assert.Contains(t, home, "example.com/new</a>")
	assert.Contains(t, home, "<dd>50 %</dd>")
	assert.Contains(t, home, "<dd>2 kB</dd>")
	assert.Contains(t, home, "the source can&#39;t be reached")
	assert.NotContains(t, home, "10.1.2.3", "an address inside")
	assert.Contains(t, s.page("/-/live"), "example.com/broken")

	o.Observe(athens.Event{Op: athens.OpFill, Outcome: athens.OutcomeDone, Module: module.Version{Path: "example.com/broken", Version: "v0.0.1"}})
	assert.NotContains(t, s.page("/-/live"), "example.com/broken", "it works again")
	s.measureNewest(t.Context())
	assert.Contains(t, s.page("/-/modules?q=new"), "example.com/new")
}

// A client that is no browser gets the line as text, and a Host header that is none gets no
// line with it.
func TestHosts(t *testing.T) {
	s := newShown(t, nil, nil)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	assert.Equal(t, "text/plain; charset=utf-8", w.Header().Get("Content-Type"))
	assert.Contains(t, w.Body.String(), "export GOPROXY=http://example.com ")
	for host, want := range map[string]string{
		"modules.test:3000": "GOPROXY=http://modules.test:3000 ", "[::1]:3000": "GOPROXY=&#39;http://[::1]:3000&#39; ",
		"a b": "https://HOST", "a'$(x)": "https://HOST", "<script>": "https://HOST", "": "https://HOST", "x@y": "https://HOST",
		strings.Repeat("a", 300): "https://HOST",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		r.Header.Set("Accept", "text/html")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		assert.Contains(t, w.Body.String(), want, host)
	}
	mounted := http.StripPrefix("/go", s)
	r := httptest.NewRequest("GET", "/go/", nil)
	r.Header.Set("Accept", "text/html")
	w = httptest.NewRecorder()
	mounted.ServeHTTP(w, r)
	assert.Contains(t, w.Body.String(), "GOPROXY=http://example.com/go ")
	assert.Contains(t, w.Body.String(), `href="/go/-/style.css?v=`)
}

func TestModule(t *testing.T) {
	s := newShown(t, nil, nil)
	page := s.page("/-/m/example.com/greet")
	for _, want := range []string{
		`<h1 class="path">example.com/greet</h1>`, "go get example.com/greet@v1.1.0", "Deprecated: say goodbye instead.",
		"<dd>1.22</dd>", "<dd>MIT</dd>", `<h3 id="r-greetings">Greetings</h3>`, `<a href="/-/f/example.com/greet@v1.1.0/greet.go" rel=`,
		`href="/-/m/example.com/text@v0.3.0"`, "1 indirect", "it was rude", `href="/-/d/example.com/greet@v1.0.0..v1.1.0"`,
	} {
		assert.Contains(t, page, want)
	}
	page = s.page("/-/m/example.com/greet@v1.0.0")
	assert.Contains(t, page, "This version was retracted: it was rude")
	page = s.page("/-/m/example.com/text")
	assert.Contains(t, page, "Only the go.mod of this version is held")
	assert.Contains(t, page, ">example.com/greet</a>", "it requires the module")
	assert.NotContains(t, page, "corp.test", "private, and requires it too")
	page = s.page("/-/m/example.com/greet")
	for _, want := range []string{
		"example.com/greet@v1.1.0 requires 1 module, and 0 modules here require it.", `<a href="/-/m/example.com/text@v0.3.0" tabindex="-1" aria-label="example.com/text@v0.3.0"><g class="node">`,
	} {
		assert.Contains(t, page, want)
	}
	assert.NotContains(t, s.page("/-/m/example.com/Upper"), "<svg class=\"graph", "nothing to draw")
	assert.Contains(t, s.page("/-/m/example.com/Upper"), "example.com/Upper")

	assert.Contains(t, s.page("/-/f/example.com/greet@v1.1.0/"), `href="/-/f/example.com/greet@v1.1.0/new%20file.go"`)
	assert.Contains(t, s.page("/-/f/example.com/greet@v1.1.0/new%20file.go"), `<td class="code">package greet</td>`)
	diff := s.page("/-/d/example.com/greet@v1.0.0..v1.1.0")
	assert.Contains(t, diff, "2 changed, 3 added, 1 removed")
	assert.Contains(t, diff, "<del>const Hello = 1</del>")
	assert.Contains(t, diff, "<ins>const Hello = 2</ins>")
	assert.Contains(t, s.page("/-/d/example.com/greet@v1.1.0..v1.1.0"), "The files are the same.")

	hidden, removed := module.Version{Path: "example.com/greet", Version: "v1.0.0"}, module.Version{Path: "example.com/greet", Version: "v1.1.0"}
	require.NoError(t, s.store.Hide(t.Context(), hidden, "it is <b>old</b>"))
	assert.Contains(t, s.page("/-/m/example.com/greet"), `<p class="reason">it is &lt;b&gt;old&lt;/b&gt;</p>`)
	require.NoError(t, s.store.Remove(t.Context(), removed, "a lawyer wrote"))
	assert.Contains(t, s.page("/-/m/example.com/greet"), "a lawyer wrote")
	for _, path := range []string{"/-/m/example.com/greet@v1.1.0", "/-/f/example.com/greet@v1.1.0/", "/-/d/example.com/greet@v1.0.0..v1.1.0"} {
		assert.Equal(t, 410, s.get(path).Code, path)
	}
	require.NoError(t, s.store.Restore(t.Context(), removed))

	for _, path := range []string{
		"/-/m/", "/-/m/example.com/none", "/-/m/example.com/greet@v9.0.0", "/-/m/example.com/greet@master", "/-/m/../x", "/-/m/example.com/greet@v1.0", "/-/x",
		"/-/f/example.com/greet@v1.0.0/../../x", "/-/f/example.com/greet@v1.0.0/none.go", "/-/f/example.com/greet", "/-/f/example.com/text@v0.3.0/",
		"/-/d/example.com/greet@v1.0.0", "/-/d/example.com/greet@v1.0.0..", "/-/d/example.com/greet@v1.0.0..v9.0.0", "/other", "/-/",
	} {
		assert.Equal(t, 404, s.get(path).Code, path)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("POST", "/-/m/example.com/greet", nil))
	assert.Equal(t, 405, w.Code)
}

func TestModulesAreFound(t *testing.T) {
	s := newShown(t, nil, nil)
	for query, want := range map[string]string{
		"greet": "example.com/greet", "GREET": "example.com/greet", "upper": "example.com/Upper", "example greet": "example.com/greet", "example.com/Upper": "example.com/Upper",
		"zzz": "", "secret": "", "corp.test/secret": "", "<b>": "", "\n": "example.com/Upper example.com/greet example.com/text", "com/text": "example.com/text",
	} {
		r := httptest.NewRequest("GET", "/-/modules", nil)
		q := r.URL.Query()
		q.Set("q", query)
		q.Set("part", "1")
		r.URL.RawQuery = q.Encode()
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		var found []string
		for _, hit := range regexp.MustCompile(`/-/m/([^"]+)"`).FindAllStringSubmatch(w.Body.String(), -1) {
			found = append(found, hit[1])
		}
		assert.Equal(t, want, strings.Join(found, " "), query)
		assert.NotContains(t, w.Body.String(), "<b>")
	}
}

func TestFills(t *testing.T) {
	queue, err := fill.New(nil)
	require.NoError(t, err)
	m := module.Version{Path: "example.com/greet", Version: "v1.2.0"}
	require.NoError(t, queue.Schedule(t.Context(), athens.Fill{Module: m}, time.Hour))
	require.NoError(t, queue.Schedule(t.Context(), athens.Fill{Module: module.Version{Path: "corp.test/secret", Version: "v2.0.0"}}, time.Hour))
	all := false
	s := newShown(t, &Options{AllowAll: func(*http.Request) bool { return all }}, &athens.Options{Private: "corp.test", Fills: queue})
	down := &athens.UnavailableError{Source: "upstream", Err: errors.New("dial tcp 10.1.2.3:443: refused")}
	s.observe(&athens.Event{Op: athens.OpFill, Source: athens.SourceUpstream, Outcome: athens.OutcomeFailed, Module: m, Err: down, Duration: 1500 * time.Millisecond})
	s.observe(&athens.Event{Op: athens.OpInfo, Source: athens.SourceUpstream, Outcome: athens.OutcomeDone, Module: m})
	page := s.page("/-/fills")
	assert.Contains(t, page, "example.com/greet")
	assert.Contains(t, page, "in 59 minutes")
	assert.Contains(t, page, "1.5 s")
	assert.NotContains(t, page, "secret")
	assert.NotContains(t, page, "10.1.2.3")
	history := s.page("/-/fills?m=example.com/greet@v1.2.0")
	assert.Equal(t, 2, strings.Count(history, `<th scope="row">`), "what went well, too")
	assert.Equal(t, 404, s.get("/-/fills?m=corp.test/secret@v2.0.0").Code)

	retry := func(site string) int {
		r := httptest.NewRequest("POST", "/-/fills", strings.NewReader("m=example.com/greet@v1.2.0&zip=zip"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", site)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code
	}
	assert.Equal(t, 403, retry("same-origin"), "not for everybody")
	all = true
	assert.Equal(t, 403, retry("cross-site"))
	assert.Equal(t, 303, retry("same-origin"))
	assert.True(t, queue.Status().Pending[0].Zip)
	page = s.page("/-/fills")
	assert.Contains(t, page, "secret")
	assert.Contains(t, page, "10.1.2.3")
}

func TestPolicy(t *testing.T) {
	all := false
	s := newShown(t, &Options{AllowAll: func(*http.Request) bool { return all }, Rules: func() []Rule {
		return []Rule{{"rules.txt:1", "block example.com/greet # rude <b>", "rude <b> (rules.txt:1)"}, {"rules.txt:2", "cooldown 7d", ""}}
	}}, nil)
	refuse := func(path, reason string, until time.Time) {
		m := module.Version{Path: path, Version: "v1.0.0"}
		s.observe(&athens.Event{Op: athens.OpRequest, Outcome: athens.OutcomeBlocked, Module: m, Err: &athens.BlockedError{Path: path, Version: m.Version, Reason: reason, Until: until}})
	}
	refuse("example.com/greet", "rude <b> (rules.txt:1)", time.Time{})
	refuse("example.com/young", "younger than 7d (rules.txt:2)", time.Now().Add(3*time.Hour+time.Minute))
	refuse("corp.test/secret", "younger than 7d (rules.txt:2)", time.Now().Add(time.Hour))
	page := s.page("/-/policy")
	assert.Contains(t, page, "rude &lt;b&gt;")
	assert.Contains(t, page, "in 3 hours")
	assert.NotContains(t, page, "<code>block", "the lines may name private modules")
	assert.NotContains(t, page, "secret")
	all = true
	page = s.page("/-/policy")
	assert.Contains(t, page, "<code>block example.com/greet # rude &lt;b&gt;</code>")
	assert.Contains(t, page, "secret")
	assert.Contains(t, page, "Nothing lately.", "all reasons are those of a rule")
}

func newLedger(t *testing.T) *ledger.Ledger {
	key, err := ledger.NewKey("sum.test")
	require.NoError(t, err)
	l, err := ledger.New(t.TempDir(), key, nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, l.Close()) })
	return l
}

func TestLedger(t *testing.T) {
	assert.Equal(t, 404, newShown(t, nil, nil).get("/-/ledger").Code)
	l := newLedger(t)
	hash := "h1:" + strings.Repeat("A", 43) + "="
	for _, path := range []string{"example.com/greet", "corp.test/secret"} {
		_, err := l.Add(t.Context(), module.Version{Path: path, Version: "v1.0.0"}, hash, hash)
		require.NoError(t, err)
	}
	s := newShown(t, nil, &athens.Options{Private: "corp.test", Ledger: l})
	page := s.page("/-/ledger?m=example.com/greet@v1.0.0")
	assert.Contains(t, page, strings.ReplaceAll(l.VerifierKey(), "+", "&#43;"))
	assert.Contains(t, page, "example.com/greet v1.0.0/go.mod h1:")
	assert.Contains(t, page, "a proof of 1 hash was checked")
	assert.NotContains(t, page, "secret")
	assert.Contains(t, s.page("/-/ledger?m=example.com/greet@v1.0.1"), "That version is not recorded.")
	assert.NotContains(t, s.page("/-/ledger?m=corp.test/secret@v1.0.0"), "corp.test/secret v1.0.0 h1:")
}

func TestLedgerFollows(t *testing.T) {
	l := newLedger(t)
	all := false
	s := newShown(t, &Options{AllowAll: func(*http.Request) bool { return all }, Following: func() Following {
		return Following{Primary: "http://127.0.0.1:3001", Records: 1200, Offered: 1203, Lag: 7, LagTime: 2 * time.Second, Failed: 1, Error: "of corp.test/secret"}
	}}, &athens.Options{Private: "corp.test", Ledger: l})
	page := s.page("/-/ledger")
	for _, text := range []string{"1\u202f200 of 1\u202f203 records", "7 versions, for 2.0 s", "1 version"} {
		assert.Contains(t, page, text)
	}
	assert.NotContains(t, page, "secret")
	all = true
	page = s.page("/-/ledger")
	assert.Contains(t, page, "of corp.test/secret")
	assert.Contains(t, page, "http://127.0.0.1:3001")
}

// Who follows, and how far it is, is for readers who may see everything.
func TestLedgerFollowers(t *testing.T) {
	l := newLedger(t)
	all := false
	var followers []Follower
	s := newShown(t, &Options{AllowAll: func(*http.Request) bool { return all }, FollowedBy: func() []Follower { return followers }}, &athens.Options{Ledger: l})
	assert.Contains(t, s.page("/-/ledger"), "No server has asked")
	followers = []Follower{
		{Name: "registry-<b>", Address: "192.0.2.7", Heard: time.Now(), LagEvents: 3, LagTime: 2 * time.Second, Records: 1200, LagRecords: 5},
		{Name: "proxy-b", Address: "192.0.2.8", Heard: time.Now()},
	}
	page := s.page("/-/ledger")
	assert.Contains(t, page, "2 servers.")
	assert.NotContains(t, page, "192.0.2")
	all = true
	page = s.page("/-/ledger")
	for _, text := range []string{"registry-&lt;b&gt;", "3 events behind, for 2.0 s", "1\u202f200 records verified, 5 versions lacking", "192.0.2.8</span> up to date"} {
		assert.Contains(t, page, text)
	}
}

func TestStore(t *testing.T) {
	all := false
	s := newShown(t, &Options{AllowAll: func(*http.Request) bool { return all }, Stats: func() athens.Stats { return athens.Stats{Damaged: 7} }, Evictions: func() Evictions {
		return Evictions{MaxBytes: 5 << 30, HeldBytes: 6 << 30, Versions: 1234, Bytes: 7 << 30, Last: time.Now().Add(-3 * time.Hour), Exceeded: true}
	}}, nil)
	page := s.page("/-/store")
	assert.NotContains(t, page, "Evictions")
	assert.Contains(t, page, "<span>example.com</span>")
	assert.Contains(t, page, "3 modules, 4 versions, 2")
	assert.NotContains(t, page, "corp.test")
	assert.NotContains(t, page, "damaged version")
	all = true
	page = s.page("/-/store")
	assert.Contains(t, page, "corp.test")
	assert.Contains(t, page, "7 damaged versions")
	for _, text := range []string{"Evictions", "5.37 GB", "6.44 GB", "7.52 GB", "The last eviction was", "The bound is exceeded"} {
		assert.Contains(t, page, text)
	}
}
