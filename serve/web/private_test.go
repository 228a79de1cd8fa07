package web

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// Patterns that change while the server runs change what is shown, and the line.
func TestPrivatePatternsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		patterns := "corp.test"
		s := newShown(t, &Options{CurrentPrivate: func() string { return patterns }, NoSumDB: "gen.test"}, nil)
		assert.Contains(t, s.page("/"), "GONOSUMDB=corp.test,gen.test")
		assert.Equal(t, 404, s.get("/-/m/corp.test/secret").Code)
		patterns = "example.com/greet"
		time.Sleep(2 * knownFor)
		assert.Contains(t, s.page("/"), "GONOSUMDB=example.com/greet,gen.test")
		assert.Equal(t, 200, s.get("/-/m/corp.test/secret").Code)
		assert.Equal(t, 404, s.get("/-/m/example.com/greet").Code)
		patterns = ""
		assert.Contains(t, s.page("/"), "GONOSUMDB=gen.test")
		patterns = "[" // malformed: those before stay
		assert.Contains(t, s.page("/"), "GONOSUMDB=gen.test")
	})
}

// Private modules are seen by those who may, and by nobody else: in no list, count, plot,
// requirement, file or comparison.
func TestPrivateModules(t *testing.T) {
	const private = "corp.test"
	secret := module.Version{Path: "corp.test/secret", Version: "v1.0.0"}
	asks := module.Version{Path: "example.com/asks", Version: "v1.0.0"} // a public module that requires a private one
	pages := []string{"/-/m/corp.test/secret", "/-/m/corp.test/secret@v1.0.0", "/-/f/corp.test/secret@v1.0.0/", "/-/f/corp.test/secret@v1.0.0/README.md", "/-/d/corp.test/secret@v1.0.0..v1.0.0"}
	lists := []string{"/", "/-/live", "/-/fills", "/-/store", "/-/modules", "/-/modules?q=secret", "/-/modules?q=corp.test/secret", "/-/m/example.com/text", "/-/m/example.com/asks"}
	for _, c := range []struct {
		name    string
		opts    Options
		watched athens.Options
		sees    bool
	}{
		{name: "no policy", watched: athens.Options{Private: private}},
		{name: "private by the route", watched: athens.Options{Private: "none", Route: func(_ context.Context, m module.Version) (athens.Route, error) {
			return athens.Route{Private: m.Path == "corp.test/secret"}, nil
		}}},
		{name: "the route fails", watched: athens.Options{Private: "none", Route: func(_ context.Context, m module.Version) (athens.Route, error) {
			if m.Path == "corp.test/secret" {
				return athens.Route{}, errors.New("down")
			}
			return athens.Route{}, nil
		}}},
		{name: "not allowed", watched: athens.Options{Private: private, Allow: func(_ *http.Request, m module.Version) error {
			if m.Path == secret.Path {
				return fs.ErrPermission
			}
			return nil
		}}},
		{name: "allowed", sees: true, watched: athens.Options{Private: private, Allow: func(*http.Request, module.Version) error { return nil }}},
		{name: "all", sees: true, opts: Options{AllowAll: func(*http.Request) bool { return true }}, watched: athens.Options{Private: private}},
	} {
		s := newShown(t, &c.opts, &c.watched)
		require.NoError(t, s.store.Put(t.Context(), asks, &athens.Info{Version: asks.Version}, []byte("module example.com/asks\n\nrequire (\n\tcorp.test/secret v1.0.0\n\texample.com/text v0.3.0\n)\n")))
		s.observe(&athens.Event{Op: athens.OpPut, Outcome: athens.OutcomeDone, Module: secret})
		s.observe(&athens.Event{Op: athens.OpFill, Outcome: athens.OutcomeFailed, Module: secret, Err: errors.New("x")})
		for _, path := range pages {
			want := 404
			if c.sees {
				want = 200
			}
			assert.Equal(t, want, s.get(path).Code, "%s: %s", c.name, path)
		}
		if !c.sees {
			unknown := strings.ReplaceAll(s.get("/-/m/corp.test/unknown").Body.String(), "unknown", "")
			assert.Equal(t, unknown, strings.ReplaceAll(s.get(pages[0]).Body.String(), "secret", ""), "%s: as missing as another", c.name)
		}
		for _, path := range lists {
			text := strings.NewReplacer(`value="secret"`, "", `value="corp.test/secret"`, "", "“secret”", "", "“corp.test/secret”", "").Replace(s.page(path))
			assert.Equal(t, c.sees, strings.Contains(text, "secret"), "%s: %s", c.name, path)
		}
		assert.Equal(t, c.sees, strings.Contains(s.page("/"), "5 versions of 4 modules"), c.name)
	}
}
