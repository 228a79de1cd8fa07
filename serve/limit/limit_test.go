package limit_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve/limit"
)

var ok = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

// ask sends one request from an address, or as a user.
func ask(h http.Handler, from string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/example.com/m/@v/list", nil)
	if user, is := strings.CutPrefix(from, "user "); is {
		r = r.WithContext((&athens.RequestInfo{User: user}).Context(r.Context()))
	} else {
		r.RemoteAddr = from
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func newLimiter(t testing.TB, opts *limit.Options) *limit.Limiter {
	l, err := limit.New(opts)
	require.NoError(t, err)
	return l
}

func TestRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLimiter(t, &limit.Options{RequestsPerSecond: 2, RequestBurst: 3}).Requests(ok)
		for range 3 {
			require.Equal(t, 200, ask(h, "192.0.2.1:1000").Code)
		}
		w := ask(h, "192.0.2.1:2000") // another connection is the same client
		assert.Equal(t, 429, w.Code)
		assert.Equal(t, "1", w.Header().Get("Retry-After"))
		assert.Equal(t, "this server allows each client 2 requests a second (limit-requests); try again later\n", w.Body.String())
		assert.Equal(t, 200, ask(h, "192.0.2.2:1000").Code, "another client")
		time.Sleep(500 * time.Millisecond)
		assert.Equal(t, 200, ask(h, "192.0.2.1:1000").Code)
		assert.Equal(t, 429, ask(h, "192.0.2.1:1000").Code)
		r := httptest.NewRequest(http.MethodGet, "/healthz", nil)
		r.RemoteAddr = "192.0.2.1:1000"
		w = httptest.NewRecorder()
		h.ServeHTTP(w, r)
		assert.Equal(t, 200, w.Code, "a probe")
	})
}

// One customer has a /64 of IPv6; a user is the same client wherever the request came from,
// and no other one behind the same address.
func TestClients(t *testing.T) {
	for name, c := range map[string]struct{ first, same, other string }{
		"port":    {"192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"},
		"mapped":  {"[::ffff:192.0.2.1]:1", "192.0.2.1:1", "192.0.2.2:1"},
		"network": {"[2001:db8:0:1::1]:1", "[2001:db8:0:1:ffff::2]:1", "[2001:db8:0:2::1]:1"},
		"zone":    {"[fe80::1%eth0]:1", "[fe80::1%eth1]:1", "192.0.2.1:1"},
		"no port": {"192.0.2.1", "192.0.2.1:2", "192.0.2.2"},
		"socket":  {"@", "", "192.0.2.1:1"},
		"user":    {"user ci", "user ci", "user dev"},
		"long":    {"user " + strings.Repeat("x", 1000), "user " + strings.Repeat("x", 1000), "user " + strings.Repeat("x", 999)},
	} {
		h := newLimiter(t, &limit.Options{RequestsPerSecond: 0.001}).Requests(ok)
		assert.Equal(t, 200, ask(h, c.first).Code, name)
		assert.Equal(t, 429, ask(h, c.same).Code, name)
		assert.Equal(t, 200, ask(h, c.other).Code, name)
	}
}

func TestFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, &limit.Options{FetchesPerMinute: 2})
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		require.NoError(t, l.AllowFetch(r, module.Version{}))
		require.NoError(t, l.AllowFetch(r, module.Version{}))
		err := l.AllowFetch(r, module.Version{})
		var limited *athens.RefusedError
		require.ErrorAs(t, err, &limited)
		assert.Equal(t, 30*time.Second, limited.RetryAfter.Round(time.Second))
		assert.Contains(t, limited.Reason, "2 fetches a minute (limit-fetches)")
		assert.Equal(t, 200, ask(l.Requests(ok), "192.0.2.1:1").Code, "requests are not limited")
		time.Sleep(30 * time.Second)
		require.NoError(t, l.AllowFetch(r, module.Version{}))
	})
	require.NoError(t, newLimiter(t, nil).AllowFetch(httptest.NewRequest(http.MethodGet, "/", nil), module.Version{}))
}

// address returns the n-th address of a flood, each in a network of its own.
func address(n int) string {
	b := netip.MustParseAddr("2001:db8::1").As16()
	binary.BigEndian.PutUint32(b[4:], uint32(n))
	return netip.AddrPortFrom(netip.AddrFrom16(b), 1).String()
}

// A flood of addresses takes no more memory than MaxClientBytes, forgets no client that is
// at its limit, also one that is silent meanwhile, and keeps out no new one.
func TestFlood(t *testing.T) {
	const most = 1 << 20
	synctest.Test(t, func(t *testing.T) {
		h := newLimiter(t, &limit.Options{RequestsPerSecond: 1, RequestBurst: 100, FetchesPerMinute: 1, MaxClientBytes: most}).Requests(ok)
		for range 100 {
			require.Equal(t, 200, ask(h, "192.0.2.1:1").Code)
		}
		require.Equal(t, 429, ask(h, "192.0.2.1:1").Code)
		heap := func() int64 {
			for range 3 {
				runtime.GC()
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		before := heap()
		for n := range 6_000 {
			require.Equal(t, 200, ask(h, address(n)).Code)
		}
		assert.Less(t, heap()-before, int64(most)*5/4)
		assert.Equal(t, 429, ask(h, "192.0.2.1:1").Code, "the busy client is remembered")
		assert.Equal(t, 200, ask(h, "192.0.2.2:1").Code, "a new client comes in")
		time.Sleep(100 * time.Second)
		assert.Equal(t, 200, ask(h, "192.0.2.1:1").Code)
		runtime.KeepAlive(h)
	})
}

// The log has a client that is at its limit once a minute.
func TestLimitsAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		h := newLimiter(t, &limit.Options{RequestsPerSecond: 0.01, Logger: newLog(&log)}).Requests(ok)
		for range 100 {
			ask(h, "192.0.2.1:1")
		}
		assert.Equal(t, 1, strings.Count(log.String(), "client=192.0.2.1"), log.String())
		time.Sleep(time.Minute)
		ask(h, "192.0.2.1:1")
		assert.Equal(t, 2, strings.Count(log.String(), "client=192.0.2.1"), log.String())
	})
}

func TestBadOptions(t *testing.T) {
	for _, opts := range []limit.Options{
		{RequestsPerSecond: -1}, {RequestsPerSecond: math.NaN()}, {FetchesPerMinute: math.Inf(1)},
		{RequestBurst: -1}, {FetchBurst: -1}, {MaxClientBytes: -1},
	} {
		_, err := limit.New(&opts)
		assert.ErrorContains(t, err, "limit: ", fmt.Sprintf("%+v", opts))
	}
}

func BenchmarkRequests(b *testing.B) {
	h := newLimiter(b, &limit.Options{RequestsPerSecond: 1e9, FetchesPerMinute: 1}).Requests(ok)
	r := httptest.NewRequest(http.MethodGet, "/example.com/m/@v/list", nil)
	w := httptest.NewRecorder()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}
