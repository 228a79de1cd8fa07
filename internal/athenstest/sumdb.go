package athenstest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"

	"github.com/athens-go/athens"
)

// KeyedChecksums is a checksum database whose key is known.
type KeyedChecksums struct {
	athens.Checksums
	Key string
}

// VerifierKey returns Key.
func (k KeyedChecksums) VerifierKey() string { return k.Key }

// sumDB is a checksum database, sum.test, that has a record of every module except those
// below none.test.
type sumDB struct {
	once   sync.Once
	server *sumdb.TestServer
	forked *sumdb.TestServer // signs with the same key, and knows other hashes
	key    string
}

func (d *sumDB) start() *sumDB {
	d.once.Do(func() {
		signer, key, err := note.GenerateKey(rand.Reader, "sum.test")
		if err != nil {
			panic(err)
		}
		serve := func(sum string) *sumdb.TestServer {
			return sumdb.NewTestServer(signer, func(path, version string) ([]byte, error) {
				if strings.HasPrefix(path, "none.test/") {
					return nil, fs.ErrNotExist
				}
				return fmt.Appendf(nil, "%s %s h1:%s=\n%s %s/go.mod h1:%s=\n", path, version, sum, path, version, sum), nil
			})
		}
		d.key, d.server, d.forked = key, serve(strings.Repeat("A", 43)), serve(strings.Repeat("B", 43))
	})
	return d
}

// SumDBKey returns the verifier key of the checksum database that the source passes on to.
func (f *Source) SumDBKey() string { return f.sums.start().key }

// answer answers a request as it stands behind sumdb/NAME/.
func (d *sumDB) answer(path, how string) ([]byte, error) {
	d.start()
	server := d.server
	if how == "fork" {
		server = d.forked
	}
	rec := httptest.NewRecorder()
	func() {
		defer func() {
			if recover() != nil { // it has no such tile
				rec.Code = http.StatusNotFound
			}
		}()
		sumdb.NewServer(server).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/"+path, nil))
	}()
	if rec.Code != http.StatusOK {
		return nil, &athens.MissingError{Path: path, Err: errors.New("404 Not Found")}
	}
	return rec.Body.Bytes(), nil
}

// SumDBUpstream is an [Upstream] that proxies that checksum database. It can also fail as
// "garbage", "forged", "fork" and "tileless".
type SumDBUpstream struct{ *Upstream }

// SumDB answers from the checksum database, or fails as "sumdb".
func (u SumDBUpstream) SumDB(ctx context.Context, protocolPath string) ([]byte, error) {
	how, err := u.question(ctx, "sumdb", module.Version{Path: protocolPath})
	_, path, _ := strings.Cut(strings.TrimPrefix(protocolPath, "sumdb/"), "/")
	switch {
	case err != nil || path == "supported":
		return nil, err
	case how == "garbage":
		return []byte("<html>please log in</html>"), nil
	case how == "tileless" && strings.HasPrefix(path, "tile/"):
		return nil, &athens.MissingError{Path: path}
	}
	body, err := u.sums.answer(path, how)
	if how == "forged" {
		body = []byte(strings.Replace(string(body), "h1:A", "h1:B", 1))
	}
	return body, err
}
