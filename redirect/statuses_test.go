package redirect_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/redirect"
)

// questions are all that an upstream is asked.
func questions(ctx context.Context, u *redirect.Upstream) map[string]func() error {
	content, err := u.Fetch(ctx, v1)
	if err != nil {
		panic(err)
	}
	resolve := func(query string) func() error {
		return func() error { _, err := u.Resolve(ctx, "example.com/m", query); return err }
	}
	sumDB := func(path string) func() error {
		return func() error { _, err := u.SumDB(ctx, "sumdb/sum.test/"+path); return err }
	}
	return map[string]func() error{
		"list":      func() error { _, err := u.Versions(ctx, "example.com/m"); return err },
		"latest":    resolve("latest"),
		"branch":    resolve("main"),
		"prefix":    resolve("v1"),
		"info":      func() error { _, err := content.Info(ctx); return err },
		"mod":       func() error { _, err := content.Mod(ctx); return err },
		"zip":       func() error { return content.Zip(ctx, io.Discard) },
		"supported": sumDB("supported"),
		"lookup":    sumDB("lookup/example.com/m@v1.0.0"),
		"tile":      sumDB("tile/8/0/000"),
	}
}

// answering is a transport on which each answer has that status and a sign-in page.
func answering(status int) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		header := http.Header{"Content-Type": {"text/html"}}
		body := modtest.SignIn
		if status == http.StatusNoContent || status == http.StatusNotModified || status < 200 {
			body = ""
		}
		return &http.Response{StatusCode: status, Status: strconv.Itoa(status), Header: header, ContentLength: int64(len(body)),
			Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	})
}

// Only 404 and 410 mean that something is missing, whatever is asked, of an upstream and
// of a checksum database; 403 and 451 that it is blocked, 508 a loop. All others are
// outages, and so is a page in place of an answer.
func TestEveryStatus(t *testing.T) {
	want := func(status int) error {
		switch status {
		case 404, 410:
			return new(athens.MissingError)
		case 403, 451:
			return new(athens.BlockedError)
		case 508:
			return new(athens.InvalidError)
		}
		return new(athens.UnavailableError)
	}
	d, _ := startDatabase(t, "")
	for status := 100; status <= 599; status++ {
		o := func() *redirect.Options { return &redirect.Options{Transport: answering(status), Tries: 1} }
		for name := range questions(t.Context(), upstream(t, "http://up.test", o())) {
			err := questions(t.Context(), upstream(t, "http://up.test", o()))[name]()
			assert.IsType(t, want(status), err, "%d of %s: %v", status, name, err)
		}
		db, err := redirect.NewChecksums(d.key+" http://sum.test", o())
		require.NoError(t, err)
		_, err = db.Lookup("example.com/m", "v1.0.0")
		assert.IsType(t, want(status), err, "%d of a checksum database: %v", status, err)
	}
}

// What is not what was asked for says so, whatever its Content-Type is, and from whom.
func TestPagesAreOutages(t *testing.T) {
	login := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, modtest.SignIn) }))
	for name, c := range map[string]struct {
		body string
		all  bool // of all questions, not only of lists, .info and .mod
	}{
		"page":     {modtest.SignIn, true},
		"indented": {"\r\n\t <HTML>\n<body>", true},
		"marked":   {"\xef\xbb\xbf<!doctype html>", true},
		"UTF-16":   {"\xff\xfe<\x00h\x00t\x00m\x00l\x00>\x00", true},
		"comment":  {"<!-- maintenance --><html>", true},
		"words":    {"Please sign in.\nThank you.\n", false},
		"JSON":     {`{"error":"login required"}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			srv := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/plain")
				io.WriteString(w, c.body)
			}))
			for name, ask := range questions(t.Context(), upstream(t, srv.URL, once())) {
				if !c.all && (name == "zip" || name == "supported" || name == "lookup" || name == "tile") {
					continue
				}
				err := ask()
				assert.IsType(t, new(athens.UnavailableError), err, "%s: %v", name, err)
				assert.ErrorContains(t, err, "perhaps a sign-in or maintenance page", name)
			}
		})
	}
	away := serve(t, http.RedirectHandler(login.URL+"/login?from=here", http.StatusFound))
	for name, ask := range questions(t.Context(), upstream(t, away.URL, once())) {
		err := ask()
		var down *athens.UnavailableError
		require.True(t, errors.As(err, &down), "%s: %v", name, err)
		assert.ErrorContains(t, err, strings.TrimPrefix(login.URL, "http://"), name)
	}
	// A list with a line that is none is one all the same.
	odd := serve(t, body("v1.0.0\nnightly\nv1.1.0 2024-01-02T03:04:05Z\n"))
	versions, err := upstream(t, odd.URL, once()).Versions(t.Context(), "example.com/m")
	assert.NoError(t, err)
	assert.Equal(t, []string{"v1.0.0", "v1.1.0"}, versions)
}
