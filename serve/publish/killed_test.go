package publish_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/afero"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/serve/publish"
	"github.com/athens-go/athens/storage"
)

// mortalFs is the disk of a process that dies: from one change on nothing happens any more,
// as nothing of what the process would do then happens after a kill.
type mortalFs struct {
	afero.Fs
	mu   sync.Mutex
	left int  // changes
	dead bool // one was not made
}

var errDead = errors.New("the process is dead")

// change counts a change, and returns an error once the process is dead.
func (f *mortalFs) change() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left--; f.left < 0 {
		f.dead = true
		return errDead
	}
	return nil
}

func (f *mortalFs) OpenFile(name string, flag int, perm fs.FileMode) (afero.File, error) {
	if flag&os.O_CREATE != 0 {
		if err := f.change(); err != nil {
			return nil, err
		}
	}
	file, err := f.Fs.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &mortalFile{file, f}, nil
}

func (f *mortalFs) Mkdir(name string, perm fs.FileMode) error {
	if err := f.change(); err != nil {
		return err
	}
	return f.Fs.Mkdir(name, perm)
}

func (f *mortalFs) Rename(from, to string) error {
	if err := f.change(); err != nil {
		return err
	}
	return f.Fs.Rename(from, to)
}

func (f *mortalFs) Remove(name string) error {
	if err := f.change(); err != nil {
		return err
	}
	return f.Fs.Remove(name)
}

type mortalFile struct {
	afero.File
	fs *mortalFs
}

// Write writes half of what a process that is killed meanwhile would.
func (f *mortalFile) Write(p []byte) (int, error) {
	if err := f.fs.change(); err != nil {
		f.fs.mu.Lock()
		first := f.fs.left == -1
		f.fs.mu.Unlock()
		if first {
			_, _ = f.File.Write(p[:len(p)/2])
		}
		return 0, err
	}
	return f.File.Write(p)
}

func (f *mortalFile) Sync() error {
	if err := f.fs.change(); err != nil {
		return err
	}
	return f.File.Sync()
}

// startOn returns a server that takes uploads, on a disk that may have been left by another.
func startOn(t *testing.T, disk afero.Fs) (root http.Handler, end func()) {
	store, err := storage.New(disk, "/store", nil)
	require.NoError(t, err)
	handler, err := athens.NewHandler(store, &athens.Options{Private: "none", Published: "corp.example"})
	require.NoError(t, err)
	api, err := publish.New(handler, &publish.Options{Publish: func(*http.Request, string) (string, error) { return "ci", nil }})
	require.NoError(t, err)
	return api.Front(handler), func() { assert.NoError(t, handler.Shutdown(context.Background())) }
}

// ask asks a server for a path.
func ask(root http.Handler, method, path string, body []byte) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	root.ServeHTTP(w, httptest.NewRequest(method, path, bytes.NewReader(body)))
	return w
}

// checkAbsentOrWhole wants nothing of a version to be seen, or all of it.
func checkAbsentOrWhole(t *testing.T, root http.Handler, v *modtest.Version) (whole bool) {
	t.Helper()
	base := strings.TrimSuffix(path, ".zip")
	whole = ask(root, "GET", path, nil).Code == http.StatusOK
	for ext, want := range map[string][]byte{".mod": v.Mod, ".zip": v.Zip} {
		w := ask(root, "GET", base+ext, nil)
		if whole {
			assert.Equal(t, want, w.Body.Bytes(), ext)
			continue
		}
		assert.Equal(t, http.StatusNotFound, w.Code, "%s: %s", ext, w.Body)
	}
	assert.Equal(t, whole, ask(root, "GET", base+".info", nil).Code == http.StatusOK)
	assert.Equal(t, whole, strings.Contains(ask(root, "GET", "/corp.example/x/@v/list", nil).Body.String(), "v1.0.0"))
	return whole
}

// stray returns the files of uploads that are on their way in, or were.
func stray(t *testing.T, disk afero.Fs) []string {
	t.Helper()
	var left []string
	require.NoError(t, afero.Walk(disk, "/store", func(name string, info fs.FileInfo, err error) error {
		if err == nil && !info.IsDir() && strings.Contains(name, "/stage/") {
			left = append(left, name)
		}
		return err
	}))
	return left
}

// TestKilledAtEveryChange kills the server at each change of the disk that an upload makes.
// The next one shows nothing of the version or all of it, and takes the same upload; then
// nothing of the first is left.
func TestKilledAtEveryChange(t *testing.T) {
	v := version(t, strings.Repeat("a text ", 1000))
	swept := 0
	for at := 0; ; at++ {
		disk := &mortalFs{Fs: afero.NewMemMapFs(), left: at + 1000}
		root, end := startOn(t, disk)
		disk.left = at
		status := ask(root, "PUT", path, v.Zip).Code
		end()
		if !disk.dead {
			require.Equal(t, http.StatusCreated, status)
			require.Greater(t, at, 20, "changes that an upload makes")
			assert.NotZero(t, swept, "some deaths leave something")
			return
		}
		if len(stray(t, disk.Fs)) > 0 {
			swept++
		}
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			root, end := startOn(t, disk.Fs)
			defer end()
			whole := checkAbsentOrWhole(t, root, v)
			assert.False(t, status == http.StatusCreated && !whole, "what was answered stays")
			w := ask(root, "PUT", path, v.Zip)
			assert.Equal(t, map[bool]int{true: http.StatusOK, false: http.StatusCreated}[whole], w.Code, w.Body)
			assert.True(t, checkAbsentOrWhole(t, root, v))
			assert.Empty(t, stray(t, disk.Fs))
		})
	}
}

// TestUploadIsCut has a publisher die at many points of an upload, before and after its body
// began. The server shows nothing of it, keeps nothing, and takes the same upload afterwards.
func TestUploadIsCut(t *testing.T) {
	v := version(t, strings.Repeat("a text ", 1000))
	disk := afero.NewMemMapFs()
	root, end := startOn(t, disk)
	defer end()
	server := httptest.NewServer(root)
	defer server.Close() // again, if the test fails
	head := fmt.Sprintf("PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", path, len(v.Zip))
	chunked := fmt.Sprintf("PUT %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n", path, len(v.Zip))
	for _, head := range []string{head, chunked} {
		whole := head + string(v.Zip)
		if head == chunked { // without the last chunk, all of the zip is not the end of it
			whole += "\r\n0"
		}
		for cut := 10; cut < len(whole); cut += len(whole)/20 + 1 {
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			require.NoError(t, err)
			_, err = io.WriteString(conn, whole[:cut])
			require.NoError(t, err)
			if tcp, ok := conn.(*net.TCPConn); ok && cut%2 == 0 {
				require.NoError(t, tcp.SetLinger(0)) // a reset
			}
			require.NoError(t, conn.Close())
		}
	}
	server.Close() // once all that it has begun has ended
	assert.Empty(t, stray(t, disk))
	assert.False(t, checkAbsentOrWhole(t, root, v))
	for _, status := range []int{http.StatusCreated, http.StatusOK} {
		w := ask(root, "PUT", path, v.Zip)
		assert.Equal(t, status, w.Code, w.Body)
	}
	assert.True(t, checkAbsentOrWhole(t, root, v))
	assert.Empty(t, stray(t, disk))
}
