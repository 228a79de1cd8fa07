package modtest_test

import (
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

const server = "./internal/modtest/testdata/server"

func TestProcess(t *testing.T) {
	var bins [2]string
	var wg sync.WaitGroup
	for i := range bins {
		wg.Go(func() { bins[i] = modtest.Build(t, server) })
	}
	wg.Wait()
	require.Equal(t, bins[0], bins[1], "built once")

	p := modtest.Start(t, bins[0], []string{"-addr", "127.0.0.1:0"}, []string{"GREETING=hello"})
	assert.Equal(t, []string{"GOPROXY=" + p.URL, "GONOPROXY=none", "GONOSUMDB=a.test,b.test"}, p.Env)
	resp, err := http.Get(p.URL + "/x")
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, "hello", string(body))
	p.AwaitLog("asked for /x")
	p.Stop()
	assert.Contains(t, p.Log(), "drained")
	p.Stop()

	killed := modtest.Start(t, bins[0], []string{"-addr", "127.0.0.1:0"}, nil)
	killed.Kill()
	assert.NotContains(t, killed.Log(), "drained")
	_, err = http.Get(killed.URL)
	assert.Error(t, err)
}

// failing is a test that notes its failures instead of having them.
type failing struct {
	testing.TB
	errors int
}

func (f *failing) Errorf(string, ...any) { f.errors++ }
func (f *failing) Helper()               {}
func (f *failing) Failed() bool          { return false }

func TestProcessThatStopsBadlyFailsTheTest(t *testing.T) {
	note := &failing{TB: t}
	p := modtest.Start(note, modtest.Build(t, server), []string{"-addr", "127.0.0.1:0", "-fail"}, nil)
	p.Stop()
	assert.Equal(t, 1, note.errors)
}
