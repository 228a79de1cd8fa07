package athens_test

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

// checksums says what the checksum database knows: sumdb knows|lies M@V, sumdb
// down|empty|refuses; or that its key is known, sumdb key|other-key. With it the
// handler asks one.
func (s *script) checksums(args []string) {
	if strings.HasSuffix(args[0], "key") {
		s.upstream.sums.start()
		s.key = s.upstream.sums.key
		if args[0] == "other-key" {
			s.key = new(realSumDB).start().key
		}
		return
	}
	if s.lookups == nil {
		s.lookups = map[string]string{}
	}
	if len(args) == 1 {
		s.lookups[""] = strings.TrimPrefix(args[0], "empty")
		return
	}
	v := newVersion(s.t, s.version(args[1]))
	sum, modSum := v.Sum, v.GoModSum
	if args[0] == "lies" {
		sum = "h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	}
	s.lookups[v.Path+" "+v.Version.Version] = sum
	s.lookups[v.Path+" "+v.Version.Version+"/go.mod"] = modSum
}

// Lookup is that of athens.Checksums.
func (s *script) Lookup(path, version string) ([]string, error) {
	s.vcs.mu.Lock()
	s.vcs.asked = append(s.vcs.asked, "sumdb.lookup")
	s.vcs.mu.Unlock()
	s.upstream.mu.Lock()
	s.upstream.heard = append(s.upstream.heard, path) // it is as public
	s.upstream.mu.Unlock()
	if s.lookups[""] == "down" {
		return nil, &athens.UnavailableError{Source: "sum.test", Err: errors.New("connection refused")}
	}
	if s.lookups[""] == "refuses" {
		return nil, &athens.BlockedError{Path: path, Version: version, Reason: "not for you"}
	}
	sum, ok := s.lookups[path+" "+version]
	if !ok {
		return nil, &athens.MissingError{Path: path, Query: version, Err: errors.New("404 Not Found")}
	}
	m := module.Version{Path: path, Version: version}
	return []string{m.Path + " " + m.Version + " " + sum}, nil
}

// keyed is a checksum database whose key is known.
type keyed struct {
	athens.Checksums
	key string
}

func (k keyed) VerifierKey() string { return k.key }

// realSumDB is a checksum database, sum.test, that has a record of whatever is
// asked for but none.test/….
type realSumDB struct {
	once   sync.Once
	server *sumdb.TestServer
	forked *sumdb.TestServer // signs with the same key, and knows other hashes
	key    string
}

func (d *realSumDB) start() *realSumDB {
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

// answer answers a request as it stands behind sumdb/NAME/.
func (d *realSumDB) answer(path, how string) ([]byte, error) {
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

// fakeSumDB is a fakeUpstream that passes on to that checksum database; beside
// what others do it fails as "garbage", "forged", "fork" and "tileless".
type fakeSumDB struct{ *fakeUpstream }

func (u fakeSumDB) SumDB(ctx context.Context, protocolPath string) ([]byte, error) {
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
