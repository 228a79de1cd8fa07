package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/internal/packtest"
)

// legalList is how many bytes of references a repository may have; see
// fetcher.Options.MaxRefsBytes.
const legalList = 16 << 20

// listBytes is how large the lists are that TestLargeRefLists sends.
func listBytes() int { return modtest.Soak(legalList/16, legalList) }

// A listHost is a [packtest.Host] whose repositories have as many tags as fit into a list.
type listHost struct {
	*packtest.Host
	tip   string
	bytes int
}

// ServeHTTP implements [http.Handler].
func (h *listHost) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/info/refs") {
		h.Host.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
	out := bufio.NewWriterSize(w, 1<<20)
	head := fmt.Sprintf("%s HEAD\x00side-band-64k ofs-delta shallow no-progress\n", h.tip)
	fmt.Fprintf(out, "001e# service=git-upload-pack\n0000%04x%s", len(head)+4, head)
	for i, left := 0, h.bytes-1<<10; left > 0; i++ {
		name := fmt.Sprintf("refs/tags/v1.0.%d", i)
		left -= len(name) + 24
		fmt.Fprintf(out, "%04x%s %s\n", len(h.tip)+len(name)+6, h.tip, name)
	}
	_, _ = out.WriteString("0000")
	_ = out.Flush() // the client may leave
}

// TestLargeMods asks a registry with default settings for the .mod and the .info of many
// modules whose go.mod is as large as it may be, all at once, and stays within its memory.
func TestLargeMods(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t)
	host := packtest.NewHost(t.TempDir())
	c := new(packtest.Maker).LargeMod(modtest.Soak(2<<20, 15<<20))
	n := startServer(t, net, "registry", "registry")
	var hosts []string
	for i := range modtest.Soak(12, 24) {
		hosts = append(hosts, fmt.Sprintf("m%d.test", i))
		require.NoError(t, host.Add(hosts[i], c))
		net.Handle(hosts[i], host)
	}
	var running sync.WaitGroup
	for i, name := range hosts {
		running.Go(func() {
			start := time.Now()
			file := []string{"mod", "info"}[i%2]
			resp := modtest.GetResponse(t, n.URL+"/"+name+"/m/@v/v1.0.0."+file)
			size, err := io.Copy(io.Discard, resp.Body)
			assert.NoError(t, err)
			resp.Body.Close()
			t.Logf("%s .%s: %d, %d bytes, after %v", name, file, resp.StatusCode, size, time.Since(start).Round(time.Millisecond))
			assert.Contains(t, []int{http.StatusOK, http.StatusServiceUnavailable}, resp.StatusCode)
		})
	}
	running.Wait()
	t.Logf("peak: %d MB", peakMB(t, n))
	assert.LessOrEqual(t, peakMB(t, n), mostMemoryMB)
}

// TestLargeRefLists asks a registry with default settings for modules whose repositories
// have lists of references as large as they may be, four at a time. All of it is answered
// or refused with a reason, and the server stays within its memory.
func TestLargeRefLists(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t)
	c := new(packtest.Maker).Sound()
	host := &listHost{packtest.NewHost(t.TempDir()), fmt.Sprintf("%x", c.Tip), listBytes()}
	var hosts []string
	for i := range 4 {
		name := fmt.Sprintf("l%d.test", i)
		require.NoError(t, host.Add(name, c))
		net.Handle(name, host)
		hosts = append(hosts, name)
	}
	n := startServer(t, net, "registry", "registry")
	for _, file := range []string{"@v/list", "@latest", "@v/v1.0.0.info", "@v/v1.0.1.info", "@v/v1.0.info", "@v/" + host.tip + ".info"} {
		var running sync.WaitGroup
		for _, name := range hosts {
			running.Go(func() {
				start := time.Now()
				status, body := modtest.Get(t, n.URL+"/"+name+"/m/"+file)
				t.Logf("%s %s: %d, %d bytes, after %v", name, file, status, len(body), time.Since(start).Round(time.Millisecond))
				assert.Contains(t, []int{http.StatusOK, http.StatusBadGateway, http.StatusServiceUnavailable}, status, "%.300s", body)
			})
		}
		running.Wait()
		t.Logf("peak: %d MB", peakMB(t, n))
	}
	assert.LessOrEqual(t, peakMB(t, n), mostMemoryMB)
}
