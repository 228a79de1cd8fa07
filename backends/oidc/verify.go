package oidc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve/auth"
)

const (
	// verifiedTTL is how long a verified token is remembered at most.
	verifiedTTL = 5 * time.Minute
	// maxName bounds the name of a job, in bytes.
	maxName = 200
)

// nameClaims name a job if the file does not say which claim does.
func nameClaims() []string { return []string{"repository", "project_path", "sub"} }

// algorithms are those with public keys. With others, whoever reads the keys could sign.
func algorithms() []string {
	return []string{
		oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512,
		oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
	}
}

// Verify returns who presents a token of one of the issuers, and what it may do. It is for
// [auth.Options].Verify. It knows nothing (nil, nil) about a secret that is no such token. A
// token that is wrong, expired or not for this server is an [*athens.RefusedError] of Status 401; one
// that can't be verified, because its issuer is down, is an [*athens.UnavailableError]. A
// token that no line of the file matches is of somebody who may do nothing.
func (f *File) Verify(ctx context.Context, secret string) (*auth.Identity, error) {
	if !looksSigned(secret) {
		return nil, nil
	}
	if int64(len(secret)) > f.opts.MaxTokenBytes {
		return nil, refused("the token is too long")
	}
	now, sum := f.now.Load(), sha256.Sum256([]byte(secret))
	if who, ok := now.verified.Get(sum); ok {
		return who, nil
	}
	url, ok := issuerOf(secret)
	if !ok {
		return nil, refused("this is no token of an issuer")
	}
	from := now.issuers[url]
	if from == nil {
		return nil, refused("tokens of this issuer are not accepted here")
	}
	keys := &signer{set: now.keys[url]}
	verifier := oidc.NewVerifier(url, keys, &oidc.Config{SupportedSigningAlgs: algorithms(), SkipClientIDCheck: true, SkipExpiryCheck: true})
	token, err := verifier.Verify(ctx, secret)
	if keys.err != nil {
		return nil, keys.err
	}
	if err != nil {
		return nil, refused("the token is malformed, or signed in a way that is not accepted")
	}
	claims := make(map[string]any)
	if err := token.Claims(&claims); err != nil {
		return nil, refused("the claims of the token can't be read")
	}
	left, err := f.inTime(token, claims)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(token.Audience, func(aud string) bool { return slices.Contains(from.audiences, aud) }) {
		return nil, refused("the token is for another audience than this server")
	}
	who := from.identity(claims)
	now.verified.PutFor(sum, who, min(left, verifiedTTL))
	return who, nil
}

// refused is the answer to a wrong token.
func refused(reason string) error {
	return &athens.RefusedError{Status: http.StatusUnauthorized, Reason: reason}
}

// looksSigned reports whether a secret is a signed token by its looks: three parts, of which
// the first is a JSON object (that begins with {").
func looksSigned(secret string) bool {
	return strings.HasPrefix(secret, "eyJ") && strings.Count(secret, ".") == 2
}

// issuerOf returns whom a token claims to be of. Nothing has verified that.
func issuerOf(token string) (url string, ok bool) {
	_, rest, _ := strings.Cut(token, ".")
	middle, _, _ := strings.Cut(rest, ".")
	payload, err := base64.RawURLEncoding.DecodeString(middle)
	var claims struct {
		Issuer string `json:"iss"`
	}
	return claims.Issuer, err == nil && json.Unmarshal(payload, &claims) == nil && claims.Issuer != ""
}

// inTime returns how long a token is still good for.
func (f *File) inTime(token *oidc.IDToken, claims map[string]any) (left time.Duration, err error) {
	now := time.Now()
	if left = token.Expiry.Add(f.opts.LeewayInterval).Sub(now); left <= 0 {
		return 0, refused("the token has expired")
	}
	begin := token.IssuedAt
	if nbf, ok := claims["nbf"].(float64); ok {
		if at := time.Unix(int64(min(nbf, 1<<40)), 0); at.After(begin) {
			begin = at
		}
	}
	if begin.After(now.Add(f.opts.LeewayInterval)) {
		return 0, refused("the token is not valid yet: compare the clocks of the issuer and this server")
	}
	return left, nil
}

// signer verifies a signature with the keys of an issuer. It is for one token, whose error it
// keeps: go-oidc makes a text of it.
type signer struct {
	set *keySet
	err error
}

// VerifySignature returns the payload of a token, if a key of the issuer has signed it.
func (s *signer) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	var accepted []jose.SignatureAlgorithm
	for _, alg := range algorithms() {
		accepted = append(accepted, jose.SignatureAlgorithm(alg))
	}
	signed, err := jose.ParseSignedCompact(token, accepted)
	if err != nil {
		return nil, err
	}
	header := signed.Signatures[0].Header
	var keys []jose.JSONWebKey
	if keys, s.err = s.set.find(ctx, header.KeyID, header.Algorithm); s.err != nil {
		return nil, s.err
	}
	for i := range keys {
		if payload, err := signed.Verify(&keys[i]); err == nil {
			return payload, nil
		}
	}
	s.err = refused("no key of the issuer has signed the token")
	return nil, s.err
}

// identity returns who has certain claims.
func (i *issuer) identity(claims map[string]any) *auth.Identity {
	who := &auth.Identity{Name: i.label + ":" + i.nameOf(claims)}
	for _, line := range i.allow {
		if line.matches(claims) {
			who.Grants = append(who.Grants, line.grant)
		}
	}
	return who
}

// nameOf returns a job's name, for the log.
func (i *issuer) nameOf(claims map[string]any) string {
	candidates := nameClaims()
	if i.claim != "" {
		candidates = []string{i.claim}
	}
	for _, c := range candidates {
		if values := valuesOf(claims[c]); len(values) > 0 && values[0] != "" {
			name := strings.Map(func(r rune) rune {
				if unicode.IsPrint(r) {
					return r
				}
				return '?'
			}, values[0])
			return strings.ToValidUTF8(name[:min(len(name), maxName)], "")
		}
	}
	return "unknown"
}

// matches reports whether a token has all claims that the line wants.
func (a *allow) matches(claims map[string]any) bool {
	for _, want := range a.claims {
		if !slices.ContainsFunc(valuesOf(claims[want.name]), want.value.MatchString) {
			return false
		}
	}
	return true
}

// valuesOf returns the values of a claim as texts; none of one that is absent or an object.
func valuesOf(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case bool, float64:
		text, err := json.Marshal(v)
		if err != nil {
			return nil
		}
		return []string{string(bytes.TrimSpace(text))}
	case []any:
		var all []string
		for _, item := range v {
			if text, ok := item.(string); ok {
				all = append(all, text)
			}
		}
		return all
	}
	return nil
}

var _ oidc.KeySet = (*signer)(nil)
