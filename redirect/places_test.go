package redirect

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestQueueEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces(1, 10*time.Second)
		require.NoError(t, p.take(t.Context()))
		begin := time.Now()
		require.ErrorIs(t, p.take(t.Context()), errBusy)
		require.Equal(t, 10*time.Second, time.Since(begin))
		time.AfterFunc(time.Second, p.leave)
		require.NoError(t, p.take(t.Context()))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, p.take(ctx), context.DeadlineExceeded)
	})
}
