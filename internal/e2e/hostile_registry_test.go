package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/internal/athenstest"
)

// busyHosts are hosts without a module, that never answer or say 404. They count the
// requests that are under way.
type busyHosts struct {
	hangs bool

	mu        sync.Mutex
	now, peak map[string]int // by host; "" is all of them
	asked     int
}

func (b *busyHosts) count(host string, d int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, h := range []string{host, ""} {
		b.now[h] += d
		b.peak[h] = max(b.peak[h], b.now[h])
	}
	b.asked += max(d, 0)
}

func (b *busyHosts) RoundTrip(r *http.Request) (*http.Response, error) {
	host := r.URL.Hostname()
	b.count(host, 1)
	defer b.count(host, -1)
	if b.hangs && strings.HasSuffix(host, "evil.test") {
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	}
	time.Sleep(100 * time.Millisecond)
	return &http.Response{StatusCode: http.StatusNotFound, Body: io.NopCloser(strings.NewReader("no")), Header: http.Header{}, Request: r}, nil
}

// Each made-up name costs a registry a look-up at a host of the client's choosing: no
// host is asked more at once than it may be, who finds all places taken is told to come
// again, others are answered meanwhile, and nothing is left of it on disk.
func TestFloodAtARegistry(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			hosts := &busyHosts{hangs: hangs, now: map[string]int{}, peak: map[string]int{}}
			git, err := fetcher.New(t.TempDir(), &fetcher.Options{Transport: hosts, Netrc: "none", GitConfig: "none", SSHDir: "none"})
			require.NoError(t, err)
			store := athenstest.NewStore(t)
			h, err := athens.NewHandler(store, &athens.Options{Fetcher: git, AnswerCacheBytes: 64 << 10})
			require.NoError(t, err)
			const clients = 1000
			statuses := make([]int, clients)
			var waiting sync.WaitGroup
			for i := range clients {
				file := []string{"@v/list", "@latest", "@v/v1.0.0.zip", "@v/v1.0.0.info", "@v/main.info"}[i%5]
				waiting.Go(func() {
					w, _ := athenstest.Ask(t.Context(), h, fmt.Sprintf("/evil.test/m%d/%s", i, file))
					if statuses[i] = w.Code; w.Code != http.StatusNotFound {
						assert.NotEmpty(t, w.Header().Get("Retry-After"), w.Body)
					}
				})
			}
			synctest.Wait()
			began := time.Now()
			w, _ := athenstest.Ask(t.Context(), h, "/good.test/m/@v/list")
			assert.Equal(t, http.StatusNotFound, w.Code, "another host: %s", w.Body)
			assert.Less(t, time.Since(began), 2*time.Second)
			waiting.Wait()
			counts := map[int]int{}
			for _, status := range statuses {
				counts[status]++
			}
			t.Logf("hangs %v: %v in %v, %d requests", hangs, counts, time.Since(began), hosts.asked)
			if hangs {
				assert.Zero(t, counts[http.StatusNotFound], "an outage")
				assert.Equal(t, clients, counts[http.StatusServiceUnavailable]+counts[http.StatusGatewayTimeout])
			} else {
				assert.Equal(t, clients, counts[http.StatusNotFound]+counts[http.StatusServiceUnavailable])
			}
			assert.LessOrEqual(t, time.Since(began), 3*time.Minute)
			assert.LessOrEqual(t, hosts.peak["evil.test"], 16)
			assert.LessOrEqual(t, hosts.asked, 5*clients)
			require.NoError(t, h.Shutdown(t.Context()))
			require.NoError(t, git.Close())
			assert.Zero(t, store.Count("put")+store.Count("stages"))
		})
	}
}
