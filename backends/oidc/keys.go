package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/flight"
	"github.com/athens-go/athens/internal/limit"
)

const (
	burst        = 5                // how often an issuer is asked at once
	askInterval  = 10 * time.Second // and how often after that
	fetchTimeout = 10 * time.Second
	freshTTL     = time.Hour      // after which keys are fetched anew
	staleTTL     = 24 * time.Hour // after which they count no more
	warnInterval = time.Minute
	maxBody      = 1 << 20 // bytes of what an issuer answers
	maxKeys      = 1000
	minRSABits   = 2048
)

// newClient returns the client that fetches keys if there is no other.
func newClient() *http.Client {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10, IdleConnTimeout: time.Minute}
	return &http.Client{Transport: transport, Timeout: fetchTimeout, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > 5 || !secure(r.URL) {
			return errors.New("a redirect that is not followed")
		}
		return nil
	}}
}

// keySet is the keys of an issuer.
type keySet struct {
	issuer, name string
	client       *http.Client
	log          *slog.Logger

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetched time.Time // the keys; zero: never
	spare   float64   // how often the issuer may be asked, at a time
	at      time.Time
	warned  time.Time
	asking  *flight.Future[struct{}] // nil: nobody asks
}

// find returns the keys that may have signed a token. None without an error says that the
// issuer has no such key.
func (k *keySet) find(ctx context.Context, kid, alg string) ([]jose.JSONWebKey, error) {
	now := time.Now()
	k.mu.Lock()
	age := now.Sub(k.fetched)
	found := k.match(kid, alg)
	if k.fetched.IsZero() || age > staleTTL {
		found = nil
	}
	if len(found) > 0 && age <= freshTTL {
		k.mu.Unlock()
		return found, nil
	}
	asking, wait := k.ask(now)
	k.mu.Unlock()
	if len(found) > 0 {
		return found, nil // those that are being fetched are for later tokens
	}
	if asking != nil { // otherwise it was asked a moment ago
		if _, err := asking.Wait(ctx); err == nil {
			k.mu.Lock()
			defer k.mu.Unlock()
			return k.match(kid, alg), nil
		}
	}
	return nil, &athens.UnavailableError{Source: "the issuer " + k.name, RetryAfter: max(wait, time.Second), Err: errors.New("its keys can't be fetched now, and none that is known has signed this token")}
}

// ask begins to fetch the keys, unless that is under way. If the issuer may not be asked yet,
// the future is nil; wait is until then. The caller holds the lock.
func (k *keySet) ask(now time.Time) (asking *flight.Future[struct{}], wait time.Duration) {
	if k.asking != nil {
		return k.asking, 0
	}
	k.spare = min(k.spare+now.Sub(k.at).Seconds()/askInterval.Seconds(), burst)
	k.at = now
	if k.spare < 1 {
		return nil, time.Duration((1 - k.spare) * float64(askInterval))
	}
	k.spare--
	k.asking = flight.Start(func() (struct{}, error) {
		ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
		defer cancel()
		keys, err := k.fetch(ctx)
		k.mu.Lock()
		defer k.mu.Unlock()
		k.asking = nil
		if err == nil {
			k.keys, k.fetched = keys, time.Now()
		} else if time.Since(k.warned) >= warnInterval {
			k.warned = time.Now()
			k.log.Warn("the keys of an issuer can't be fetched", "issuer", k.issuer, "error", err)
		}
		return struct{}{}, err
	})
	return k.asking, askInterval
}

// match returns the known keys that may have signed a token: of a token that names none, the
// only one. The caller holds the lock.
func (k *keySet) match(kid, alg string) []jose.JSONWebKey {
	var found []jose.JSONWebKey
	for _, key := range k.keys {
		if (kid == "" || key.KeyID == kid) && (key.Algorithm == "" || key.Algorithm == alg) && fits(key.Key, alg) {
			found = append(found, key)
		}
	}
	if kid == "" && len(found) > 1 {
		return nil
	}
	return found[:min(len(found), 4)]
}

// fits reports whether a key can sign by an algorithm.
func fits(key any, alg string) bool {
	switch key.(type) {
	case *rsa.PublicKey:
		return alg[0] == 'R' || alg[0] == 'P'
	case *ecdsa.PublicKey:
		return strings.HasPrefix(alg, "ES")
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}

// fetch asks the issuer for its keys.
func (k *keySet) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	var about struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := k.get(ctx, strings.TrimSuffix(k.issuer, "/")+"/.well-known/openid-configuration", &about); err != nil {
		return nil, err
	}
	if about.Issuer != k.issuer {
		return nil, fmt.Errorf("its discovery document is of %q", about.Issuer)
	}
	u, err := url.Parse(about.Keys)
	if err != nil || u.Host == "" || !secure(u) {
		return nil, fmt.Errorf("its jwks_uri is %q, not https", about.Keys)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := k.get(ctx, about.Keys, &set); err != nil {
		return nil, err
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("it has more than %d keys", maxKeys)
	}
	var keys []jose.JSONWebKey
	for _, text := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(text, &key) == nil && usable(&key) { // others are not for tokens
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("it has no public key that signs tokens")
	}
	return keys, nil
}

// usable reports whether a key is public, signs, and is long enough.
func usable(key *jose.JSONWebKey) bool {
	if key.Use != "" && key.Use != "sig" || !key.Valid() {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return public.N.BitLen() >= minRSABits && public.N.BitLen() <= 8*minRSABits
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}

// get reads the JSON at a URL.
func (k *keySet) get(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := k.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %d", url, resp.StatusCode)
	}
	body, err := limit.ReadAll(resp.Body, maxBody)
	if err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s is no JSON as expected", url)
	}
	return nil
}
