package e2e_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/storage"
)

// TestProcessesOneFolder has four proxies on one folder, clients who ask them all
// for the same, and kills one after the other at random instants.
//
// Their upstream is honest, or fickle: it has two contents for each version, and
// answers with either. Each file that is stored is one of the two, for good.
func TestProcessesOneFolder(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t)
	tagged := addTaggedRepo(t, net)
	sides := [2][]*modtest.Version{}
	for i := range crashVersions {
		for side := range sides {
			body := strings.Repeat(fmt.Sprintf("// line of version %d, side %d\n", i, side), 2000)
			sides[side] = append(sides[side], modtest.NewVersion(t, "up.test/m", fmt.Sprintf("v1.0.%d", i), map[string]string{
				"go.mod": fmt.Sprintf("module up.test/m\n\ngo 1.2%d\n", side), "m.go": "package m\n" + body,
			}))
		}
	}
	honest := modtest.NewGoProxy(t, sides[0]...)
	other := modtest.NewGoProxy(t, sides[1]...)
	fickle := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		[]http.Handler{honest, other}[rand.IntN(2)].ServeHTTP(w, r)
	}))
	t.Cleanup(fickle.Close)
	t.Run("honest", func(t *testing.T) {
		t.Parallel()
		c := &clientCrowd{versions: append(tagged[:len(tagged):len(tagged)], sides[0]...)}
		c.run(t, net, "-private", "git.test", "-upstream", honest.URL, "-miss", "fetch", "-fill", "whole", "-fill-after", "0")
	})
	t.Run("fickle", func(t *testing.T) {
		t.Parallel()
		c := &clientCrowd{versions: sides[0], others: sides[1]}
		c.run(t, net, "-private", "git.test", "-upstream", fickle.URL, "-fill", "whole", "-fill-after", "0")
	})
}

// clientCrowd is the clients of several servers that share a folder.
type clientCrowd struct {
	versions []*modtest.Version
	others   []*modtest.Version // the second content of each, if there is one
	urls     []string           // of the servers

	reach atomic.Int64 // how many of the versions are asked for so far
	heard chan struct{}
	seen  sync.Map // from file to the bytes that were answered
	good  atomic.Int64
	bad   sync.Map // what must never be answered
}

// run lets the crowd loose on four servers, and kills them in turn.
func (c *clientCrowd) run(t *testing.T, net *modtest.Internet, args ...string) {
	random := modtest.Rand(t)
	kills := modtest.Soak(10, 300)
	dir := t.TempDir()
	var servers []*server
	for i := range 4 {
		n := newServer(t, net, "proxy", fmt.Sprintf("proxy%d", i), args...)
		n.dir = dir
		n.start("127.0.0.1:0")
		servers = append(servers, n)
		c.urls = append(c.urls, n.URL)
	}
	c.heard = make(chan struct{})
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 8 {
		mine := rand.New(rand.NewPCG(random.Uint64(), 0))
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					c.ask(mine)
				}
			}
		})
	}
	for kill := range kills {
		// The next few versions are new to all of them.
		c.reach.Store(int64(max(8, min(len(c.versions), (kill+1)*len(c.versions)/min(kills, 40)))))
		for range random.IntN(40) {
			<-c.heard
		}
		n := servers[random.IntN(len(servers))]
		n.Kill()
		n.restart()
	}
	// Nobody waits for an answer any more.
	close(stop)
	go func() {
		for range c.heard {
		}
	}()
	clients.Wait()
	close(c.heard)
	c.reach.Store(int64(len(c.versions)))
	c.verdict(t, servers)
	t.Logf("%d kills, %d answers of status 200", kills, c.good.Load())
}

// ask asks one of the servers for a file.
func (c *clientCrowd) ask(random *rand.Rand) {
	defer func() { c.heard <- struct{}{} }()
	i := random.IntN(max(1, int(c.reach.Load())))
	ext := []string{"info", "mod", "zip"}[random.IntN(3)]
	_, _ = c.get(c.urls[random.IntN(len(c.urls))], i, ext) // a server may be dead
}

// get asks a server for a file of a version, and notes what is wrong with the answer.
func (c *clientCrowd) get(url string, i int, ext string) (status int, err error) {
	v := c.versions[i]
	file := v.Path + "/@v/" + v.Version.Version + "." + ext
	req, err := http.NewRequest(http.MethodGet, url+"/"+file, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return 0, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		c.good.Add(1)
		sum := sha256.Sum256(body)
		if first, ok := c.seen.LoadOrStore(file, sum); ok && first != sum {
			c.bad.Store(file+" has changed", string(body[:min(len(body), 80)]))
		}
	case http.StatusFound, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
	default:
		c.bad.Store(fmt.Sprintf("%s: status %d", file, resp.StatusCode), string(body))
	}
	return resp.StatusCode, nil
}

// verdict makes the servers hold everything, and looks at what they have.
func (c *clientCrowd) verdict(t *testing.T, servers []*server) {
	for i, v := range c.versions {
		for _, ext := range []string{"info", "mod", "zip"} {
			for _, url := range c.urls {
				modtest.Eventually(t, v.String()+"."+ext+" is served by "+url, func() bool {
					status, err := c.get(url, i, ext)
					return status == http.StatusOK && err == nil
				})
			}
		}
	}
	for _, n := range servers {
		n.settle()
		n.Stop()
	}
	c.bad.Range(func(what, body any) bool {
		t.Errorf("%s: %s", what, body)
		return true
	})
	last := servers[0]
	last.restart()
	truth := c.answered(t)
	assert.Equal(t, map[string]int{"whole": len(truth)}, inspect(t, last, truth))
	for _, v := range truth { // what was answered all the time is what lies there
		for ext, want := range map[string][]byte{"info": v.Info, "mod": v.Mod, "zip": v.Zip} {
			assert.True(t, string(want) == last.file(v, ext), "%s.%s is what was answered before", v.Version, ext)
		}
		said, err := os.ReadFile(filepath.Join(last.dir, filepath.FromSlash(v.Path), "@v", v.Version.Version+".ziphash"))
		require.NoError(t, err)
		assert.Equal(t, v.Sum, strings.TrimSpace(string(said)), v.Version)
	}
	last.Stop()
	checkSound(t, last.dir, len(truth))
}

// answered returns the versions as clients have seen them. Each file is of one of the
// two contents, whichever was stored first. The .mod and the zip need not be of the
// same: an upstream's zip may have another go.mod than the .mod, which the go command
// accepts, and the hash of each holds for itself.
func (c *clientCrowd) answered(t *testing.T) []*modtest.Version {
	t.Helper()
	var truth []*modtest.Version
	for i, v := range c.versions {
		sides := []*modtest.Version{v}
		if c.others != nil {
			sides = append(sides, c.others[i])
		}
		of := func(ext string, file func(*modtest.Version) []byte) *modtest.Version {
			seen, _ := c.seen.Load(v.Path + "/@v/" + v.Version.Version + "." + ext)
			for _, side := range sides {
				if seen == sha256.Sum256(file(side)) {
					return side
				}
			}
			require.Failf(t, "neither content", "%s.%s was answered with something else", v.Version, ext)
			return nil
		}
		info := of("info", func(v *modtest.Version) []byte { return v.Info })
		mod := of("mod", func(v *modtest.Version) []byte { return v.Mod })
		z := of("zip", func(v *modtest.Version) []byte { return v.Zip })
		truth = append(truth, &modtest.Version{
			Version: v.Version, Info: info.Info, Mod: mod.Mod, GoModSum: mod.GoModSum, Zip: z.Zip, Sum: z.Sum,
		})
	}
	return truth
}

// checkSound checks that a folder's versions, so many, are what their records say.
func checkSound(t *testing.T, dir string, versions int) {
	t.Helper()
	store, err := storage.NewDisk(dir, nil)
	require.NoError(t, err)
	sound := 0
	for checked, err := range store.Verify(t.Context(), nil) {
		require.NoError(t, err)
		assert.Empty(t, checked.Problems)
		if checked.Module.Version != "" { // not of a module or the whole folder
			assert.True(t, checked.Recorded, checked.Module)
			sound++
		}
	}
	assert.Equal(t, versions, sound)
}
