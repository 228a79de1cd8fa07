package oidc_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/oidc"
	"github.com/athens-go/athens/serve/auth"
)

// verdict is what became of a token: the name of who presents it, or the status of the answer.
func verdict(t testing.TB, f *oidc.File, token string) string {
	who, err := f.Verify(t.Context(), token)
	switch {
	case err != nil:
		code, _ := athens.Status(err)
		return fmt.Sprintf("%d %v", code, err)
	case who == nil:
		return "unknown"
	}
	return who.Name
}

// A job presents its token as the go command and curl do, and may do what the lines say.
func TestJobs(t *testing.T) {
	key := newPair(t, "1")
	i := newIssuer(t, key)
	f, _, _ := open(t, i.config(allowApp+
		"allow corp.test/lib read,publish project_path=team/app ref=v* ref_protected=true\n"+
		"allow * admin groups=root environment=prod**\n"), nil)
	tokens, err := auth.Open("", &auth.Options{Verify: f.Verify})
	require.NoError(t, err)
	var user string
	front := tokens.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { user = athens.RequestInfoFrom(r.Context()).User }))
	const read, lib = "GET /corp.test/m/@v/list", "PUT /corp.test/lib/@v/v1.0.0.zip"
	for _, c := range []struct {
		name   string
		claims map[string]any
		status map[string]int
	}{
		{"branch", nil, map[string]int{read: 200, lib: 403, "GET /other.test/m/@v/list": 403}},
		{"tag", map[string]any{"ref": "v1.0.0", "ref_protected": "true"}, map[string]int{read: 200, lib: 200}},
		{"tag, as a boolean", map[string]any{"ref": "v1.0.0", "ref_protected": true}, map[string]int{lib: 200}},
		{"unprotected tag", map[string]any{"ref": "v1.0.0", "ref_protected": "false"}, map[string]int{lib: 403}},
		{"tag with a slash", map[string]any{"ref": "v1/0", "ref_protected": "true"}, map[string]int{lib: 403}},
		{"another team", map[string]any{"project_path": "mallory/app"}, map[string]int{read: 403}},
		{"a name that begins alike", map[string]any{"project_path": "team-x/app"}, map[string]int{read: 403}},
		{"a name on another line", map[string]any{"project_path": "x\nteam/app"}, map[string]int{read: 403}},
		{"no claim", map[string]any{"project_path": nil}, map[string]int{read: 403}},
		{"an object", map[string]any{"project_path": map[string]any{"team": "app"}}, map[string]int{read: 403}},
		{"below", map[string]any{"project_path": "team/sub/app"}, map[string]int{read: 200}},
		{"a list", map[string]any{"groups": []string{"x", "root"}, "environment": "prod/eu"}, map[string]int{"POST /refresh": 200}},
	} {
		token := i.token(key, c.claims)
		for request, status := range c.status {
			for _, login := range []func(*http.Request){
				func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) },
				func(r *http.Request) { r.SetBasicAuth("job", token) },
			} {
				method, path, _ := strings.Cut(request, " ")
				w, r := httptest.NewRecorder(), httptest.NewRequest(method, path, nil)
				login(r)
				user = ""
				front.ServeHTTP(w, r)
				assert.Equal(t, status, w.Code, "%s: %s: %s", c.name, request, w.Body)
				assert.NotContains(t, w.Body.String(), token)
				if status == 200 && c.claims["project_path"] == nil {
					assert.Equal(t, "gitlab:team/app", user)
				}
			}
		}
	}
	assert.Equal(t, 1, i.asks(), "the keys are fetched once")
}

// rsaPair returns a key by which confusions can be tried: its public half is known as a text.
func rsaPair(t testing.TB, id string, bits int) (p pair, public []byte) {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	return pair{id, jose.RS256, key}, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func TestRefusals(t *testing.T) {
	key, other := newPair(t, "1"), newPair(t, "1")
	rsaKey, public := rsaPair(t, "rsa", 2048)
	i := newIssuer(t, key, rsaKey, jose.JSONWebKey{Key: []byte("a shared secret of 32 bytes long"), KeyID: "oct"})
	foreign := newIssuer(t, other)
	f, _, log := open(t, i.config(allowApp), nil)
	now := time.Now()
	part := func(v any) string {
		text, err := json.Marshal(v)
		require.NoError(t, err)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	good := i.token(key, nil)
	head, rest, _ := strings.Cut(good, ".")
	_, signature, _ := strings.Cut(rest, ".")
	const sub = "project_path:team/app:ref_type:branch:ref:main"
	for name, c := range map[string]struct{ token, want string }{
		"good":                   {good, "gitlab:team/app"},
		"good, by RSA":           {i.token(rsaKey, nil), "gitlab:team/app"},
		"several audiences":      {i.token(key, map[string]any{"aud": []string{"x", audience}}), "gitlab:team/app"},
		"another name":           {i.token(key, map[string]any{"project_path": nil}), "gitlab:" + sub},
		"expired within leeway":  {i.token(key, map[string]any{"exp": now.Add(-30 * time.Second).Unix()}), "gitlab:team/app"},
		"early within leeway":    {i.token(key, map[string]any{"nbf": now.Add(30 * time.Second).Unix()}), "gitlab:team/app"},
		"expired":                {i.token(key, map[string]any{"exp": now.Add(-2 * time.Minute).Unix()}), "401 the token has expired"},
		"without an end":         {i.token(key, map[string]any{"exp": nil}), "401 the token has expired"},
		"not yet":                {i.token(key, map[string]any{"nbf": now.Add(time.Hour).Unix()}), "401 the token is not valid yet"},
		"in 1e300 seconds":       {i.token(key, map[string]any{"nbf": 1e300}), "401 the token is not valid yet"},
		"issued in the future":   {i.token(key, map[string]any{"iat": now.Add(time.Hour).Unix()}), "401 the token is not valid yet"},
		"another audience":       {i.token(key, map[string]any{"aud": "https://other.test"}), "401 the token is for another audience"},
		"the audience's case":    {i.token(key, map[string]any{"aud": strings.ToUpper(audience)}), "401 the token is for another audience"},
		"no audience":            {i.token(key, map[string]any{"aud": nil}), "401 the token is for another audience"},
		"an issuer that signs":   {foreign.token(other, nil), "401 tokens of this issuer are not accepted"},
		"says it is of another":  {foreign.token(other, map[string]any{"iss": i.url}), "401 no key of the issuer has signed"},
		"no issuer":              {i.token(key, map[string]any{"iss": nil}), "401 this is no token of an issuer"},
		"issuer with a slash":    {i.token(key, map[string]any{"iss": i.url + "/"}), "401 tokens of this issuer are not accepted"},
		"none":                   {part(map[string]any{"alg": "none"}) + "." + part(i.claims(nil)) + ".", "401 the token is malformed"},
		"None":                   {part(map[string]any{"alg": "None", "kid": "1"}) + "." + part(i.claims(nil)) + "." + signature, "401 the token is malformed"},
		"HS256 by a public key":  {sign(t, jose.HS256, jose.JSONWebKey{Key: public, KeyID: "rsa"}, i.claims(nil), nil), "401 the token is malformed"},
		"HS256 by a shared key":  {sign(t, jose.HS256, jose.JSONWebKey{Key: []byte("a shared secret of 32 bytes long"), KeyID: "oct"}, i.claims(nil), nil), "401 the token is malformed"},
		"a key of another kind":  {i.token(pair{"rsa", key.alg, key.private}, nil), "401 no key of the issuer has signed"},
		"a key in the header":    {sign(t, jose.ES256, jose.JSONWebKey{Key: other.private, KeyID: "1"}, i.claims(nil), map[jose.HeaderKey]any{"jku": foreign.url + "/keys"}), "401 no key of the issuer has signed"},
		"a critical extension":   {sign(t, jose.ES256, jose.JSONWebKey{Key: key.private, KeyID: "1"}, i.claims(nil), map[jose.HeaderKey]any{"crit": []string{"x"}, "x": 1}), "401 no key of the issuer has signed"},
		"other claims":           {head + "." + part(i.claims(map[string]any{"project_path": "team/root"})) + "." + signature, "401 no key of the issuer has signed"},
		"no signature":           {good[:strings.LastIndex(good, ".")+1], "401 no key of the issuer has signed"},
		"no kid, several keys":   {i.token(pair{"", key.alg, key.private}, nil), "gitlab:team/app"}, // one for ES256
		"too long":               {i.token(key, map[string]any{"x": strings.Repeat("x", 20_000)}), "401 the token is too long"},
		"claims that are no map": {head + "." + part("x") + "." + signature, "401 this is no token of an issuer"},
		"no token":               {"ci.secret", "unknown"},
		"of a file":              {"eyfoo.bar.SECRET", "unknown"},
		"of JSON":                {"{\"alg\": \"none\"}", "unknown"},
		"encrypted":              {"eyJh.x.x.x.x", "unknown"},
	} {
		for range 2 { // the second time perhaps from memory
			assert.Contains(t, verdict(t, f, c.token), c.want, name)
		}
	}
	assert.Empty(t, foreign.asks(), "a header leads nowhere")
	assert.NotContains(t, log.String(), signature)
}

// A token that is verified is forgotten when it ends.
func TestMemoryEnds(t *testing.T) {
	key := newPair(t, "1")
	i := &issuer{t: t, url: "https://gitlab.test", keys: []any{key}}
	synctest.Test(t, func(t *testing.T) {
		f, _, _ := open(t, i.config(allowApp), &oidc.Options{Client: &http.Client{Transport: direct{i}}, LeewayInterval: -1})
		token := i.token(key, map[string]any{"exp": time.Now().Add(2 * time.Minute).Unix()})
		assert.Equal(t, "gitlab:team/app", verdict(t, f, token))
		time.Sleep(time.Minute)
		assert.Equal(t, "gitlab:team/app", verdict(t, f, token))
		time.Sleep(time.Minute)
		assert.Contains(t, verdict(t, f, token), "401 the token has expired")
	})
}

// direct answers requests without a network.
type direct struct{ http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w.Result(), nil
}

// Keys come and go, with the issuer up or down.
func TestKeysOverTime(t *testing.T) {
	first, second, third := newPair(t, "1"), newPair(t, "2"), newPair(t, "3")
	i := &issuer{t: t, url: "https://gitlab.test", keys: []any{first}, down: true}
	synctest.Test(t, func(t *testing.T) {
		f, _, log := open(t, i.config(allowApp), &oidc.Options{Client: &http.Client{Transport: direct{i}}})
		ask := func(p pair) string { return verdict(t, f, i.token(p, map[string]any{"jti": rand.Text()})) }
		assert.Contains(t, ask(first), "503 the issuer gitlab is unavailable", "down from the start")
		i.set(func() { i.down = false })
		assert.Equal(t, "gitlab:team/app", ask(first))
		i.set(func() { i.keys = []any{first, second} })
		assert.Equal(t, "gitlab:team/app", ask(second), "a new key counts at once")
		i.set(func() { i.keys = []any{second} })
		assert.Equal(t, "gitlab:team/app", ask(first), "an old one as long as the keys are fresh")
		time.Sleep(time.Hour + time.Second)
		assert.Equal(t, "gitlab:team/app", ask(second))
		synctest.Wait() // until the keys have come
		assert.Contains(t, ask(first), "401", "and then no more")

		i.set(func() { i.down = true })
		for range 20 {
			time.Sleep(time.Hour)
			assert.Equal(t, "gitlab:team/app", ask(second), "it is down for a while")
			synctest.Wait()
		}
		i.set(func() { i.keys = []any{second, third} })
		assert.Contains(t, ask(third), "503", "its keys can't be fetched")
		time.Sleep(5 * time.Hour)
		assert.Contains(t, ask(second), "503", "it was down for a day")
		i.set(func() { i.down = false })
		time.Sleep(time.Minute)
		assert.Equal(t, "gitlab:team/app", ask(third))
		assert.Equal(t, "gitlab:team/app", ask(second))
		assert.Contains(t, log.String(), "the keys of an issuer can't be fetched")
	})
}

// Tokens with keys that do not exist ask the issuer a few times only, and keep no other out.
func TestFloodOfKeys(t *testing.T) {
	key := newPair(t, "1")
	i := &issuer{t: t, url: "https://gitlab.test", keys: []any{key}}
	synctest.Test(t, func(t *testing.T) {
		f, _, _ := open(t, i.config(allowApp), &oidc.Options{Client: &http.Client{Transport: direct{i}}})
		for range 300 {
			assert.Regexp(t, "^(401|503) ", verdict(t, f, i.token(pair{rand.Text(), key.alg, key.private}, nil)))
		}
		assert.LessOrEqual(t, i.asks(), 5)
		assert.Equal(t, "gitlab:team/app", verdict(t, f, i.token(key, nil)))
		time.Sleep(time.Minute)
		before := i.asks()
		for range 100 {
			verdict(t, f, i.token(pair{rand.Text(), key.alg, key.private}, nil))
			time.Sleep(time.Second)
		}
		assert.LessOrEqual(t, i.asks()-before, 5+11)
	})
}

// An issuer that answers nonsense gets nothing in, and takes no memory.
func TestBadIssuers(t *testing.T) {
	key := newPair(t, "1")
	weak, _ := rsaPair(t, "weak", 1024)
	many := make([]any, 1001)
	for n := range many {
		many[n] = jose.JSONWebKey{Key: []byte("0123456789abcdef"), KeyID: fmt.Sprint(n)}
	}
	for name, c := range map[string]struct {
		keys   []any
		body   []byte
		says   string
		status string
	}{
		"huge":        {body: append([]byte(`{"keys":[`), bytes.Repeat([]byte(" "), 2<<20)...), says: "more than 1048576 bytes"},
		"no JSON":     {body: []byte("<html>"), says: "is no JSON as expected"},
		"none":        {keys: nil, says: "no public key that signs"},
		"many":        {keys: many, says: "more than 1000 keys"},
		"private":     {keys: []any{jose.JSONWebKey{Key: key.private, KeyID: "1"}}, says: "no public key that signs"},
		"weak":        {keys: []any{weak}, says: "no public key that signs"},
		"for secrets": {keys: []any{jose.JSONWebKey{Key: key.private.(crypto.Signer).Public(), KeyID: "1", Use: "enc"}}, says: "no public key that signs"},
		"odd ones":    {keys: []any{map[string]any{"kty": "new"}, 7, key}, status: "gitlab:team/app"},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, c.keys...)
			i.body = c.body
			f, _, log := open(t, i.config(allowApp), nil)
			got := verdict(t, f, i.token(key, nil))
			if c.status != "" {
				assert.Equal(t, c.status, got)
				return
			}
			assert.Contains(t, got, "503 the issuer gitlab is unavailable")
			assert.NotContains(t, got, i.url, "clients don't learn where")
			assert.Contains(t, log.String(), c.says)
		})
	}
	i := newIssuer(t, key)
	f, _, log := open(t, strings.Replace(i.config(allowApp), i.url, i.url+"/other", 1), nil)
	assert.Contains(t, verdict(t, f, i.token(key, map[string]any{"iss": i.url + "/other"})), "503")
	assert.Contains(t, log.String(), "answered 404")
}

// A bad text leaves the one from before in force, and the log names the line.
func TestReload(t *testing.T) {
	key := newPair(t, "1")
	i := newIssuer(t, key)
	f, name, log := open(t, i.config(allowApp), nil)
	may := func() int {
		who, err := f.Verify(t.Context(), i.token(key, nil))
		require.NoError(t, err)
		return len(who.Grants)
	}
	assert.Equal(t, 1, may())
	for text, says := range map[string]string{
		"": "has become empty", "nonsense\n": "jobs.txt:1: ", i.config("allow * all a=b\n"): "jobs.txt:3: unknown right",
	} {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		require.ErrorContains(t, f.Reload(), says)
		assert.Contains(t, log.String(), says)
		assert.Equal(t, 1, may())
	}
	require.NoError(t, os.WriteFile(name, []byte(i.config("")), 0o600))
	require.NoError(t, f.Reload())
	assert.Equal(t, 0, may(), "also of a token that was verified before")
	assert.Equal(t, 1, i.asks(), "the keys stay known")
	require.NoError(t, os.WriteFile(name, []byte("# nobody\n"), 0o600))
	require.NoError(t, f.Reload())
	assert.Contains(t, verdict(t, f, i.token(key, nil)), "401")
	_, err := oidc.Open(filepath.Join(t.TempDir(), "none"), nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = oidc.Open(name, &oidc.Options{MaxTokenBytes: -1})
	require.ErrorContains(t, err, "must not be negative")
}
