//go:build unix

package serve

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
)

// Connections that are open and idle cost little, and keep nobody out: 10,000 of them
// with ATHENS_SOAK, where a process may have that many.
func TestIdleConnections(t *testing.T) {
	n := 300
	if os.Getenv("ATHENS_SOAK") != "" {
		n = 10_000
	}
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	n = min(n, int(limit.Cur/2)-200) // each has two ends here
	p := newPrey(t, athens.Options{})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = p.dial(t)
		if i%2 == 0 { // idle after a request, else before one
			_, err := io.WriteString(conns[i], "GET /held.test/m/@v/v1.0.0.mod HTTP/1.1\r\nHost: x\r\n\r\n")
			require.NoError(t, err)
			resp, err := http.ReadResponse(bufio.NewReader(conns[i]), nil)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, resp.StatusCode)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if after.HeapAlloc > before.HeapAlloc {
		assert.LessOrEqual(t, (after.HeapAlloc-before.HeapAlloc)/uint64(n), uint64(64<<10), "bytes each, both ends")
	}
	last := p.dial(t)
	_, err := io.WriteString(last, "GET /held.test/m/@v/v1.0.0.mod HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	assert.Equal(t, []int{200}, answers(last))
}
