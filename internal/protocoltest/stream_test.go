package protocoltest_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/redirect"
	"github.com/athens-go/athens/storage"
)

// slowUpstream serves one version, its zip in two halves: the second one when
// release is closed.
func slowUpstream(t *testing.T, v *modtest.Version, zip []byte, release <-chan struct{}) *modtest.Tap {
	files := map[string][]byte{".info": v.Info, ".mod": v.Mod}
	return modtest.NewTap(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ext := r.URL.Path[strings.LastIndexByte(r.URL.Path, '.'):]
		if ext != ".zip" {
			_, _ = w.Write(files[ext])
			return
		}
		_, _ = w.Write(zip[:len(zip)/2])
		_ = http.NewResponseController(w).Flush()
		select {
		case <-release:
			_, _ = w.Write(zip[len(zip)/2:])
		case <-r.Context().Done():
		}
	}))
}

// fetchThrough starts a proxy of that upstream.
func fetchThrough(t *testing.T, upstream http.Handler, wrap func(http.Handler) http.Handler) (*httptest.Server, *storage.Store) {
	up := httptest.NewServer(upstream)
	t.Cleanup(up.Close)
	source, err := redirect.New(up.URL, &redirect.Options{Tries: 1})
	require.NoError(t, err)
	store, err := storage.NewDisk(t.TempDir(), nil)
	require.NoError(t, err)
	h, err := athens.NewHandler(store, &athens.Options{Upstream: source, MissFetch: true})
	require.NoError(t, err)
	proxy := httptest.NewServer(wrap(h))
	t.Cleanup(func() {
		proxy.Close()
		require.NoError(t, h.Shutdown(context.Background()))
	})
	return proxy, store
}

func noMiddleware(h http.Handler) http.Handler { return h }

func TestZipIsFollowedWhileItArrives(t *testing.T) {
	v := modtest.NewVersion(t, "example.com/m", "v1.0.0", map[string]string{"go.mod": "module example.com/m\n", "a.go": strings.Repeat("package m // filler\n", 5000)})
	release := make(chan struct{})
	tap := slowUpstream(t, v, v.Zip, release)
	proxy, _ := fetchThrough(t, tap, noMiddleware)

	var wg sync.WaitGroup
	var halves sync.WaitGroup
	for range 20 {
		halves.Add(1)
		wg.Go(func() {
			resp, err := http.Get(proxy.URL + "/example.com/m/@v/v1.0.0.zip")
			require.NoError(t, err)
			defer resp.Body.Close()
			assert.EqualValues(t, -1, resp.ContentLength, "no length before the verdict")
			half := make([]byte, len(v.Zip)/2)
			_, err = io.ReadFull(resp.Body, half)
			assert.NoError(t, err)
			halves.Done()
			rest, err := io.ReadAll(resp.Body)
			assert.NoError(t, err)
			assert.True(t, bytes.Equal(v.Zip, append(half, rest...)))
		})
	}
	halves.Wait() // all have the first half before there is a second
	close(release)
	wg.Wait()
	assert.Equal(t, 1, tap.Count("*.zip"))

	resp, err := http.Get(proxy.URL + "/example.com/m/@v/v1.0.0.zip")
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.EqualValues(t, len(v.Zip), resp.ContentLength, "from the store")
}

func TestBadZipIsCutOff(t *testing.T) {
	v := modtest.NewVersion(t, "example.com/m", "v1.0.0", map[string]string{"go.mod": "module example.com/m\n", "a.go": "package m\n"})
	bad := modtest.NewVersion(t, "example.com/m", "v1.0.1", map[string]string{"go.mod": "module example.com/m\n", "a.go": "package m\n"})
	// A middleware that recovers must not turn the cut into a clean end.
	recovers := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() { _ = recover() }()
			next.ServeHTTP(w, r)
		})
	}
	for name, wrap := range map[string]func(http.Handler) http.Handler{"plain": noMiddleware, "recovers": recovers} {
		t.Run(name, func(t *testing.T) {
			release := make(chan struct{})
			close(release)
			proxy, store := fetchThrough(t, slowUpstream(t, v, bad.Zip, release), wrap)
			resp, err := http.Get(proxy.URL + "/example.com/m/@v/v1.0.0.zip")
			require.NoError(t, err)
			defer resp.Body.Close()
			if resp.StatusCode == http.StatusOK { // else the verdict came first
				_, err = io.ReadAll(resp.Body)
				assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
			} else {
				assert.Equal(t, http.StatusBadGateway, resp.StatusCode)
			}
			_, err = store.Open(t.Context(), v.Version, athens.ZipFile)
			assert.Error(t, err)
		})
	}
}

func TestOldClientWaitsForTheWhole(t *testing.T) {
	v := modtest.NewVersion(t, "example.com/m", "v1.0.0", map[string]string{"go.mod": "module example.com/m\n"})
	release := make(chan struct{})
	close(release)
	proxy, _ := fetchThrough(t, slowUpstream(t, v, v.Zip, release), func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.ProtoMajor, r.ProtoMinor = 1, 0
			next.ServeHTTP(w, r)
		})
	})
	resp, err := http.Get(proxy.URL + "/example.com/m/@v/v1.0.0.zip")
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.EqualValues(t, len(v.Zip), resp.ContentLength)
}

func TestFollowerLeavesOthersGoOn(t *testing.T) {
	v := modtest.NewVersion(t, "example.com/m", "v1.0.0", map[string]string{"go.mod": "module example.com/m\n", "a.go": "package m\n"})
	release := make(chan struct{})
	tap := slowUpstream(t, v, v.Zip, release)
	proxy, store := fetchThrough(t, tap, noMiddleware)
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, proxy.URL+"/example.com/m/@v/v1.0.0.zip", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	leave()
	resp.Body.Close()
	close(release)
	require.Eventually(t, func() bool {
		obj, err := store.Open(t.Context(), v.Version, athens.ZipFile)
		if err == nil {
			obj.Body.Close()
		}
		return err == nil
	}, time.Minute, 5*time.Millisecond)
	assert.Equal(t, 1, tap.Count("*.zip"))
}
