package athens

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
)

// Malformed patterns are refused, whether they are in the environment or in the option.
func TestPrivateIsWellFormed(t *testing.T) {
	t.Setenv("GOPRIVATE", "a[")
	_, err := NewHandler(&putOnly{}, nil)
	assert.ErrorContains(t, err, "athens: Private: GOPRIVATE of the environment")
	_, err = NewHandler(&putOnly{}, &Options{Private: "a.test b.test"})
	assert.ErrorContains(t, err, `athens: Private: private pattern "a.test b.test"`)
	h, err := NewHandler(&putOnly{}, &Options{Private: "none"})
	require.NoError(t, err)
	require.NoError(t, h.Shutdown(t.Context()))
}

// putOnly is a store that holds nothing.
type putOnly struct{ Storage }

func (*putOnly) Open(context.Context, module.Version, File) (*Object, error) {
	return nil, os.ErrNotExist
}

func (*putOnly) Versions(context.Context, string) ([]string, error) { return nil, nil }

// listener is an upstream that records every name in its questions.
type listener struct{ heard []string }

func (l *listener) hear(s ...string) error {
	l.heard = append(l.heard, s...)
	return errors.New("heard")
}

func (l *listener) Versions(_ context.Context, path string) ([]string, error) {
	return nil, l.hear(path)
}

func (l *listener) Resolve(_ context.Context, path, query string) (*Info, error) {
	return nil, l.hear(path, query)
}

func (l *listener) Fetch(_ context.Context, m module.Version) (Content, error) {
	return nil, l.hear(m.String())
}

func (l *listener) Location(_ context.Context, path string) (string, error) {
	return "https://registry.test/" + path, l.hear(path)
}

func (l *listener) SumDB(_ context.Context, path string) ([]byte, error) { return nil, l.hear(path) }

// The upstream never learns of paths that the environment calls private if Private and
// Route are unset, nor of any path if Route fails.
func TestPrivateByDefault(t *testing.T) {
	t.Setenv("GOPRIVATE", "corp.example.com")
	t.Setenv("GONOPROXY", "none")
	none := func(context.Context, module.Version) (Route, error) { return Route{}, nil }
	fails := func(context.Context, module.Version) (Route, error) { return Route{}, &MissingError{Path: "policy"} }
	private := []string{
		"/corp.example.com/x/@v/list", "/corp.example.com/x/@latest", "/corp.example.com/x/@v/v1.0.0.info", "/corp.example.com/x/@v/v1.0.0.zip",
		"/corp.example.com/x/@v/main.info", "/sumdb/sum.test/lookup/corp.example.com/x@v1.0.0",
		"/sumdb/corp.example.com/supported", "/sumdb/corp.example.com./supported", "/sumdb/corp.example.com:443/supported", "/sumdb/corp.example.com.:443/latest",
		"/example.com/m/@v/corp.example.com.info", "/example.com/m/@v/corp.example.com@v1.0.0.info", "/example.com/m/@v/!corp.example.com.info",
		"/example.com/m/@v/git@corp.example.com.info", "/example.com/m/@v/corp.example.com,x.info", "/example.com/m/@v/x=corp.example.com_v1.info",
		"/example.com/m/@v/%2563orp.example.com.info", "/example.com/m/@v/corp.example.com%2520v1.info",
	}
	for name, opts := range map[string]*Options{"nil": {}, "public by Route": {Route: none}, "Route fails": {Route: fails, Private: "none"}} {
		for _, fetch := range []bool{false, true} {
			up := &listener{}
			opts.Upstream, opts.MissFetch = up, fetch
			h, err := NewHandler(&putOnly{}, opts)
			require.NoError(t, err)
			for _, target := range private {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
				assert.Empty(t, up.heard, "%s: %s", name, target)
				assert.NotEqual(t, http.StatusNotFound, w.Code, "a go command would go elsewhere: %s: %s", name, target)
				assert.NotEqual(t, http.StatusFound, w.Code, target)
			}
			require.Error(t, h.Fill(t.Context(), Fill{Module: module.Version{Path: "corp.example.com/x", Version: "v1.0.0"}}))
			assert.Empty(t, up.heard, name)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/example.com/m/@v/list", nil))
			if opts.Private == "" {
				assert.Equal(t, []string{"example.com/m"}, up.heard, name)
			} else {
				assert.Equal(t, http.StatusServiceUnavailable, w.Code)
			}
			require.NoError(t, h.Shutdown(t.Context()))
		}
	}
}

// FuzzVia reads arbitrary Via headers. Only a few names are passed on, which are names of
// servers like this one, and reading the result again changes nothing.
func FuzzVia(f *testing.F) {
	const a, b = "athens-aaaaaaaaaaaaaaaaaaaaaaaaaa", "athens-bbbbbbbbbbbbbbbbbbbbbbbbb7"
	f.Add("1.1 "+a, "1.0 nginx, 1.1 "+b)
	f.Add(strings.Repeat("1.1 "+a+",", 12), "")
	f.Add("1.1 athens-self", "HTTP/1.1 "+a+" (comment, with a comma)")
	f.Add("1.1\t"+a+",,, ,1.1 corp.test/secret", "1.1 athens-corp.test/secretaaaaaaaaa")
	f.Add("\x80", "0")
	f.Add("0 athens-22222222000000000000000000", "0")
	f.Add(",,0\xdf,\xf7,,\xeb\xd7,,\xb10\xc7,0\xe4,,,,,", "0")
	f.Add("\xee\x91\xee", "0")
	f.Add("0 athens-22222222222222222222222222,0 athens-22222222222222222222222222", "0")
	f.Add("0\xd1", "0")
	f.Add("\xc0", "\xb0")
	f.Add(strings.Repeat("0 athens-22222222222222222222222222,", 12)+"0 0000000", "0")
	f.Fuzz(func(t *testing.T, one, two string) {
		h := &Handler{server: b}
		chain, err := h.server.chain(http.Header{"Via": {one, two}})
		if err != nil {
			if chain != "" || len(err.Error()) > 2000 {
				t.Errorf("%q %v", chain, err)
			}
			return
		}
		servers := strings.Split(chain, ", ")
		if chain != "" {
			for _, s := range servers {
				if name, ok := strings.CutPrefix(s, "1.1 "); !ok || !isServer(name) || name == b {
					t.Errorf("%q passes on %q", one+", "+two, s)
				}
			}
		}
		if len(servers) > maxServers {
			t.Errorf("%d servers", len(servers))
		}
		if again, err := h.server.chain(http.Header{"Via": {chain}}); err != nil || again != chain {
			t.Errorf("%q, then %q: %v", chain, again, err)
		}
	})
}
