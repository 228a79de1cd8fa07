package oidc_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/backends/oidc"
)

const audience = "https://go.corp.test"

// pair is a key of an issuer.
type pair struct {
	id      string
	alg     jose.SignatureAlgorithm
	private any
}

func newPair(t testing.TB, id string) pair {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return pair{id, jose.ES256, key}
}

// issuer is a server that publishes keys, and signs tokens.
type issuer struct {
	t   testing.TB
	url string

	mu    sync.Mutex
	keys  []any // published: a pair, or anything that is written as it is
	down  bool
	asked int    // for keys
	body  []byte // in place of the keys
}

// newIssuer starts a real one.
func newIssuer(t testing.TB, keys ...any) *issuer {
	i := &issuer{t: t, keys: keys}
	server := httptest.NewServer(i)
	t.Cleanup(server.Close)
	i.url = server.URL
	return i
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.down:
		http.Error(w, "down", http.StatusBadGateway)
	case r.URL.Path == "/.well-known/openid-configuration":
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": i.url, "jwks_uri": i.url + "/keys"})
	case r.URL.Path == "/keys":
		i.asked++
		if i.body != nil {
			_, _ = w.Write(i.body)
			return
		}
		all := []any{}
		for _, key := range i.keys {
			if p, ok := key.(pair); ok {
				key = jose.JSONWebKey{Key: p.private.(crypto.Signer).Public(), KeyID: p.id, Use: "sig"}
			}
			all = append(all, key)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": all})
	default:
		http.NotFound(w, r)
	}
}

// set changes the issuer.
func (i *issuer) set(change func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change()
}

// asks returns how often keys were fetched.
func (i *issuer) asks() (n int) {
	i.set(func() { n = i.asked })
	return n
}

// claims are those of a job of team/app, with others in place of or beside them; nil takes one out.
func (i *issuer) claims(others map[string]any) map[string]any {
	all := map[string]any{
		"iss": i.url, "aud": audience, "sub": "project_path:team/app:ref_type:branch:ref:main",
		"project_path": "team/app", "ref": "main",
		"iat": time.Now().Unix(), "exp": time.Now().Add(5 * time.Minute).Unix(),
	}
	for name, value := range others {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	return all
}

// token returns what the issuer gives a job.
func (i *issuer) token(p pair, others map[string]any) string {
	return sign(i.t, p.alg, jose.JSONWebKey{Key: p.private, KeyID: p.id}, i.claims(others), nil)
}

func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, claims map[string]any, header map[jose.HeaderKey]any) string {
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	o := (&jose.SignerOptions{}).WithType("JWT")
	o.ExtraHeaders = maps.Clone(o.ExtraHeaders)
	maps.Copy(o.ExtraHeaders, header)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, o)
	require.NoError(t, err)
	signed, err := signer.Sign(payload)
	require.NoError(t, err)
	text, err := signed.CompactSerialize()
	require.NoError(t, err)
	return text
}

// config is a file about the issuer.
func (i *issuer) config(lines string) string {
	return fmt.Sprintf("issuer %s gitlab\naudience %s\n%s", i.url, audience, lines)
}

const allowApp = "allow corp.test read project_path=team/**\n"

// open opens a file with that text, and returns what it logs.
func open(t testing.TB, text string, o *oidc.Options) (f *oidc.File, name string, log *bytes.Buffer) {
	name, log = filepath.Join(t.TempDir(), "jobs.txt"), new(bytes.Buffer)
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	if o == nil {
		o = &oidc.Options{}
	}
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	f, err := oidc.Open(name, o)
	require.NoError(t, err)
	return f, name, log
}
