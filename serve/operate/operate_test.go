package operate_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
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
	"github.com/athens-go/athens/serve/operate"
	"github.com/athens-go/athens/storage"
)

const secret = "a secret of push events"

var v1 = module.Version{Path: "example.com/m", Version: "v1.0.0"}

// world is a server with its source, and what its operators can do.
type world struct {
	*athenstest.Source
	store   *storage.Store
	root    http.Handler
	changes []string // that Changed was told of
}

func newWorld(t *testing.T) *world {
	w := &world{Source: athenstest.NewSource(t, "vcs"), store: storage.NewMemory()}
	w.Add(v1)
	handler, err := athens.NewHandler(w.store, &athens.Options{Fetcher: w.Source, Private: "none"})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, handler.Shutdown(context.Background())) })
	api, err := operate.New(handler, w.store, &operate.Options{
		// A login is NAME:RIGHT:PATH.
		Authorize: func(r *http.Request, right, path string) (string, error) {
			user, may, given := r.BasicAuth()
			if !given {
				return "", &athens.RefusedError{Status: http.StatusUnauthorized, Challenge: `Basic realm="x"`}
			}
			if may != right+" "+path && (path != "" || !strings.HasPrefix(may, right+" ")) {
				return "", errors.New("no right to do that")
			}
			return user, nil
		},
		Hooks: func() []string { return []string{secret, "short"} },
		Changed: func(_ context.Context, kind string, m module.Version, reason string) {
			w.changes = append(w.changes, strings.TrimSpace(kind+" "+m.String()+" "+reason))
		},
	})
	require.NoError(t, err)
	w.root = api.Front(handler)
	return w
}

// post posts JSON with a login, which may be empty, and further headers.
func (w *world) post(path, login, body string, header ...string) (int, string) {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if login != "" {
		r.SetBasicAuth("op", login)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	w.root.ServeHTTP(rec, r)
	return rec.Code, rec.Body.String()
}

func (w *world) get(path string) (int, string) {
	rec := httptest.NewRecorder()
	w.root.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, http.NoBody))
	return rec.Code, rec.Body.String()
}

const admin, refresh = "admin example.com/m", "refresh example.com/m"

// What has no credential, not the right one, or can't be understood changes nothing.
func TestRefused(t *testing.T) {
	w := newWorld(t)
	order := `{"module":"example.com/m","version":"v1.0.0","reason":"x"}`
	for _, c := range []struct {
		path, login, body string
		status            int
		header            []string
	}{
		{"/remove", "", order, 401, nil},
		{"/hide", "", order, 401, nil},
		{"/restore", "", order, 401, nil},
		{"/refresh", "", order, 401, nil},
		{"/remove", "refresh example.com/m", order, 403, nil},
		{"/remove", "admin example.com/other", order, 403, nil},
		{"/refresh", "admin example.com/m", order, 403, nil},
		{"/remove", admin, order, 415, []string{"Content-Type", "text/plain"}},
		{"/remove", admin, strings.Repeat(" ", 65<<10) + order, 413, nil},
		{"/remove", admin, "", 400, nil},
		{"/remove", admin, "[]", 400, nil},
		{"/remove", admin, order + order, 400, nil},
		{"/remove", admin, `{"module":"example.com/m","version":"v1.0.0","reason":"x","more":1}`, 400, nil},
		{"/remove", admin, `{"module":"example.com/m","version":"v1","reason":"x"}`, 400, nil},
		{"/remove", admin, `{"module":"example.com/m","version":"v2.0.0","reason":"x"}`, 400, nil},
		{"/remove", admin, `{"module":"../m","version":"v1.0.0","reason":"x"}`, 400, nil},
		{"/remove", admin, `{"module":"example.com/m","reason":"x"}`, 400, nil},
		{"/remove", admin, `{"module":"example.com/m","version":"v1.0.0"}`, 400, nil},
		{"/remove", admin, `{"module":"example.com/m","version":"v1.0.0","reason":"a\nb"}`, 400, nil},
		{"/hide", admin, `{"module":"example.com/m","version":"v1.0.0","reason":"` + strings.Repeat("x", 301) + `"}`, 400, nil},
		{"/restore", admin, order, 400, nil},
		{"/refresh", refresh, order, 400, nil},
		{"/refresh", refresh, `{"module":"example.com/m","version":"v1.0.0","ref":"main"}`, 400, nil},
		{"/refresh", refresh, `{"module":"example.com/m","ref":"` + strings.Repeat("x", 201) + `"}`, 400, nil},
		{"/refresh", refresh, `{"module":"example.com/m","version":"v1.9.9"}`, 404, nil},
		{"/refresh", "", `{}`, 401, []string{"X-Gitlab-Token", "wrong"}},
		{"/refresh", "", `{}`, 401, []string{"X-Gitlab-Token", "short"}},
		{"/refresh", refresh, `{}`, 401, []string{"X-GitHub-Event", "push"}},
		{"/refresh", "", `{}`, 401, []string{"X-Hub-Signature-256", "sha256="}},
	} {
		status, body := w.post(c.path, c.login, c.body, c.header...)
		assert.Equal(t, c.status, status, "%s %.100s: %s", c.path, c.body, body)
	}
	marks, err := w.store.Marks(t.Context(), v1.Path)
	require.NoError(t, err)
	assert.Empty(t, marks)
	assert.Empty(t, athenstest.Held(t, w.store, v1))
	assert.Empty(t, w.changes)
	for _, path := range []string{"/remove", "/refresh", "/restore"} {
		status, _ := w.get(path)
		assert.Equal(t, http.StatusNotFound, status, "GET is the handler's business")
	}
}

func TestTakenBack(t *testing.T) {
	w := newWorld(t)
	status, _ := w.get("/example.com/m/@v/v1.0.0.zip")
	require.Equal(t, http.StatusOK, status)
	status, body := w.post("/remove", admin, `{"module":"example.com/m","version":"v1.0.0","reason":"leaks a key"}`)
	require.Equal(t, http.StatusOK, status, body)
	assert.JSONEq(t, `{"Path":"example.com/m","Version":"v1.0.0"}`, body)
	status, body = w.get("/example.com/m/@v/v1.0.0.mod")
	assert.Equal(t, http.StatusGone, status)
	assert.Contains(t, body, "leaks a key")
	status, body = w.post("/refresh", refresh, `{"module":"example.com/m","version":"v1.0.0"}`)
	assert.Equal(t, http.StatusGone, status, "a refresh fills nothing that was removed")
	assert.Contains(t, body, "leaks a key")
	status, _ = w.post("/restore", admin, `{"module":"example.com/m","version":"v1.0.0"}`)
	require.Equal(t, http.StatusOK, status)
	status, _ = w.post("/hide", admin, `{"module":"example.com/m","version":"v1.0.0","reason":"broken"}`)
	require.Equal(t, http.StatusOK, status)
	status, _ = w.get("/example.com/m/@v/v1.0.0.mod")
	assert.Equal(t, http.StatusOK, status)
	_, body = w.get("/example.com/m/@v/list")
	assert.Empty(t, body)
	assert.Equal(t, []string{"removed example.com/m@v1.0.0 leaks a key", "restored example.com/m@v1.0.0", "hidden example.com/m@v1.0.0 broken"}, w.changes)
}

// A tag that was pushed after the server had said that there is none is there at once.
func TestRefresh(t *testing.T) {
	w := newWorld(t)
	next := module.Version{Path: v1.Path, Version: "v1.1.0"}
	for _, path := range []string{"/example.com/m/@v/v1.1.0.info", "/example.com/m/@v/main.info"} {
		status, _ := w.get(path)
		require.Equal(t, http.StatusNotFound, status)
	}
	w.get("/example.com/m/@v/list")
	w.Add(next)
	w.SetQuery(v1.Path, "main", "v1.1.0")
	w.SetQuery(v1.Path, "latest", "v1.1.0")
	_, body := w.get("/example.com/m/@v/list")
	require.NotContains(t, body, "v1.1.0", "the answer is remembered")
	for _, order := range []string{
		`{"module":"example.com/m","version":"v1.1.0"}`, `{"module":"example.com/m","ref":"refs/tags/v1.1.0"}`,
		`{"module":"example.com/m","ref":"main"}`, `{"module":"example.com/m","ref":"refs/heads/main"}`, `{"module":"example.com/m"}`,
	} {
		status, body := w.post("/refresh", refresh, order)
		require.Equal(t, http.StatusOK, status, "%s: %s", order, body)
		assert.Contains(t, body, `"Module":"example.com/m","Version":"v1.1.0","Time":"20`)
	}
	assert.Equal(t, slices.Repeat([]string{"refreshed example.com/m@v1.1.0"}, 5), w.changes)
	assert.Len(t, athenstest.Held(t, w.store, next), 3)
	_, body = w.get("/example.com/m/@v/list")
	assert.Contains(t, body, "v1.1.0")
	w.Fail("", "down")
	status, body := w.post("/refresh", refresh, `{"module":"example.com/other"}`)
	assert.Equal(t, http.StatusForbidden, status, body)
	status, _ = w.post("/refresh", refresh, `{"module":"example.com/m","version":"v1.5.0"}`)
	assert.Equal(t, http.StatusServiceUnavailable, status)
}

func sign(body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = io.WriteString(mac, body)
	return hex.EncodeToString(mac.Sum(nil))
}

// The push events of three services, as their documentation describes them.
func TestPushEvents(t *testing.T) {
	const github = `{"ref":"refs/tags/v1.0.0","before":"0000000000000000000000000000000000000000","after":"aa218f56b14c9653891f9e74264a383fa43fefbd","created":true,"deleted":false,"repository":{"id":1,"name":"m","full_name":"m","html_url":"https://example.com/m","clone_url":"https://example.com/m.git"},"pusher":{"name":"octo"}}`
	const gitea = `{"ref":"refs/tags/v1.0.0","before":"","after":"bffeb74224043ba2feb48d137756c8a9331c449a","compare_url":"","commits":[],"repository":{"id":140,"full_name":"gitea/webhooks","html_url":"https://example.com/m","clone_url":"https://example.com/m.git"}}`
	const gitlab = `{"object_kind":"tag_push","event_name":"tag_push","before":"0000000000000000000000000000000000000000","after":"82b3d5ae55f7080f1e6022629cdb57bfae7cccc7","ref":"refs/tags/v1.0.0","project":{"id":1,"name":"m","git_http_url":"https://example.com/m.git","path_with_namespace":"m"}}`
	for name, c := range map[string]struct {
		body   string
		header []string
	}{
		"GitHub": {github, []string{"X-GitHub-Event", "push", "X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958", "X-Hub-Signature-256", "sha256=" + sign(github)}},
		"Gitea":  {gitea, []string{"X-Gitea-Event", "push", "X-GitHub-Event", "push", "X-Gitea-Signature", sign(gitea), "X-Hub-Signature-256", "sha256=" + sign(gitea)}},
		"GitLab": {gitlab, []string{"X-Gitlab-Event", "Tag Push Hook", "X-Gitlab-Token", secret}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if name != "GitLab" {
				status, _ := w.post("/refresh", "", strings.Replace(c.body, "v1.0.0", "v1.0.1", 1), c.header...)
				assert.Equal(t, http.StatusUnauthorized, status, "forged")
			}
			assert.Empty(t, athenstest.Held(t, w.store, v1))
			w.Fail("", "down")
			status, body := w.post("/refresh", "", c.body, c.header...)
			assert.GreaterOrEqual(t, status, 500, body)
			w.Fail("", "")
			status, body = w.post("/refresh", "", c.body, c.header...)
			require.Equal(t, http.StatusOK, status, body)
			assert.Contains(t, body, `"Version":"v1.0.0"`)
			assert.Len(t, athenstest.Held(t, w.store, v1), 3)
			w.Take()
			status, body = w.post("/refresh", "", c.body, c.header...)
			assert.Equal(t, http.StatusUnauthorized, status, "replayed")
			assert.Contains(t, body, "received before")
			assert.Empty(t, w.Take())
			assert.Equal(t, []string{"refreshed example.com/m@v1.0.0"}, w.changes)
		})
	}
}

// What a genuine event names decides which module is refreshed.
func TestEventNames(t *testing.T) {
	w := newWorld(t)
	w.Add(module.Version{Path: "example.com/m/sub", Version: "v0.1.0"})
	w.Add(module.Version{Path: "example.com/m/v2", Version: "v2.0.0"})
	w.Add(module.Version{Path: "vanity.test/m", Version: "v1.0.0"})
	for _, c := range []struct {
		url, ref, clone, want string
		status                int
	}{
		{"/refresh", "refs/tags/sub/v0.1.0", "https://example.com/m.git", `"Module":"example.com/m/sub","Version":"v0.1.0"`, 200},
		{"/refresh", "refs/tags/v2.0.0", "https://example.com/m.git", `"Module":"example.com/m/v2","Version":"v2.0.0"`, 200},
		{"/refresh?module=vanity.test/m", "refs/tags/v1.0.0", "https://example.com/m.git", `"Module":"vanity.test/m","Version":"v1.0.0"`, 200},
		{"/refresh", "refs/heads/feature/x", "https://example.com/m.git", `{"Module":"example.com/m"}`, 200},
		{"/refresh", "refs/tags/nightly", "https://example.com/m.git", `{"Module":"example.com/m"}`, 200},
		{"/refresh", "", "https://example.com/m.git", "Ignored", 200},
		{"/refresh", "refs/tags/v1.0.0", "", "names no repository", 400},
		{"/refresh", "refs/tags/v1.0.0", "https://localhost/../m", "malformed", 400},
		{"/refresh?module=..", "refs/tags/v1.0.0", "https://example.com/m.git", "malformed", 400},
	} {
		body := `{"ref":"` + c.ref + `","repository":{"clone_url":"` + c.clone + `"},"n":"` + c.url + `"}`
		status, said := w.post(c.url, "", body, "X-GitHub-Event", "push", "X-Hub-Signature-256", "sha256="+sign(body))
		assert.Equal(t, c.status, status, "%s: %s", body, said)
		assert.Contains(t, said, c.want, body)
	}
	assert.Len(t, w.changes, 5)
	assert.Contains(t, w.changes, "refreshed example.com/m")
	status, _ := w.post("/refresh", "", "{", "X-Gitlab-Token", secret)
	assert.Equal(t, http.StatusBadRequest, status)
	large := `{"ref":"` + strings.Repeat("x", 4<<20) + `"}`
	status, _ = w.post("/refresh", "", large, "X-Gitlab-Token", secret)
	assert.Equal(t, http.StatusRequestEntityTooLarge, status)
}
