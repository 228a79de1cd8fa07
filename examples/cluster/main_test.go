package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// firstLineOf sends the first line written to it to a channel.
type firstLineOf struct{ line chan string }

func (f firstLineOf) Write(p []byte) (int, error) {
	f.line <- strings.TrimSpace(string(p))
	return len(p), nil
}

// TestCluster starts a cluster as its user does, kills its proxies, and downloads a module
// meanwhile.
func TestCluster(t *testing.T) {
	v := modtest.NewVersion(t, "up.test/m", "v1.0.0", map[string]string{"go.mod": "module up.test/m\n", "m.go": "package m\n"})
	up := modtest.NewGoProxy(t, v)
	addr, err := freeAddr()
	require.NoError(t, err)
	ops, err := freeAddr()
	require.NoError(t, err)

	dir := t.TempDir()
	programsIn(t, dir)
	ctx, stop := context.WithCancel(t.Context())
	out, ended := firstLineOf{make(chan string, 1)}, make(chan error, 1)
	var log bytes.Buffer
	go func() {
		ended <- run(ctx, []string{"-addr", addr, "-ops", ops, "-proxies", "2", "-dir", dir,
			"--", "-miss", "fetch", "-upstream", up.URL, "-private", "corp.test"}, out, &log)
	}()
	select {
	case line := <-out.line:
		assert.Equal(t, "export GOPROXY=http://"+addr+" GONOPROXY=none GONOSUMDB=corp.test", line)
	case err := <-ended:
		t.Fatalf("it ended: %v\n%s", err, log.String())
	}

	for _, name := range []string{"proxy-1", "proxy-2"} {
		g := modtest.NewGo(t, nil)
		g.Set("GOPROXY=http://"+addr, "GONOPROXY=none")
		assert.Equal(t, v.Sum, g.MustDownload("up.test/m@v1.0.0").Sum)
		resp, err := http.Post("http://"+ops+"/kill/"+name, "", nil)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, http.StatusOK, resp.StatusCode)
	}
	assert.Len(t, up.Requests("*.zip"), 1, "a proxy serves the second client from the bucket")

	resp, err := http.Get("http://" + ops + "/")
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	var all []state
	require.NoError(t, json.Unmarshal(body, &all))
	names := map[string]int{}
	for _, s := range all {
		names[s.Name] = s.Killed
	}
	assert.Equal(t, map[string]int{"bucket": 0, "queue": 0, "proxy-1": 1, "proxy-2": 1}, names)

	page, err := os.ReadFile("../../docs/cluster.md")
	require.NoError(t, err)
	for name := range names {
		assert.Contains(t, string(page), "`"+name+"`", "docs/cluster.md names the processes")
	}

	stop()
	require.NoError(t, <-ended, log.String())
	said := log.String()
	assert.Contains(t, said, "building the proxy and the queue")
	for name := range names {
		assert.Contains(t, said, "cluster: starting "+name+" on 127.0.0.1:")
	}
	assert.Contains(t, said, "cluster: all processes are running; http://"+ops+"/ lists them\n")
	assert.Contains(t, said, "proxy-1: ended (signal: killed); starting it again\n")
	begin, _, _ := strings.Cut(said, "all processes are running")
	assert.NotRegexp(t, "level=(WARN|ERROR)", begin, "nothing at the start looks like a fault")
}

// Lines of different members don't mix, and each says whose it is.
func TestPrefixed(t *testing.T) {
	var out bytes.Buffer
	a, b := &prefixed{w: &out, prefix: "a: "}, &prefixed{w: &out, prefix: "b: "}
	for _, part := range []struct {
		to   *prefixed
		text string
	}{{a, "one\ntw"}, {b, "other\n"}, {a, "o\n\n"}} {
		n, err := io.WriteString(part.to, part.text)
		require.NoError(t, err)
		assert.Equal(t, len(part.text), n)
	}
	assert.Equal(t, "a: one\nb: other\na: two\na: \n", out.String())
}
