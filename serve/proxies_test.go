package serve_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/serve"
)

// A client's address comes from X-Forwarded-For only as far as trusted proxies wrote it.
func TestProxies(t *testing.T) {
	const trusted = "10.0.0.0/8, fd00::/8,192.0.2.7,unix"
	for _, c := range []struct{ list, peer, header, want string }{
		{"", "10.0.0.1:5", "203.0.113.9", "10.0.0.1:5"},
		{trusted, "192.0.2.8:5", "203.0.113.9", "192.0.2.8:5"},
		{trusted, "10.0.0.1:5", "", "10.0.0.1:5"},
		{trusted, "10.0.0.1:5", "203.0.113.9", "203.0.113.9:0"},
		{trusted, "[::ffff:10.0.0.1]:5", "203.0.113.9", "203.0.113.9:0"},
		{trusted, "[fd00::1]:5", "2001:db8::9", "[2001:db8::9]:0"},
		{trusted, "192.0.2.7:5", " 203.0.113.9 ", "203.0.113.9:0"},
		{trusted, "@", "203.0.113.9", "203.0.113.9:0"},
		{"10.0.0.0/8", "@", "203.0.113.9", "@"},
		{"::ffff:10.0.0.0/104", "10.0.0.1:5", "203.0.113.9", "203.0.113.9:0"},
		// What the client itself wrote is on the left.
		{trusted, "10.0.0.1:5", "198.51.100.1, 203.0.113.9", "203.0.113.9:0"},
		{trusted, "10.0.0.1:5", "198.51.100.1,203.0.113.9, 10.0.0.2", "203.0.113.9:0"},
		{trusted, "10.0.0.1:5", "198.51.100.1\n203.0.113.9\n10.0.0.2", "203.0.113.9:0"},
		{trusted, "10.0.0.1:5", "10.0.0.3,10.0.0.2", "10.0.0.3:0"},
		{trusted, "10.0.0.1:5", "198.51.100.1, nonsense, 10.0.0.2", "10.0.0.2:0"},
		{trusted, "10.0.0.1:5", "nonsense", "10.0.0.1:5"},
		{trusted, "10.0.0.1:5", "198.51.100.1,", "198.51.100.1:0"},
		{trusted, "10.0.0.1:5", "203.0.113.9:4711", "203.0.113.9:0"},
		{trusted, "10.0.0.1:5", "[2001:db8::9]:4711", "[2001:db8::9]:0"},
		{trusted, "10.0.0.1:5", "[2001:db8::9]", "[2001:db8::9]:0"},
		{trusted, "10.0.0.1:5", "::ffff:203.0.113.9", "203.0.113.9:0"},
		{trusted, "10.0.0.1:5", "fe80::9%eth0", "[fe80::9]:0"},
	} {
		proxies, err := serve.ParseProxies(c.list)
		require.NoError(t, err)
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = c.peer
		if c.header != "" {
			r.Header["X-Forwarded-For"] = strings.Split(c.header, "\n")
		}
		before := r.RemoteAddr
		proxies.Clients(http.HandlerFunc(func(_ http.ResponseWriter, got *http.Request) {
			assert.Equal(t, c.want, got.RemoteAddr, "%+v", c)
		})).ServeHTTP(nil, r)
		assert.Equal(t, before, r.RemoteAddr, "the server's own request stays as it is")
	}
}

// Only a trusted proxy may say that the client came by https.
func TestForwardedHeaders(t *testing.T) {
	proxies, err := serve.ParseProxies("10.0.0.1")
	require.NoError(t, err)
	for peer, want := range map[string]string{"10.0.0.1:5": "https", "10.0.0.2:5": ""} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = peer
		r.Header.Set("X-Forwarded-Proto", "https")
		r.Header.Set("Accept", "text/plain")
		proxies.Clients(http.HandlerFunc(func(_ http.ResponseWriter, got *http.Request) {
			assert.Equal(t, want, got.Header.Get("X-Forwarded-Proto"))
			assert.Equal(t, "text/plain", got.Header.Get("Accept"))
		})).ServeHTTP(nil, r)
		assert.Equal(t, "https", r.Header.Get("X-Forwarded-Proto"))
	}
}

func TestBadProxies(t *testing.T) {
	for _, list := range []string{"10.0.0.0/33", "example.com", "10.0.0", "fe80::1%eth0", "10.0.0.1:80"} {
		_, err := serve.ParseProxies(list)
		assert.ErrorContains(t, err, list)
	}
}
