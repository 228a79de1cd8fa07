package protocoltest_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/spf13/afero"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/storage"
)

// rottenFs is a disk that can't read some files from a byte on.
type rottenFs struct {
	afero.Fs
	ext  atomic.Value // of those files
	from int64
}

func (r *rottenFs) Open(name string) (afero.File, error) {
	f, err := r.Fs.Open(name)
	if err != nil || filepath.Ext(name) != r.ext.Load() {
		return f, err
	}
	return &rottenFile{f, r.from}, nil
}

// Rename of such a file is its quarantine: what comes in its place lies elsewhere on
// the disk.
func (r *rottenFs) Rename(from, to string) error {
	if strings.Contains(to, "/quarantine/") {
		r.ext.Store("none")
	}
	return r.Fs.Rename(from, to)
}

type rottenFile struct {
	afero.File
	from int64
}

func (f *rottenFile) Read(p []byte) (int, error) {
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil || at >= f.from {
		return 0, &athenstest.SyscallError{Err: syscall.EIO}
	}
	return f.File.Read(p[:min(int64(len(p)), f.from-at)])
}

func (f *rottenFile) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.from {
		return 0, &athenstest.SyscallError{Err: syscall.EIO}
	}
	return f.File.ReadAt(p, off)
}

// TestUnreadableFile has a disk that loses a file of a version that is held. The
// client is told so, and never has a part of it as if it were whole; then the file
// is in quarantine, and comes from its source again.
func TestUnreadableFile(t *testing.T) {
	for name, from := range map[string]int64{"all of it": 0, "its end": 100} {
		for _, ext := range []string{".info", ".mod", ".zip"} {
			t.Run(ext+" "+name, func(t *testing.T) {
				disk := &rottenFs{Fs: afero.NewMemMapFs(), from: from}
				disk.ext.Store("none")
				store, err := storage.New(disk, "/", nil)
				require.NoError(t, err)
				source := athenstest.NewSource(t, "vcs")
				m := module.Version{Path: "example.com/m", Version: "v1.0.0"}
				v := source.Add(m, "go.mod", "module example.com/m\n// "+strings.Repeat("long ", 40)+"\n")
				h, err := athens.NewHandler(store, &athens.Options{Fetcher: source})
				require.NoError(t, err)
				server := httptest.NewServer(h)
				defer server.Close()
				target := server.URL + "/example.com/m/@v/v1.0.0"
				for _, ext := range []string{".info", ".mod", ".zip"} {
					status, body := modtest.Get(t, target+ext)
					require.Equal(t, http.StatusOK, status, body)
				}
				disk.ext.Store(ext)
				// On a connection of its own, for else the client would ask again.
				once := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
				resp, err := once.Get(target + ext)
				if err == nil {
					var body []byte
					body, err = io.ReadAll(resp.Body)
					require.NoError(t, resp.Body.Close())
					if err == nil {
						assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, "%s", body)
						assert.NotEmpty(t, resp.Header.Get("Retry-After"))
						assert.Empty(t, resp.Header.Get("Etag"))
					} else {
						assert.NotZero(t, from, "nothing was sent, so that a status could be")
					}
				}
				modtest.Eventually(t, "the file is found damaged", func() bool { return h.Stats().Damaged > 0 })
				for ext, want := range map[string][]byte{".mod": v.Mod, ".zip": v.Zip} {
					// What was under way meanwhile may have met the damage, too:
					// then it is asked for again, as Retry-After says.
					modtest.Eventually(t, ext+" comes from its source", func() bool {
						status, body := modtest.Get(t, target+ext)
						require.Contains(t, []int{http.StatusOK, http.StatusServiceUnavailable}, status, body)
						return status == http.StatusOK && string(want) == body
					})
				}
				require.NoError(t, h.Shutdown(context.Background()))
				for c, err := range store.Verify(t.Context(), nil) {
					require.NoError(t, err)
					assert.Empty(t, c.Problems)
				}
			})
		}
	}
}

// A zip that has been cut is not served as if it were whole.
func TestCutZip(t *testing.T) {
	fs := afero.NewMemMapFs()
	source := athenstest.NewSource(t, "vcs")
	m := module.Version{Path: "example.com/m", Version: "v1.0.0"}
	v := source.Add(m)
	for _, size := range []int{len(v.Zip), len(v.Zip) - 1, 1} {
		store, err := storage.New(fs, "/", nil)
		require.NoError(t, err)
		h, err := athens.NewHandler(store, &athens.Options{Fetcher: source})
		require.NoError(t, err)
		server := httptest.NewServer(h)
		target := server.URL + "/example.com/m/@v/v1.0.0.zip"
		if size < len(v.Zip) {
			require.NoError(t, afero.WriteFile(fs, "/example.com/m/@v/v1.0.0.zip", v.Zip[:size], 0o644))
			status, _ := modtest.Get(t, target)
			assert.Equal(t, http.StatusServiceUnavailable, status)
			modtest.Eventually(t, "the file is found damaged", func() bool { return h.Stats().Damaged > 0 })
		}
		status, body := modtest.Get(t, target)
		assert.Equal(t, http.StatusOK, status)
		assert.True(t, string(v.Zip) == body)
		server.Close()
		require.NoError(t, h.Shutdown(context.Background()))
	}
}
