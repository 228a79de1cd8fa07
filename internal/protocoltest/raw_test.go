package protocoltest_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
)

// What no client library would send, as bytes on a connection: each gets an
// answer, and the server lives on.
func TestRawRequests(t *testing.T) {
	store := athenstest.NewStore(t)
	athenstest.HoldAs(t, store, athenstest.NewVersion(t, athenstest.Example), "whole")
	up := athenstest.NewUpstream(athenstest.NewSource(t, "upstream"), "http://registry.test/")
	h, err := athens.NewHandler(store, &athens.Options{Upstream: up})
	require.NoError(t, err)
	server := httptest.NewServer(h)
	defer server.Close()
	long := strings.Repeat("a", 64<<10)
	for request, want := range map[string]int{
		"GET " + athenstest.ModPath + " HTTP/1.1\r\nHost: x\r\n\r\n":                              200,
		"GET " + athenstest.ModPath + " HTTP/1.0\r\n\r\n":                                         200,
		"GET http://evil.test" + athenstest.ModPath + " HTTP/1.1\r\nHost: x\r\n\r\n":              200,
		"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n":                                       404,
		"GET /example.com/../m/@v/list HTTP/1.1\r\nHost: x\r\n\r\n":                               400,
		"GET /example.com/m\x01/@v/list HTTP/1.1\r\nHost: x\r\n\r\n":                              400,
		"GET /example.com/\x80/@v/list HTTP/1.1\r\nHost: x\r\n\r\n":                               400,
		"GET /example.com/%zz/@v/list HTTP/1.1\r\nHost: x\r\n\r\n":                                400,
		"GET /example.com/" + long + "/@v/list HTTP/1.1\r\nHost: x\r\n\r\n":                       414,
		"GET /example.com/m/@v/" + long + ".info HTTP/1.1\r\nHost: x\r\n\r\n":                     414,
		"GET " + athenstest.ModPath + " HTTP/1.1\r\nHost: x\r\nVia: " + long + "\r\n\r\n":         200,
		"GET " + athenstest.ModPath + " HTTP/1.1\r\nHost: x\r\nRange: bytes=" + long + "\r\n\r\n": 416,
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n":                                                   200, // net/http's own
		"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n":                                     405,
		"get " + athenstest.ModPath + " HTTP/1.1\r\nHost: x\r\n\r\n":                              405,
		"GET " + athenstest.ModPath + "?go-get=1#x HTTP/1.1\r\nHost: x\r\n\r\n":                   200,
	} {
		name := request[:min(len(request), 60)]
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
		_, err = io.WriteString(conn, request)
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err, "%q", name)
		assert.Equal(t, want, resp.StatusCode, "%q", name)
		if resp.Header.Get("Cache-Control") == "no-store" { // an error of the handler
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			assert.NoError(t, athenstest.CheckErrorText(string(body)), "%q", name)
		}
		require.NoError(t, conn.Close())
	}
	assert.Empty(t, up.Take())
}
