package backoff

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"

	"github.com/athens-go/athens"
)

func TestBackoffDoublesUpToItsCap(t *testing.T) {
	o := Policy{Min: time.Second, Max: time.Minute}
	want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60}
	for i := range want {
		assert.Equal(t, want[i]*time.Second, o.Base(i+1), "after run %d", i+1)
	}
	assert.Equal(t, time.Minute, o.Base(math.MaxInt))

	// Doubling must not overflow.
	o = Policy{Min: math.MaxInt64/2 + 1, Max: math.MaxInt64}
	assert.Equal(t, o.Max, o.Base(1000))
}

func TestWaitIsSpreadWithinItsBounds(t *testing.T) {
	o := Policy{Min: time.Second, Max: time.Minute}
	seen := map[time.Duration]bool{}
	for range 200 {
		wait := o.Wait(4, errors.New("down"))
		assert.GreaterOrEqual(t, wait, 4*time.Second)
		assert.LessOrEqual(t, wait, 8*time.Second)
		seen[wait] = true
	}
	assert.Greater(t, len(seen), 100, "waits that are all the same come back together")

	o = Policy{Min: 1, Max: 1}
	assert.LessOrEqual(t, o.Wait(1, errors.New("down")), time.Duration(1))
}

func TestWaitHeedsRetryAfter(t *testing.T) {
	o := Policy{Min: time.Second, Max: time.Minute}
	down := func(after time.Duration) error {
		return fmt.Errorf("filling: %w", &athens.UnavailableError{Source: "registry", RetryAfter: after, Err: errors.New("503")})
	}
	assert.Equal(t, 30*time.Second, o.Wait(1, down(30*time.Second)))
	assert.Equal(t, time.Minute, o.Wait(1, down(24*time.Hour)), "no longer than RetryMax")
	assert.GreaterOrEqual(t, o.Wait(7, down(time.Second)), 30*time.Second, "no sooner than without it")
	assert.Positive(t, o.Wait(1, down(-time.Hour)))
}

func TestReasonIsShortAndText(t *testing.T) {
	assert.Equal(t, "why", Reason(errors.New("why")))
	got := Reason(errors.New("a" + strings.Repeat("é", 10_000)))
	assert.LessOrEqual(t, len(got), MaxReason+len(Cut))
	assert.True(t, utf8.ValidString(got))
	assert.Equal(t, "a?b", Reason(errors.New("a\xff\xfeb")))
	assert.True(t, utf8.ValidString(Reason(errors.New(strings.Repeat("\xff", 10_000)))))
}
