package fill

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNewSaysWhatCantBeRight(t *testing.T) {
	for _, c := range []struct {
		opts Options
		want string
	}{
		{Options{Workers: -1}, "fill: Options.Workers is -1; it must not be negative"},
		{Options{Limit: -2}, "fill: Options.Limit is -2; it must not be negative"},
		{Options{Recent: -1}, "fill: Options.Recent is -1; it must not be negative"},
		{Options{Timeout: -time.Second}, "fill: Options.Timeout is -1s; it must not be negative"},
		{Options{MinRetryDelay: -time.Second}, "fill: Options.MinRetryDelay is -1s; it must not be negative"},
		{Options{GiveUpAfter: -time.Second}, "fill: Options.GiveUpAfter is -1s; it must not be negative"},
		{Options{MinRetryDelay: 2, MaxRetryDelay: 1}, "fill: Options.MaxRetryDelay is 1ns; it must be at least MinRetryDelay, which is 2ns"},
		{Options{MaxRetryDelay: 1}, "fill: Options.MaxRetryDelay is 1ns; it must be at least MinRetryDelay, which is 1s"},
	} {
		_, err := New(&c.opts)
		assert.EqualError(t, err, c.want)
	}
}

func TestZeroMeansDefault(t *testing.T) {
	q, err := New(nil)
	require.NoError(t, err)
	o := q.opts
	assert.Equal(t, []any{4, 10_000, 10 * time.Minute, 10 * time.Second, time.Second, time.Minute, 24 * time.Hour, 100},
		[]any{o.Workers, o.Limit, o.Timeout, o.GraceTimeout, o.MinRetryDelay, o.MaxRetryDelay, o.GiveUpAfter, o.Recent})

	q, err = New(&Options{MinRetryDelay: time.Hour, GraceTimeout: -1})
	require.NoError(t, err)
	assert.Equal(t, time.Hour, q.opts.MaxRetryDelay)
	assert.Zero(t, q.opts.GraceTimeout)
}
