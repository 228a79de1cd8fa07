package athens_test

import (
	"context"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/storage"
)

// warm returns the handler of a store on disk that holds example, and a file server on the
// same tree, with which answers from the store are compared.
func warm(b *testing.B) map[string]http.Handler {
	dir := b.TempDir()
	store, err := storage.NewDisk(dir, nil)
	require.NoError(b, err)
	athenstest.Hold(b, store, athenstest.NewVersion(b, athenstest.Example, "big.txt", strings.Repeat("many lines of source\n", 50_000)), true)
	age(b, dir)
	h, err := athens.NewHandler(store, nil)
	require.NoError(b, err)
	return map[string]http.Handler{"handler": h, "fileserver": http.FileServer(http.Dir(dir))}
}

// age makes the files below dir as old as those of a store in use.
func age(b *testing.B, dir string) {
	old := time.Now().Add(-time.Hour)
	require.NoError(b, filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return os.Chtimes(name, old, old)
	}))
}

// BenchmarkWarm measures an answer from the store without the network.
func BenchmarkWarm(b *testing.B) {
	handlers := warm(b)
	for _, p := range []string{athenstest.InfoPath, athenstest.ModPath, athenstest.ZipPath} {
		for _, name := range []string{"handler", "fileserver"} {
			b.Run(p[strings.LastIndexByte(p, '.')+1:]+"/"+name, func(b *testing.B) {
				w := &nowhere{header: http.Header{}}
				r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, p, nil)
				b.ReportAllocs()
				for b.Loop() {
					clear(w.header)
					handlers[name].ServeHTTP(w, r)
				}
				require.Equal(b, http.StatusOK, w.status)
			})
		}
	}
}

// nowhere is a ResponseWriter that accepts a file as net/http does, and discards it.
type nowhere struct {
	header http.Header
	status int
}

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) WriteHeader(status int)      { w.status = status }
func (w *nowhere) Write(p []byte) (int, error) { w.status = 200; return len(p), nil }
func (w *nowhere) ReadFrom(r io.Reader) (n int64, err error) {
	w.status = 200
	return io.Copy(io.Discard, r)
}

// BenchmarkWarmServer measures an answer as a client on the same machine gets it.
func BenchmarkWarmServer(b *testing.B) {
	handlers := warm(b)
	for _, p := range []string{athenstest.InfoPath, athenstest.ModPath, athenstest.ZipPath} {
		for _, name := range []string{"handler", "fileserver"} {
			b.Run(p[strings.LastIndexByte(p, '.')+1:]+"/"+name, func(b *testing.B) {
				server := httptest.NewServer(handlers[name])
				defer server.Close()
				b.ReportAllocs()
				for b.Loop() {
					resp, err := server.Client().Get(server.URL + p)
					require.NoError(b, err)
					n, err := io.Copy(io.Discard, resp.Body)
					require.NoError(b, err)
					require.NoError(b, resp.Body.Close())
					b.SetBytes(n)
				}
			})
		}
	}
}

// BenchmarkColdCrowd measures 100 clients that request a version at once that is not held.
func BenchmarkColdCrowd(b *testing.B) {
	src := athenstest.NewSource(b, "vcs")
	src.Add(athenstest.Example)
	b.ReportAllocs()
	for b.Loop() {
		h, err := athens.NewHandler(athenstest.NewStore(b), &athens.Options{Fetcher: src})
		require.NoError(b, err)
		open := src.Gate("fetch")
		var clients sync.WaitGroup
		for range 100 {
			clients.Go(func() {
				w := &nowhere{header: http.Header{}}
				h.ServeHTTP(w, httptest.NewRequestWithContext(b.Context(), http.MethodGet, athenstest.ZipPath, nil))
				if w.status != http.StatusOK {
					b.Error(w.status)
				}
			})
		}
		open()
		clients.Wait()
		require.NoError(b, h.Shutdown(context.Background()))
		src.Take()
	}
}
