package sumlog

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// MaxHead is the size in bytes of the largest head that is read.
const MaxHead = 16 << 10

// Keys says who signs heads, and whose signatures count.
type Keys struct {
	Public  string         // of the ledger, NAME+HASH+KEY
	Signers []note.Signer  // the first is the ledger's own; none where another server signs
	Known   note.Verifiers // of the signers, or of the server that signs
}

// PublicKeys reads the public key of a ledger that another server signs.
func PublicKeys(key string) (*Keys, error) {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return nil, fmt.Errorf("ledger: malformed public key %.120q: give NAME+HASH+KEY, as clients have it in GOSUMDB", key)
	}
	return &Keys{Public: key, Known: note.VerifierList(verifier)}, nil
}

// NewKeys reads the private key of a ledger, and the one before it, which may be empty.
func NewKeys(key, old string) (*Keys, error) {
	var known []note.Verifier
	k := &Keys{}
	for i, key := range []string{key, old} {
		if i > 0 && key == "" {
			continue
		}
		public, err := PublicKey(key)
		if err != nil {
			return nil, err
		}
		signer, err := note.NewSigner(key)
		if err != nil {
			return nil, err
		}
		verifier, err := note.NewVerifier(public)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			k.Public = public
		} else if signer.Name() != k.Signers[0].Name() || signer.KeyHash() == k.Signers[0].KeyHash() {
			return nil, fmt.Errorf("ledger: OldKey is of %s; give another key of %s", signer.Name(), k.Signers[0].Name())
		}
		k.Signers = append(k.Signers, signer)
		known = append(known, verifier)
	}
	k.Known = note.VerifierList(known...)
	return k, nil
}

// Name returns the ledger's name.
func (k *Keys) Name() string { return k.Signers[0].Name() }

// Sign signs a tree. The same tree has the same signature each time.
func (k *Keys) Sign(n int64, hash tlog.Hash) ([]byte, error) {
	text := tlog.FormatTree(tlog.Tree{N: n, Hash: hash})
	return note.Sign(&note.Note{Text: string(text)}, k.Signers...)
}

// ParseHead reads a signed tree. One of the keys that are known must have signed it.
func ParseHead(data []byte, known note.Verifiers) (tlog.Tree, error) {
	if len(data) > MaxHead {
		return tlog.Tree{}, fmt.Errorf("it has %d bytes, more than %d", len(data), MaxHead)
	}
	n, err := note.Open(data, known)
	if err != nil {
		if _, ok := errors.AsType[*note.UnverifiedNoteError](err); ok {
			return tlog.Tree{}, errors.New("it is not signed by this ledger's key: start with the key that signed it, or give that key as the old key")
		}
		return tlog.Tree{}, err
	}
	t, err := tlog.ParseTree([]byte(n.Text))
	if err == nil && (t.N < 0 || t.N >= MaxRecords) {
		err = fmt.Errorf("a tree of %d records is too large", t.N)
	}
	return t, err
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
		return "", errors.New("ledger: malformed private key: its last part is not an Ed25519 key")
	}
	public := ed25519.NewKeyFromSeed(raw[1:]).Public().(ed25519.PublicKey)
	return note.NewEd25519VerifierKey(signer.Name(), public)
}
