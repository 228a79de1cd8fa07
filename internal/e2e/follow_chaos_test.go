package e2e_test

import (
	"math/rand/v2"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// TestFollowChaos has a registry, one that follows it, and one that follows that one.
// Clients ask them all for the same, while they are killed and cut off from each other at
// random. No file is ever answered in two ways, and in the end all have the same log and
// everything in it.
func TestFollowChaos(t *testing.T) {
	t.Parallel()
	random := modtest.Rand(t)
	net := modtest.NewInternet(t)
	c := &clientCrowd{versions: addTaggedRepo(t, net), heard: make(chan struct{})}
	primary := newBooks(t, net)
	first := primary.follower()
	second := first.follower()
	servers := []*server{primary.server, first.server, second.server}
	ways := []*recordingProxy{first.way, second.way}
	for _, n := range servers {
		c.urls = append(c.urls, n.URL)
	}
	turns := modtest.Soak(6, 400)
	stop, stopped := make(chan struct{}), make(chan struct{})
	for range 4 {
		mine := rand.New(rand.NewPCG(random.Uint64(), 0))
		go func() {
			defer func() { stopped <- struct{}{} }()
			for {
				select {
				case <-stop:
					return
				default:
					c.ask(mine)
				}
			}
		}()
	}
	mends := []func(){func() {}, func() {}}
	for turn := range turns {
		c.reach.Store(int64(min(len(c.versions), 4+(turn+1)*len(c.versions)/min(turns, 20))))
		for range random.IntN(20) {
			<-c.heard
		}
		switch i := turn % 3; random.IntN(3) {
		case 0: // a partition begins or ends
			way := i % len(ways)
			mends[way]()
			mends[way] = func() {}
			if random.IntN(2) == 0 {
				mends[way] = ways[way].Break("", modtest.Cut())
			}
		default:
			servers[i].Kill()
			servers[i].restart()
		}
	}
	for _, mend := range mends {
		mend()
	}
	close(stop)
	for running := 4; running > 0; {
		select {
		case <-c.heard:
		case <-stopped:
			running--
		}
	}
	c.converge(t, servers)
}

// converge waits until all servers have everything and the same log.
func (c *clientCrowd) converge(t *testing.T, servers []*server) {
	t.Helper()
	c.heard = nil
	for i := range c.versions { // the registry has them all, and the others by its log
		for _, ext := range []string{"info", "mod", "zip"} {
			modtest.Eventually(t, "the primary serves everything", func() bool {
				status, err := c.get(servers[0].URL, i, ext)
				return err == nil && status == http.StatusOK
			})
		}
	}
	for _, n := range servers {
		for _, v := range c.versions {
			n.gets(v.String())
		}
	}
	var head string
	for _, n := range servers {
		modtest.Eventually(t, "the same head", func() bool {
			status, body := modtest.Get(t, n.URL+"/sumdb/sum.corp.example/latest")
			if n == servers[0] {
				head = body
			}
			return status == http.StatusOK && body == head
		})
	}
	require.Contains(t, head, "go.sum database tree\n40\n")
	for i := range c.versions {
		for _, n := range servers {
			for _, ext := range []string{"info", "mod", "zip"} {
				status, err := c.get(n.URL, i, ext)
				require.NoError(t, err)
				require.Equal(t, http.StatusOK, status)
			}
		}
	}
	for _, n := range servers {
		n.settle()
		n.Stop()
		checkSound(t, n.dir, len(c.versions))
		assert.NotContains(t, n.Log(), "msg=conflict")
		assert.NotContains(t, n.Log(), "follow: fork")
	}
	c.answered(t) // all that was answered is what the go command gets from version control
	c.bad.Range(func(what, body any) bool {
		t.Errorf("%s: %s", what, body)
		return true
	})
}
