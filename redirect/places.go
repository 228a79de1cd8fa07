package redirect

import (
	"context"
	"errors"
	"time"
)

// places bounds how many requests are under way at once, so that what hangs
// can't pile up without end.
type places struct {
	free chan struct{}
	wait time.Duration
}

// errBusy says that no place became free in time.
var errBusy = errors.New("too many requests to it are under way")

func newPlaces(n int, wait time.Duration) *places { return &places{make(chan struct{}, n), wait} }

// take waits for a place; leave gives it back.
func (p *places) take(ctx context.Context) error {
	select {
	case p.free <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(p.wait)
	defer timer.Stop()
	select {
	case p.free <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return errBusy
	}
}

func (p *places) leave() { <-p.free }
