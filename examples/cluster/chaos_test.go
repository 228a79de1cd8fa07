package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "gocloud.dev/blob/s3blob"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/blob"
	"github.com/athens-go/athens/internal/modtest"
)

// TestChaos has three proxies on one bucket and one queue, clients who keep
// downloading, and kills the proxies, then the queue, again and again. With
// ATHENS_SOAK set it does so for long; ATHENS_SEED repeats a run. The proxies share a ledger:
// it is never forked, and in the end the go command verifies each version against it.
func TestChaos(t *testing.T) {
	kills, random := modtest.Soak(10, 200), modtest.Rand(t)

	d := &downloads{progress: make(chan struct{}, 1)}
	for i := range 60 {
		d.versions = append(d.versions, modtest.NewVersion(t, fmt.Sprintf("up.test/m%d", i%20), fmt.Sprintf("v1.%d.0", i/20),
			map[string]string{"go.mod": fmt.Sprintf("module up.test/m%d\n", i%20), "m.go": "package m\n" + strings.Repeat(fmt.Sprintf("// line of %d\n", i), 3000)}))
	}
	up := modtest.NewGoProxy(t, d.versions...)
	log := &lines{w: io.Discard}
	dir := t.TempDir()
	programsIn(t, dir)
	c, err := start(t.Context(), &options{proxies: 3, dir: dir, ledger: ledgerName, args: []string{"-upstream", up.URL, "-fill", "whole", "-fill-after", "0"}}, log)
	require.NoError(t, err)
	t.Cleanup(c.stop)
	front := httptest.NewServer(newFront(c.proxies))
	t.Cleanup(front.Close)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var clients sync.WaitGroup
	for range 6 {
		mine := rand.New(rand.NewPCG(random.Uint64(), 0))
		clients.Go(func() { d.download(ctx, front.URL, mine) })
	}
	audit, key := newAuditor(t, d, dir, front.URL)
	for range 2 {
		mine := rand.New(rand.NewPCG(random.Uint64(), 0))
		clients.Go(func() { audit.run(ctx, mine) })
	}
	g := modtest.NewGo(t, nil)
	g.Set(strings.Fields(strings.TrimPrefix(c.paste(front.Listener.Addr()), "export "))...)
	builds := rand.New(rand.NewPCG(random.Uint64(), 0))
	clients.Go(func() { audit.build(ctx, g, builds) })
	queue := c.members[1]
	require.Equal(t, "queue", queue.name)
	for kill := range kills {
		d.reach.Store(int64(min(len(d.versions), (kill+1)*10)))
		d.await(20 + random.IntN(60))
		victim := c.proxies[random.IntN(len(c.proxies))]
		if kill%4 == 3 {
			victim = queue
		}
		for _, m := range c.members {
			if m != victim { // a cluster survives what is killed, not what is left of it
				require.NoError(t, m.ready(t.Context()))
			}
		}
		_ = victim.kill() // it may be down already
	}
	stop()
	clients.Wait()
	d.bad.Range(func(what, _ any) bool {
		t.Error(what)
		return true
	})
	d.settle(t, front.URL)
	d.verdict(t, c)
	audit.verdict(t, c, g, key)
	zips := up.Requests("*.zip")
	t.Logf("%d kills, %d answers, %d connections cut, %d upstream zip requests for %d versions, %d heads seen",
		kills, d.good.Load(), d.cut.Load(), len(zips), len(d.versions), len(audit.heads))
}

// downloads is what clients ask for, and what became of it.
type downloads struct {
	versions []*modtest.Version
	reach    atomic.Int64 // how many of them are asked for so far
	progress chan struct{}

	good, cut atomic.Int64
	bad       sync.Map // what must not happen
}

// download asks for one file after the other.
func (d *downloads) download(ctx context.Context, url string, random *rand.Rand) {
	for ctx.Err() == nil {
		v := d.versions[random.IntN(max(1, int(d.reach.Load())))]
		file := []string{".info", ".mod", ".zip"}[random.IntN(3)]
		status, body, err := fetch(ctx, url, v, file)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			d.cut.Add(1) // the proxy died meanwhile
		case status != http.StatusOK:
			d.bad.Store(fmt.Sprintf("%s%s: status %d: %s", v, file, status, body), nil)
		case !bytes.Equal(body, content(v, file)):
			d.bad.Store(fmt.Sprintf("%s%s: other bytes", v, file), nil)
		default:
			d.good.Add(1)
		}
		select {
		case d.progress <- struct{}{}:
		default:
		}
	}
}

// await waits until clients have been answered so often.
func (d *downloads) await(answers int) {
	for range answers {
		<-d.progress
	}
}

// settle asks until everything comes from the bucket: a redirect says that it
// is not there yet, and schedules its fill anew if that was lost with the queue.
func (d *downloads) settle(t *testing.T, url string) {
	t.Helper()
	direct := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.Now().Add(2 * time.Minute)
	for _, v := range d.versions {
		for {
			resp, err := direct.Head(url + "/" + v.Path + "/@v/" + v.Version.Version + ".zip")
			if err == nil {
				_ = resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					break
				}
			}
			if time.Now().After(limit) {
				t.Fatalf("%s was not filled", v)
			}
			<-tick.C
		}
	}
}

// verdict looks into the bucket: each version is there once, whole and true.
func (d *downloads) verdict(t *testing.T, c *cluster) {
	t.Helper()
	for _, login := range c.members[0].env {
		name, value, _ := strings.Cut(login, "=")
		t.Setenv(name, value)
	}
	store, err := blob.OpenURL(t.Context(), c.bucket, nil)
	require.NoError(t, err)
	defer store.Close()
	held := map[module.Version]int{}
	for m, err := range store.All(t.Context()) {
		require.NoError(t, err)
		held[m]++
	}
	assert.Len(t, held, len(d.versions))
	for _, v := range d.versions {
		assert.Equal(t, 1, held[v.Version])
		for file, ext := range map[athens.File]string{athens.ModFile: ".mod", athens.ZipFile: ".zip"} {
			obj, err := store.Open(t.Context(), v.Version, file)
			require.NoError(t, err)
			body, err := io.ReadAll(obj.Body)
			require.NoError(t, errors.Join(err, obj.Body.Close()))
			assert.True(t, bytes.Equal(content(v, ext), body), "%s%s", v, ext)
		}
	}
}

func content(v *modtest.Version, file string) []byte {
	switch file {
	case ".info":
		return v.Info
	case ".mod":
		return v.Mod
	}
	return v.Zip
}

// fetch gets a file as the go command does, redirects included.
func fetch(ctx context.Context, url string, v *modtest.Version, file string) (status int, body []byte, err error) {
	return get(ctx, url+"/"+v.Path+"/@v/"+v.Version.Version+file)
}

func get(ctx context.Context, url string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, errors.Join(err, resp.Body.Close())
}
