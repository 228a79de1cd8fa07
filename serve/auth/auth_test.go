package auth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve/auth"
)

// line is one of a token file, with a hash that is cheap to compare.
func line(t testing.TB, secret, rest string) string {
	hash, err := bcrypt.GenerateFromPassword([]byte(secret), bcrypt.MinCost)
	require.NoError(t, err)
	return string(hash) + " " + rest + "\n"
}

// guarded is a handler behind tokens that answers with who asked.
type guarded struct {
	t     testing.TB
	file  string
	auth  *auth.File
	front http.Handler
}

func newGuarded(t testing.TB, text string) *guarded {
	g := &guarded{t: t, file: filepath.Join(t.TempDir(), "tokens")}
	require.NoError(t, os.WriteFile(g.file, []byte(text), 0o600))
	var err error
	g.auth, err = auth.Open(g.file, nil)
	require.NoError(t, err)
	g.front = g.auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "user="+athens.RequestInfoFrom(r.Context()).User)
	}))
	return g
}

func (g *guarded) ask(method, path string, login func(*http.Request)) *httptest.ResponseRecorder {
	w, r := httptest.NewRecorder(), httptest.NewRequest(method, path, nil)
	if login != nil {
		login(r)
	}
	g.front.ServeHTTP(w, r)
	return w
}

func basic(user, secret string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(user, secret) }
}

func bearer(secret string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "bearer "+secret) }
}

func TestRequire(t *testing.T) {
	g := newGuarded(t, "# ours\n\n"+line(t, "ci.secret", "ci corp.test,git.test/team read")+
		line(t, "password", "eve\tcorp.test read,publish")+line(t, "root.x", "root * admin")+
		"anonymous read pub.test\nanonymous read also.test/m\n")
	const corp, pub = "/corp.test/m/@v/v1.0.0.zip", "/pub.test/m/@latest"
	for _, c := range []struct {
		name, method, path string
		login              func(*http.Request)
		status             int
		body               string
	}{
		{"nobody", "GET", corp, nil, 401, "log in"},
		{"nobody, public", "GET", pub, nil, 200, "user="},
		{"nobody, another public", "HEAD", "/also.test/m/@v/list", nil, 200, ""},
		{"nobody, tile", "GET", "/sumdb/sum.test/tile/8/0/000", nil, 200, "user="},
		{"nobody, look-up", "GET", "/sumdb/sum.test/lookup/corp.test/m@v1.0.0", nil, 401, "log in"},
		{"nobody, page", "GET", "/", nil, 200, "user="},
		{"nobody, a page of modules", "GET", "/-/modules", nil, 200, "user="},
		{"nobody, the feed of changes", "GET", "/events", nil, 200, "user="},
		{"nobody, a page that changes something", "POST", "/-/fills", nil, 401, "log in"},
		{"reader, a page that changes something", "POST", "/-/fills", bearer("ci.secret"), 403, "no right"},
		{"nobody, index", "GET", "/index", nil, 401, "log in"},
		{"nobody, health", "GET", "/healthz", nil, 200, "user="},
		{"nobody, ready", "GET", "/readyz", nil, 200, "user="},
		{"nobody, odd path", "GET", "/../corp.test/m/@v/list", nil, 401, "log in"},
		{"nobody, publish", "PUT", "/pub.test/m/@v/v1.0.0.zip", nil, 401, "log in"},
		{"nobody, delete", "DELETE", pub, nil, 401, "log in"},
		{"token", "GET", corp, bearer("ci.secret"), 200, "user=ci"},
		{"token as password", "GET", corp, basic("anybody", "ci.secret"), 200, "user=ci"},
		{"password", "GET", corp, basic("eve", "password"), 200, "user=eve"},
		{"password of another", "GET", corp, basic("ci", "password"), 401, "not valid"},
		{"password as token", "GET", corp, bearer("password"), 401, "not valid"},
		{"wrong", "GET", corp, bearer("ci.secreT"), 401, "not valid"},
		{"wrong, public", "GET", pub, bearer("ci.secreT"), 401, "not valid"},
		{"empty", "GET", corp, basic("eve", ""), 401, "not valid"},
		{"unknown", "GET", corp, basic("mallory", "password"), 401, "not valid"},
		{"long", "GET", corp, bearer(strings.Repeat("x", 10_000)), 401, "not valid"},
		{"another scheme", "GET", corp, func(r *http.Request) { r.Header.Set("Authorization", "Digest x") }, 401, "not valid"},
		{"other path", "GET", "/git.test/other/@v/list", bearer("ci.secret"), 403, "the token ci has no right to read git.test/other"},
		{"path", "GET", "/git.test/team/m/@v/list", bearer("ci.secret"), 200, "user=ci"},
		{"spelled otherwise", "GET", "/!corp.test/m/@v/list", bearer("ci.secret"), 403, "no right"},
		{"publish", "PUT", corp, bearer("ci.secret"), 403, "no right to publish corp.test/m"},
		{"may publish", "PUT", corp, basic("eve", "password"), 200, "user=eve"},
		{"index", "GET", "/index", bearer("ci.secret"), 403, "no right to read this"},
		{"admin, index", "GET", "/index", bearer("root.x"), 200, "user=root"},
		{"admin, refresh", "POST", "/refresh", bearer("root.x"), 200, "user=root"},
		{"admin, anything", "DELETE", corp, bearer("root.x"), 200, "user=root"},
	} {
		for range 2 { // the second time from memory
			w := g.ask(c.method, c.path, c.login)
			assert.Equal(t, c.status, w.Code, c.name)
			assert.Contains(t, w.Body.String(), c.body, c.name)
			assert.NotContains(t, w.Body.String(), "ecre", c.name)
			assert.Equal(t, c.status == 401, strings.HasPrefix(w.Header().Get("WWW-Authenticate"), `Basic realm="modules"`), c.name)
		}
	}
}

// A page may show what the reader may read.
func TestAllow(t *testing.T) {
	g := newGuarded(t, line(t, "ci.secret", "ci corp.test read")+line(t, "root.x", "root * read")+"anonymous read pub.test\n")
	for _, c := range []struct {
		name           string
		login          func(*http.Request)
		corp, pub, all bool
	}{
		{"nobody", nil, false, true, false},
		{"token", bearer("ci.secret"), true, false, false},
		{"token of all", bearer("root.x"), true, true, true},
	} {
		var admitted *http.Request
		r := httptest.NewRequest("GET", "/-/modules", nil)
		if c.login != nil {
			c.login(r)
		}
		g.auth.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { admitted = r })).ServeHTTP(httptest.NewRecorder(), r)
		require.NotNil(t, admitted, c.name)
		assert.Equal(t, c.corp, g.auth.Allow(admitted, module.Version{Path: "corp.test/m"}) == nil, c.name)
		assert.Equal(t, c.pub, g.auth.Allow(admitted, module.Version{Path: "pub.test"}) == nil, c.name)
		assert.Equal(t, c.all, g.auth.AllowAll(admitted), c.name)
		assert.Equal(t, c.all, g.auth.Allow(admitted, module.Version{}) == nil, "%s: of no module", c.name)
	}
}

// Another file comes into force, a bad one does not, and a token that was taken out ends at
// once although it was verified before.
func TestReload(t *testing.T) {
	g := newGuarded(t, line(t, "ci.secret", "ci * read"))
	ask := func() int { return g.ask("GET", "/corp.test/m/@v/list", bearer("ci.secret")).Code }
	assert.Equal(t, 200, ask())
	for _, bad := range []string{"", "nonsense\n", line(t, "ci.secret", "ci * write")} {
		require.NoError(t, os.WriteFile(g.file, []byte(bad), 0o600))
		require.Error(t, g.auth.Reload())
		assert.Equal(t, 200, ask())
	}
	require.NoError(t, os.WriteFile(g.file, []byte("# nobody\n"), 0o600))
	require.NoError(t, g.auth.Reload())
	assert.Equal(t, 401, ask())
}

func TestParseErrors(t *testing.T) {
	good := strings.Fields(line(t, "x", "a * read"))[0]
	for text, want := range map[string]string{
		"\nx a * read":                                 "tokens:2: the hash is not a bcrypt hash",
		good + " a *":                                  "want HASH NAME PATTERNS RIGHTS",
		good + " a * read more":                        "want HASH NAME PATTERNS RIGHTS",
		good + " a/b * read":                           `bad name "a/b"`,
		good + " anonymous * read":                     `bad name "anonymous"`,
		good + " a [ read":                             `bad pattern "["`,
		good + " a , read":                             "no pattern",
		good + " a https://x.test read":                "leave out URL schemes",
		good + " a * write":                            `unknown right "write"`,
		good + " a * read,":                            `unknown right ""`,
		good + " a * read\n" + good + " a b.test read": `tokens:2: another line has the name "a"`,
		"anonymous publish *":                          `want "anonymous read PATTERNS"`,
		"anonymous read":                               `want "anonymous read PATTERNS"`,
		"# \x1b":                                       "",
		"a\x1b":                                        "unprintable character",
		strings.Repeat("#\n", 1<<20):                   "tokens of more than 1048576 bytes",
	} {
		_, err := auth.Parse("tokens", strings.NewReader(text))
		if want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), good)
	}
	_, err := auth.Open(filepath.Join(t.TempDir(), "none"), nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = auth.Open(os.DevNull, &auth.Options{MaxVerified: -1})
	require.ErrorContains(t, err, "MaxVerified is negative")
}

func TestNewToken(t *testing.T) {
	secret, text, err := auth.NewToken("ci.bot", "corp.test", auth.Read)
	require.NoError(t, err)
	g := newGuarded(t, text+"\n")
	assert.Equal(t, "user=ci.bot", g.ask("GET", "/corp.test/m/@v/list", bearer(secret)).Body.String())
	assert.NotContains(t, text, secret)
	for _, bad := range [][2]string{{"a b", "*"}, {"", "*"}, {"a", ""}, {"a", "b c"}, {strings.Repeat("a", 41), "*"}} {
		_, _, err = auth.NewToken(bad[0], bad[1], auth.Read)
		require.Error(t, err, bad)
	}
}

func FuzzParse(f *testing.F) {
	hash := strings.Fields(line(f, "x", "a * read"))[0]
	f.Add(hash+" ci corp.test,*.x.test read,publish\n# c\nanonymous read *\n", "/corp.test/m/@v/list")
	f.Add("anonymous read [a-c].test\r\n", "/b.test/m/@v/v1.0.0.zip")
	f.Fuzz(func(t *testing.T, text, path string) {
		_, err := auth.Parse("tokens", strings.NewReader(text))
		if err != nil && !strings.HasPrefix(err.Error(), "tokens:") {
			t.Errorf("error without a place: %v", err)
		}
		if err == nil && !strings.Contains(text, "anonymous") {
			r := (&http.Request{Method: http.MethodGet, Header: http.Header{}}).WithContext(context.Background())
			r.URL = httptest.NewRequest(http.MethodGet, "/", nil).URL
			r.URL.Path = path
			w := httptest.NewRecorder()
			g := newGuarded(t, "# nobody\n"+text)
			g.front.ServeHTTP(w, r)
			if w.Code != http.StatusUnauthorized && path != "/healthz" && path != "/readyz" {
				t.Errorf("%d for %q without a login", w.Code, path)
			}
		}
	})
}

func BenchmarkRequire(b *testing.B) {
	g := newGuarded(b, line(b, "ci.secret", "ci corp.test read"))
	r := httptest.NewRequest(http.MethodGet, "/corp.test/m/@v/v1.0.0.zip", nil)
	r.Header.Set("Authorization", "Bearer ci.secret")
	next := g.auth.Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		next.ServeHTTP(w, r)
	}
}
