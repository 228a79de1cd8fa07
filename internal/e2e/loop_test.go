package e2e_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/redirect"
	"github.com/athens-go/athens/storage"
)

// startRing starts servers that ask each the next one, and the last one the first. It
// is through[i] whether the i-th fetches or redirects.
func startRing(t *testing.T, through ...bool) ([]*athens.Handler, []string) {
	handlers := make([]*athens.Handler, len(through))
	urls := make([]string, len(through))
	for i := range through {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handlers[i].ServeHTTP(w, r) }))
		t.Cleanup(server.Close)
		urls[i] = server.URL
	}
	for i := range through {
		up, err := redirect.New(urls[(i+1)%len(urls)], &redirect.Options{Tries: 1})
		require.NoError(t, err)
		handlers[i], err = athens.NewHandler(storage.NewMemory(), &athens.Options{Upstream: up, MissFetch: through[i]})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, handlers[i].Shutdown(context.Background())) })
	}
	return handlers, urls
}

// Servers that ask each other notice it at once, also when each has a client of
// its own at the same time: neither may wait for the other's flight.
func TestServersInACircle(t *testing.T) {
	for name, through := range map[string][]bool{
		"itself":            {true},
		"both fetch":        {true, true},
		"one redirects":     {true, false},
		"both redirect":     {false, false},
		"three, in a chain": {true, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			handlers, urls := startRing(t, through...)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a hang is 10 minutes
			defer cancel()
			var wg sync.WaitGroup
			for i, base := range urls {
				for _, p := range []string{athenstest.InfoPath, athenstest.ModPath, athenstest.ZipPath, athenstest.ListPath, athenstest.LatestPath, athenstest.QueryPath, "/sumdb/sum.test/latest"} {
					wg.Go(func() { askAround(t, ctx, base+p, through[i]) })
				}
				wg.Go(func() {
					err := handlers[i].Fill(ctx, athens.Fill{Module: athenstest.Example, Zip: true})
					assert.ErrorContains(t, err, "proxy loop")
				})
			}
			wg.Wait()
			require.NoError(t, ctx.Err())
		})
	}
}

// askAround asks a server of a ring. A file of one that redirects leads a client
// around, which gives up by itself.
func askAround(t *testing.T, ctx context.Context, target string, through bool) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if !assert.NoError(t, err) {
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		assert.False(t, through, target)
		assert.ErrorContains(t, err, "stopped after 10 redirects")
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	assert.NoError(t, err)
	assert.Equal(t, http.StatusBadGateway, resp.StatusCode, "%s: %s", target, body)
	assert.Contains(t, string(body), "proxy loop", target)
	assert.Empty(t, resp.Header.Get("Retry-After"))
	assert.NoError(t, athenstest.CheckErrorText(string(body)), target)
}
