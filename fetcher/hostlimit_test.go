package fetcher

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
)

func TestPlacesOfAHangingHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newHostLimiter(4)
		hanging, end := context.WithCancel(t.Context())
		busy, began := 0, time.Now()
		results := make(chan error)
		for range 40 {
			go func() {
				release, err := p.acquire(t.Context(), "hanging.test")
				if err == nil {
					<-hanging.Done()
					release()
				}
				results <- err
			}()
		}
		synctest.Wait()
		release, err := p.acquire(t.Context(), "other.test")
		require.NoError(t, err)
		assert.Zero(t, time.Since(began), "another host waits for nobody")
		release()
		for range 36 {
			var outage *athens.UnavailableError
			require.ErrorAs(t, <-results, &outage)
			assert.Equal(t, retryAfter, outage.RetryAfter)
			busy++
		}
		assert.Equal(t, queueTime, time.Since(began))
		end()
		for range 4 {
			assert.NoError(t, <-results)
		}
		assert.Equal(t, 36, busy)
		assert.Zero(t, p.Len())
	})
}

func TestPlacesOfAllHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newHostLimiter(1)
		var releases []func()
		for i := range manyHosts {
			release, err := p.acquire(t.Context(), fmt.Sprint(i))
			require.NoError(t, err)
			releases = append(releases, release)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := p.acquire(ctx, "one more")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		releases[0]()
		release, err := p.acquire(t.Context(), "one more")
		require.NoError(t, err)
		release()
		for _, release := range releases[1:] {
			release()
		}
		assert.Zero(t, p.Len())
	})
}
