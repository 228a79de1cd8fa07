package ledger

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// NewKey makes the private key of a ledger of that name. The name is what clients
// have in GOSUMDB: a host name of the operator's, which need not exist, such as
// sum.example.com.
func NewKey(name string) (string, error) {
	key, _, err := note.GenerateKey(rand.Reader, name)
	if err == nil {
		_, err = note.NewSigner(key)
	}
	if err != nil {
		return "", fmt.Errorf("ledger: %q can't be the name of a ledger: give a host name, such as sum.example.com", name)
	}
	return key, nil
}

// PublicKey returns the public key that belongs to a private one, NAME+HASH+KEY, as
// clients have it in GOSUMDB.
func PublicKey(key string) (string, error) {
	signer, err := note.NewSigner(key)
	parts := strings.SplitN(key, "+", 5)
	if err != nil || len(parts) < 5 {
		return "", errors.New("ledger: malformed private key: give PRIVATE+KEY+NAME+HASH+KEY, as the first start has written it")
	}
	raw, err := base64.StdEncoding.DecodeString(parts[4])
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return "", errors.New("ledger: malformed private key: its last part is no Ed25519 key")
	}
	public := ed25519.NewKeyFromSeed(raw[1:]).Public().(ed25519.PublicKey)
	return note.NewEd25519VerifierKey(signer.Name(), public)
}

// keys sets who signs, and whose signatures count.
func (l *Ledger) keys(key, old string) error {
	var known []note.Verifier
	for i, key := range []string{key, old} {
		if i > 0 && key == "" {
			continue
		}
		public, err := PublicKey(key)
		if err != nil {
			return err
		}
		signer, err := note.NewSigner(key)
		if err != nil {
			return err
		}
		verifier, err := note.NewVerifier(public)
		if err != nil {
			return err
		}
		if i == 0 {
			l.key = public
		} else if signer.Name() != l.signers[0].Name() || signer.KeyHash() == l.signers[0].KeyHash() {
			return fmt.Errorf("ledger: OldKey is of %s; give another key of %s", signer.Name(), l.signers[0].Name())
		}
		l.signers = append(l.signers, signer)
		known = append(known, verifier)
	}
	l.known = note.VerifierList(known...)
	return nil
}
