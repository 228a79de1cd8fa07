package auth_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve/auth"
)

const list = "/corp.test/m/@v/list"

// from makes a request come from an address.
func from(address string, login func(*http.Request)) func(*http.Request) {
	return func(r *http.Request) {
		r.RemoteAddr = address
		login(r)
	}
}

// openWith returns a handler behind the tokens of a text.
func openWith(t *testing.T, text string, o *auth.Options) *guarded {
	g := &guarded{t: t, file: filepath.Join(t.TempDir(), "tokens")}
	if text == "" {
		g.file = ""
	} else {
		require.NoError(t, os.WriteFile(g.file, []byte(text), 0o600))
	}
	var err error
	g.auth, err = auth.Open(g.file, o)
	require.NoError(t, err)
	g.front = g.auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "user="+athens.RequestInfoFrom(r.Context()).User)
	}))
	return g
}

// newToken is auth.NewToken with a hash that is cheap to compare.
func newToken(t *testing.T, name string) (secret, made string) {
	secret, made, err := auth.NewToken(name, "corp.test", auth.Read)
	require.NoError(t, err)
	_, rest, _ := strings.Cut(made, " ")
	return secret, line(t, secret, rest)
}

// An address that presents wrong secrets has 429 after some, and the right ones of others
// there are let in all the same: those of the tool although the process has never seen them.
func TestWrongLogins(t *testing.T) {
	secret, made := newToken(t, "ci")
	other, otherMade := newToken(t, "bot")
	var log bytes.Buffer
	g := openWith(t, made+otherMade+line(t, "password", "eve corp.test read")+line(t, "pass2", "ann corp.test read"), &auth.Options{
		MaxWrongLogins: 3, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	synctest.Test(t, func(t *testing.T) {
		ask := func(address string, login func(*http.Request)) *httptest.ResponseRecorder {
			return g.ask("GET", list, from(address, login))
		}
		const nat = "192.0.2.7:1000"
		codes := map[int]int{}
		for i := range 6 {
			w := ask(nat, bearer(fmt.Sprintf("ci.WRONG%d", i)))
			codes[w.Code]++
			if w.Code == http.StatusTooManyRequests {
				assert.Equal(t, "20", w.Header().Get("Retry-After"))
				assert.Empty(t, w.Header().Get("WWW-Authenticate"))
				assert.NotContains(t, w.Body.String(), "WRONG")
			}
		}
		assert.Equal(t, map[int]int{401: 3, 429: 3}, codes)
		assert.Equal(t, 429, ask(nat, bearer("ci.WRONG0")).Code, "also one that is known to be wrong")
		assert.Equal(t, 429, ask("192.0.2.7:2000", basic("nobody", "x")).Code, "the port does not matter")
		assert.Equal(t, 401, ask("192.0.2.8:1000", bearer("ci.WRONG9")).Code, "another address")
		assert.Equal(t, "user=ci", ask(nat, bearer(secret)).Body.String())
		assert.Equal(t, "user=bot", ask(nat, basic("x", other)).Body.String())
		assert.Equal(t, "user=eve", ask(nat, basic("eve", "password")).Body.String(), "it was not guessed at")
		for range 4 {
			ask(nat, basic("ann", "no"))
		}
		assert.Equal(t, 429, ask(nat, basic("ann", "pass2")).Code, "it can't be told from guesses without its hash")
		assert.Equal(t, "user=ann", ask("192.0.2.8:1", basic("ann", "pass2")).Body.String())
		assert.Equal(t, "user=ann", ask(nat, basic("ann", "pass2")).Body.String(), "and then it is known")

		time.Sleep(20 * time.Second)
		assert.Equal(t, 401, ask(nat, bearer("ci.WRONG")).Code, "one more may come")
		assert.Equal(t, 429, ask(nat, bearer("ci.WRONG")).Code)
		time.Sleep(time.Hour)
		assert.Equal(t, 401, ask(nat, bearer("ci.WRONG")).Code)
		for range 10 {
			assert.Equal(t, 200, ask(nat, bearer(secret)).Code, "right ones don't count")
		}
		assert.Equal(t, 401, ask(nat, bearer("ci.WRONG")).Code)

		_, err := g.auth.Authorize(request("192.0.2.9:1", bearer("x")), auth.Refresh, "corp.test/m")
		assert.Equal(t, 401, status(err))
		for range 3 {
			_, err = g.auth.Authorize(request("192.0.2.9:1", bearer("x")), auth.Refresh, "corp.test/m")
		}
		assert.Equal(t, 429, status(err))

		v6 := func(host int) string { return fmt.Sprintf("[2001:db8:1:2::%x]:1", host) }
		for i := range 5 {
			assert.Equal(t, i >= 3, ask(v6(i), bearer("x.y")).Code == 429, "an IPv6 /64 is one client")
		}
	})
	assert.Equal(t, 1, strings.Count(log.String(), "client=2001:db8:1:2::/64"), "%s", &log)
	assert.NotContains(t, log.String(), "WRONG")
}

func status(err error) int {
	code, _ := athens.Status(err)
	return code
}

func request(address string, login func(*http.Request)) *http.Request {
	r := httptest.NewRequest("POST", "/refresh", nil)
	from(address, login)(r)
	return r
}

// Many requests of one go command, all with the same right secret and the first of this
// process, are no guesses.
func TestManyAtOnceAreNoGuesses(t *testing.T) {
	g := openWith(t, line(t, "password", "eve corp.test read"), &auth.Options{MaxWrongLogins: 1})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { assert.Equal(t, 200, g.ask("GET", list, basic("eve", "password")).Code) })
	}
	all.Wait()
}

func TestWrongLoginsWithoutLimit(t *testing.T) {
	g := openWith(t, "# nobody\n", &auth.Options{MaxWrongLogins: -1})
	for range 30 {
		assert.Equal(t, 401, g.ask("GET", list, bearer("x")).Code)
	}
}

// What was verified stays known when the file is read again, as long as its line has the
// same hash.
func TestReloadKeepsWhatIsKnown(t *testing.T) {
	eve, other := line(t, "password", "eve corp.test read"), line(t, "another", "eve corp.test read")
	g := openWith(t, eve, &auth.Options{MaxWrongLogins: 1})
	right, wrong := basic("eve", "password"), basic("eve", "no")
	assert.Equal(t, 200, g.ask("GET", list, right).Code)
	for range 2 {
		g.ask("GET", list, wrong)
	}
	reload := func(text string) {
		require.NoError(t, os.WriteFile(g.file, []byte(text), 0o600))
		require.NoError(t, g.auth.Reload())
	}
	reload("# again\n" + eve)
	assert.Equal(t, 200, g.ask("GET", list, right).Code, "without a hash, which its address may not ask for")
	reload(strings.Replace(eve, "corp.test", "other.test", 1))
	assert.Equal(t, 403, g.ask("GET", list, right).Code, "by the line that is in force")
	reload(other)
	assert.NotEqual(t, 200, g.ask("GET", list, right).Code)
}

// Secrets that no file has are for Options.Verify.
func TestVerify(t *testing.T) {
	grant, err := auth.NewGrant("corp.test", auth.Read)
	require.NoError(t, err)
	publish, err := auth.NewGrant("corp.test/lib", auth.Publish)
	require.NoError(t, err)
	o := &auth.Options{MaxWrongLogins: 3, Verify: func(_ context.Context, secret string) (*auth.Identity, error) {
		switch secret {
		case "job":
			return &auth.Identity{Name: "ci:team/app", Grants: []*auth.Grant{grant, publish}}, nil
		case "nothing":
			return &auth.Identity{Name: "ci:stranger"}, nil
		case "expired":
			return nil, &athens.RefusedError{Status: 401, Reason: "the token has expired"}
		case "unknown":
			return nil, &athens.UnavailableError{Source: "the issuer", RetryAfter: 7 * time.Second, Err: errors.New("refused")}
		}
		return nil, nil
	}}
	for _, text := range []string{line(t, "password", "eve corp.test read") + "anonymous read pub.test\n", ""} {
		g := openWith(t, text, o)
		for _, c := range []struct {
			method, path, secret string
			status               int
			body                 string
		}{
			{"GET", list, "job", 200, "user=ci:team/app"},
			{"PUT", "/corp.test/lib/@v/v1.0.0.zip", "job", 200, "user=ci:team/app"},
			{"PUT", "/corp.test/m/@v/v1.0.0.zip", "job", 403, "the token ci:team/app has no right to publish corp.test/m"},
			{"GET", list, "nothing", 403, "ci:stranger has no right"},
			{"GET", "/pub.test/m/@v/list", "expired", 401, "the token has expired"},
			{"GET", list, "unknown", 503, "the issuer is unavailable"},
			{"GET", list, "expired", 401, "the token has expired"},
			{"GET", list, "expired", 401, "the token has expired"},
			{"GET", list, "expired", 429, "too many wrong logins"},
			{"GET", list, "job", 200, "user=ci:team/app"},
		} {
			w := g.ask(c.method, c.path, basic("x", c.secret))
			assert.Equal(t, c.status, w.Code, "%v", c)
			assert.Contains(t, w.Body.String(), c.body)
			assert.Equal(t, c.status == 503, w.Header().Get("Retry-After") == "7")
		}
		if text != "" {
			assert.Equal(t, 200, g.ask("GET", list, basic("eve", "password")).Code)
		} else {
			assert.NoError(t, g.auth.Reload())
		}
	}
	_, err = auth.Open("", nil)
	require.ErrorContains(t, err, "needs the name of a token file, or Options.Verify")
	_, err = auth.NewGrant("corp.test", 0)
	require.ErrorContains(t, err, "no right")
	_, err = auth.NewGrant("", auth.Read)
	require.ErrorContains(t, err, "no pattern")
}
