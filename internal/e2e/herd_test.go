package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/fill"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/storage"
)

// herdSize is how many clients ask at once.
const herdSize = 100

// stampede makes all clients ask for the files of one version at once, each of
// them for all three, and checks that what they get is the truth.
func stampede(t *testing.T, base string, truth modtest.Download) {
	t.Helper()
	want := map[string]string{}
	for ext, file := range map[string]string{"info": truth.Info, "mod": truth.GoMod, "zip": truth.Zip} {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		want[ext] = string(b)
	}
	type answer struct {
		ext, body string
		status    int
	}
	answers := make(chan answer, 3*herdSize)
	start := make(chan struct{})
	var clients sync.WaitGroup
	for range herdSize {
		for ext := range want {
			clients.Go(func() {
				<-start
				status, body := modtest.Get(t, fmt.Sprintf("%s/%s/@v/%s.%s", base, truth.Path, truth.Version, ext))
				answers <- answer{ext, body, status}
			})
		}
	}
	close(start)
	clients.Wait()
	close(answers)
	got := map[string]int{}
	for a := range answers {
		require.Equal(t, http.StatusOK, a.status, a.body)
		switch a.ext {
		case "info": // the same fields, and the same bytes for all
			assert.JSONEq(t, want[a.ext], a.body)
			want[a.ext] = a.body
		case "mod":
			require.Equal(t, want[a.ext], a.body)
		case "zip": // packed by another program, perhaps
			if got[a.ext] == 0 {
				want[a.ext] = a.body
			}
			require.True(t, want[a.ext] == a.body, "zips differ")
		}
		got[a.ext]++
	}
	assert.Equal(t, map[string]int{"info": herdSize, "mod": herdSize, "zip": herdSize}, got)
}

// TestHerd sends a hundred clients at once to what nobody holds yet.
func TestHerd(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, modtest.Ready(t, "simple")...)
	truth := modtest.NewGo(t, net).MustDownload("git.test/simple@v1.1.0")
	packs := func() int { return net.Packs("git.test/simple") }

	before := packs()
	registry := startServer(t, net, "registry", "registry")
	stampede(t, registry.URL, truth)
	assert.Equal(t, before+1, packs(), "the registry fetches once")
	checkWithGoCommand(t, net, registry.URL, truth)

	for _, mode := range [][]string{{"-miss", "fetch"}, {"-miss", "fetch", "-fill", "whole", "-fill-after", "0"}} {
		up := newRecordingProxy(t, registry.URL)
		proxy := startServer(t, net, "proxy", "proxy", append(mode, "-upstream", up.URL)...)
		stampede(t, proxy.URL, truth)
		proxy.settle()
		assert.Equal(t, 3, up.Count(""), "%v: %v", mode, up.Requests(""))
		for _, ext := range []string{"info", "mod", "zip"} {
			assert.Equal(t, 1, up.Count("git.test/simple/@v/v1.1.0."+ext), ext)
		}
		checkWithGoCommand(t, net, proxy.URL, truth)
	}
	assert.Equal(t, before+1, packs(), "proxies leave version control alone")
}

// checkWithGoCommand asks a server with a go command.
func checkWithGoCommand(t *testing.T, net *modtest.Internet, base string, truth modtest.Download) {
	t.Helper()
	g := modtest.NewGo(t, net)
	g.Set("GOPROXY=" + base)
	d := g.MustDownload(truth.Path + "@" + truth.Version)
	assert.Equal(t, truth.Sum, d.Sum)
	assert.Equal(t, truth.GoModSum, d.GoModSum)
}

// TestModAlone asks for a .mod and nothing else, as most questions of a build's
// graph are: the zip must not be asked for upstream.
func TestModAlone(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, modtest.Ready(t, "simple")...)
	registry := startServer(t, net, "registry", "registry")
	for _, mode := range [][]string{{"-miss", "fetch"}, {"-miss", "redirect", "-fill-after", "0"}} {
		up := newRecordingProxy(t, registry.URL)
		proxy := startServer(t, net, "proxy", "proxy", append(mode, "-upstream", up.URL)...)
		clients := sync.WaitGroup{}
		for range herdSize {
			clients.Go(func() {
				resp := modtest.GetResponse(t, proxy.URL+"/git.test/simple/@v/v1.2.0.mod")
				assert.NoError(t, resp.Body.Close())
			})
		}
		clients.Wait()
		status := proxy.settle()
		// Stopping waits for whatever else the server had begun.
		proxy.Stop()
		assert.Equal(t, 1, up.Count("*.mod"), "%v", mode)
		assert.Zero(t, up.Count("*.zip"), "%v: %v", mode, up.Requests(""))
		for _, e := range status.Done {
			assert.False(t, e.Zip, "%v: %v", mode, e)
		}
	}
}

// TestHerdStoresOnce counts what a registry does with its store.
func TestHerdStoresOnce(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, modtest.Ready(t, "simple")...)
	truth := modtest.NewGo(t, net).MustDownload("git.test/simple@v1.1.0")
	store, err := storage.NewDisk(t.TempDir(), nil)
	require.NoError(t, err)
	git, err := fetcher.New(t.TempDir(), &fetcher.Options{Transport: net.Transport(), Insecure: modtest.Insecure})
	require.NoError(t, err)
	fills, err := fill.New(nil)
	require.NoError(t, err)
	var mu sync.Mutex
	ops := map[string]int{}
	handler, err := athens.NewHandler(store, &athens.Options{
		Fetcher: git, Fills: fills,
		Trace: func(ctx context.Context, op string, _ module.Version) (context.Context, func(error)) {
			mu.Lock()
			defer mu.Unlock()
			ops[op]++
			return ctx, func(error) {}
		},
	})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- fills.Run(ctx, handler.Fill) }()
	server := httptest.NewServer(handler)
	stampede(t, server.URL, truth)
	server.Close()
	stop()
	require.NoError(t, <-ran)
	require.NoError(t, handler.Shutdown(t.Context()))
	for _, op := range []string{"info", "mod", "zip", "put", "commit"} {
		assert.Equal(t, 1, ops[op], op)
	}
}
