package ledger

import (
	"crypto/rand"
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"github.com/athens-go/athens/internal/sumlog"
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
func PublicKey(key string) (string, error) { return sumlog.PublicKey(key) }
