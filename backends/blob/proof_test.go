package blob

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// Writes that end while a proof is under way share the next one, which begins after them
// all; a write that is alone makes its own.
func TestProofsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p proofs
		var made atomic.Int64
		prove := func() {
			var began time.Time
			ended := time.Now()
			assert.NoError(t, p.after(t.Context(), func() error {
				made.Add(1)
				began = time.Now()
				time.Sleep(time.Second)
				return nil
			}))
			assert.GreaterOrEqual(t, time.Since(ended), time.Second, "it began after the write")
			assert.LessOrEqual(t, time.Since(ended), 2*time.Second)
			assert.False(t, !began.IsZero() && began.Before(ended))
		}
		for range 3 {
			prove()
		}
		assert.EqualValues(t, 3, made.Swap(0))
		for i := range 100 {
			go func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				prove()
			}()
		}
		time.Sleep(time.Minute)
		assert.EqualValues(t, 2, made.Load())
		assert.Nil(t, p.running)
		assert.Nil(t, p.next)
	})
}

// A shared proof that shows the service to be without conditions fails all that wait for
// it; one that shows nothing is made anew by each.
func TestSharedProofFails(t *testing.T) {
	outage := errors.New("no answer")
	for _, c := range []struct {
		shared error
		want   error
	}{{errUnconditional, errUnconditional}, {outage, nil}, {context.Canceled, nil}} {
		synctest.Test(t, func(t *testing.T) {
			var p proofs
			slow := func(err error) func() error {
				return func() error { time.Sleep(time.Second); return err }
			}
			leader, leave := context.WithCancel(t.Context())
			go func() { assert.NoError(t, p.after(t.Context(), slow(nil))) }()
			synctest.Wait()
			go func() { assert.ErrorIs(t, p.after(leader, slow(c.shared)), c.shared) }()
			synctest.Wait()
			for range 5 {
				go func() { assert.ErrorIs(t, p.after(t.Context(), slow(nil)), c.want) }()
			}
			synctest.Wait()
			if c.shared == context.Canceled {
				leave()
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			leave()
			assert.Nil(t, p.running)
			assert.Nil(t, p.next)
		})
	}
}
