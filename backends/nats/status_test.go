package nats_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/nats"
)

func (w *worker) status() (s struct {
	Pending, Running, Done, Failed []map[string]any
	Counts                         map[string]int
}) {
	w.t.Helper()
	st, err := w.Status(w.t.Context())
	require.NoError(w.t, err)
	b, err := json.Marshal(st)
	require.NoError(w.t, err)
	require.NoError(w.t, json.Unmarshal(b, &s))
	return s
}

// The status is that of fill.Queue, in its JSON too.
func TestStatus(t *testing.T) {
	t.Parallel()
	w := newWorker(t, inProcess(t), &nats.Options{MinRetryDelay: time.Hour, MaxRetryDelay: time.Hour, Recent: 3, LeaseTimeout: lease})
	s := w.status()
	require.NotNil(t, s.Pending)
	require.NotNil(t, s.Running)
	require.NotNil(t, s.Done)
	require.NotNil(t, s.Failed)
	hold := make(chan struct{})
	w.run(func(_ context.Context, f athens.Fill) error {
		switch f {
		case small(1):
			return &athens.UnavailableError{Source: "vcs", Err: errors.New("down")}
		case small(2):
			return &athens.BlockedError{Path: f.Module.Path, Version: f.Module.Version, Reason: strings.Repeat("policy ", 1000)}
		case small(3):
			panic("oh")
		case whole(4):
			<-hold
		}
		return nil
	})
	defer close(hold)
	w.schedule(0, small(1), small(2), small(3), whole(4), small(5))
	w.schedule(time.Hour, small(6), small(7))
	eventually(t, "each fill has its final state", func() bool {
		s = w.status()
		c := s.Counts
		return c["pending"] == 4 && c["running"] == 1 && c["failed"] == 1 && c["done"] == 1 &&
			slices.ContainsFunc(s.Pending, func(e map[string]any) bool { return e["reason"] != nil })
	})
	require.Len(t, s.Pending, 3, "as Recent says")
	reasons := ""
	for _, e := range s.Pending {
		assert.NotEmpty(t, e["due"])
		assert.NotEmpty(t, e["scheduled"])
		if e["reason"] != nil {
			assert.EqualValues(t, 1, e["attempts"])
			reasons += e["reason"].(string) + "\n"
		}
	}
	assert.True(t, strings.Contains(reasons, "vcs is unavailable: down") || strings.Contains(reasons, "panic: oh"), reasons)
	assert.Equal(t, "example.com/mod4", s.Running[0]["module"])
	assert.Equal(t, true, s.Running[0]["zip"])
	assert.Equal(t, "example.com/mod5", s.Done[0]["module"])
	assert.Equal(t, "example.com/mod2", s.Failed[0]["module"])
	assert.Contains(t, s.Failed[0]["reason"], "policy")
	assert.Less(t, len(s.Failed[0]["reason"].(string)), 600)
	assert.EqualValues(t, 1, s.Failed[0]["attempts"])
	assert.NotEmpty(t, s.Failed[0]["ended"])
}

// Every process sees a failure until its version is filled or too many others have
// failed since.
func TestFailures(t *testing.T) {
	t.Parallel()
	js := inProcess(t)
	opts := &nats.Options{Failed: 5, LeaseTimeout: lease, RequestTimeout: patience}
	other := newWorker(t, js, opts)
	broken := true
	w := newWorker(t, js, opts).run(func(_ context.Context, f athens.Fill) error {
		if broken {
			return &athens.InvalidError{Path: f.Module.Path, Version: f.Module.Version, Err: errors.New("a broken zip")}
		}
		return nil
	})
	for n := range 8 {
		w.schedule(0, whole(n))
		w.idle()
	}
	s := other.status()
	require.Len(t, s.Failed, 5)
	assert.Equal(t, "example.com/mod7", s.Failed[0]["module"], "the latest first")
	assert.Equal(t, "example.com/mod3", s.Failed[4]["module"])
	w.stop()
	broken = false
	other.schedule(0, whole(5)) // the next miss
	other.run(nil).idle()
	eventually(t, "it is filled", func() bool { return other.status().Counts["failed"] == 4 })
	for _, e := range other.status().Failed {
		assert.NotEqual(t, "example.com/mod5", e["module"])
	}
}

// After GiveUpAfter, a fill is not tried again whatever its error.
func TestGiveUp(t *testing.T) {
	t.Parallel()
	// A machine that is busy tries less often, so it has more time then.
	for after := 300 * time.Millisecond; !givesUp(t, after); after *= 4 {
		require.Less(t, after, time.Minute, "it gave up after two attempts each time")
	}
}

// givesUp wants a fill to be given up, and reports whether it was tried more than twice.
func givesUp(t *testing.T, after time.Duration) bool {
	opts := &nats.Options{MinRetryDelay: 20 * time.Millisecond, MaxRetryDelay: 20 * time.Millisecond, GiveUpAfter: after, LeaseTimeout: lease}
	w := newWorker(t, inProcess(t), opts)
	w.run(func(context.Context, athens.Fill) error { return errors.New("down for good") })
	w.schedule(0, whole(1))
	w.idle()
	s := w.status()
	require.Len(t, s.Failed, 1)
	assert.Equal(t, "down for good", s.Failed[0]["reason"])
	assert.EqualValues(t, w.count(whole(1)), s.Failed[0]["attempts"])
	return w.count(whole(1)) > 2
}
