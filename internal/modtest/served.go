package modtest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// maxServed bounds an answer that is kept, and maxAllServed all of them, in bytes.
const (
	maxServed    = 1 << 20
	maxAllServed = 64 << 20
)

// served keeps what git has answered, by the request and all that is in the
// repository: the same question about the same repository, asked by another client or
// of a copy, then starts no processes. What is in front of it, such as a [Tap], sees
// every request.
var served struct {
	sync.Mutex
	size    int
	answers map[[sha256.Size]byte]answer
}

type answer struct {
	header http.Header
	body   []byte
}

// serveOnce answers a request from what git has answered before, or lets it answer.
// The key is made before it answers, and again afterwards: what was asked in the midst
// of a change is not kept.
func serveOnce(w http.ResponseWriter, r *http.Request, dir string, body []byte, git http.Handler) {
	key, err := servedKey(dir, r, body)
	if err != nil {
		git.ServeHTTP(w, r)
		return
	}
	served.Lock()
	known, ok := served.answers[key]
	served.Unlock()
	if ok {
		for name, values := range known.header {
			w.Header()[name] = values
		}
		_, _ = w.Write(known.body) // the client may be gone
		return
	}
	rec := &copying{ResponseWriter: w}
	git.ServeHTTP(rec, r)
	if again, err := servedKey(dir, r, body); err != nil || again != key || rec.spoiled || r.Context().Err() != nil {
		return
	}
	served.Lock()
	defer served.Unlock()
	if served.size += rec.body.Len(); served.size > maxAllServed {
		served.size, served.answers = rec.body.Len(), nil
	}
	if served.answers == nil {
		served.answers = map[[sha256.Size]byte]answer{}
	}
	served.answers[key] = answer{rec.header, rec.body.Bytes()}
}

// servedKey names a request of a repository as it is now: the names and sizes of its
// objects, and the content of all other files.
func servedKey(dir string, r *http.Request, body []byte) (key [sha256.Size]byte, err error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s %q %q %q\n", r.Method, r.URL.String(), body, r.Header)
	err = filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		if strings.HasPrefix(filepath.ToSlash(name), "objects/") {
			info, err := d.Info()
			if err == nil {
				fmt.Fprintf(h, "%q %d\n", name, info.Size())
			}
			return err
		}
		content, err := os.ReadFile(file)
		fmt.Fprintf(h, "%q %q\n", name, content)
		return err
	})
	h.Sum(key[:0])
	return key, err
}

// copying passes an answer on and keeps a copy.
type copying struct {
	http.ResponseWriter
	header  http.Header
	body    bytes.Buffer
	spoiled bool // it can't be kept
}

func (r *copying) WriteHeader(status int) {
	r.header = r.Header().Clone()
	r.spoiled = r.spoiled || status != http.StatusOK
	r.ResponseWriter.WriteHeader(status)
}

func (r *copying) Write(b []byte) (int, error) {
	n, err := r.ResponseWriter.Write(b)
	if r.spoiled = r.spoiled || err != nil || r.body.Len()+n > maxServed; !r.spoiled {
		r.body.Write(b[:n])
	}
	return n, err
}

// Unwrap serves [http.NewResponseController].
func (r *copying) Unwrap() http.ResponseWriter { return r.ResponseWriter }
