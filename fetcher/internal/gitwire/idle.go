package gitwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// An idleTimer cancels a conversation if the server sends nothing for too long.
type idleTimer struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	idle   time.Duration
	timer  *time.Timer // nil without a limit
	heard  bool
}

// newIdleTimer starts the timer for the first byte.
func newIdleTimer(ctx context.Context, limits Limits) (context.Context, *idleTimer) {
	p := &idleTimer{idle: limits.Idle}
	ctx, p.cancel = context.WithCancelCause(ctx)
	p.ctx = ctx
	if limits.FirstByte > 0 {
		p.timer = time.AfterFunc(limits.FirstByte, func() { p.cancel(silentFor(limits.FirstByte)) })
	}
	return ctx, p
}

func silentFor(d time.Duration) error { return fmt.Errorf("%w for %v", ErrSilent, d) }

// end releases the timer.
func (p *idleTimer) end() {
	if p.timer != nil {
		p.timer.Stop()
	}
	p.cancel(context.Canceled)
}

// explain returns the cause of an error that is due to the timer or the context.
func (p *idleTimer) explain(err error) error {
	if cause := context.Cause(p.ctx); errors.Is(cause, ErrSilent) || cause != nil && errors.Is(err, context.Canceled) {
		return cause
	}
	if err != nil && p.ctx.Err() != nil && !errors.Is(err, context.Cause(p.ctx)) {
		return errors.Join(context.Cause(p.ctx), err)
	}
	return err
}

// wait starts the timer for the next byte. The returned function stops it.
func (p *idleTimer) wait() (got func()) {
	if !p.heard || p.idle <= 0 {
		return func() {}
	}
	timer := time.AfterFunc(p.idle, func() { p.cancel(silentFor(p.idle)) })
	return func() { timer.Stop() }
}

const (
	// minRate is how many bytes of a pack a second a server sends at least, on average
	// over the time that it may be idle.
	minRate = 1 << 10
	// A server may take so many times the time that it may be idle to prepare a pack,
	// as long as it shows now and then that it does.
	preparing = 10
)

func tooSlow() error {
	return fmt.Errorf("%w, but for fewer than %d bytes a second", ErrSilent, minRate)
}

// prepare bounds the time until done is called.
func (p *idleTimer) prepare() (done func()) {
	if p.idle <= 0 {
		return func() {}
	}
	timer := time.AfterFunc(preparing*p.idle, func() { p.cancel(tooSlow()) })
	return func() { timer.Stop() }
}

// paced returns a reader of r, a pack, that fails if the pack trickles: waiting uses up
// the time that a server has left, and each byte adds to it, up to the idle limit.
func (p *idleTimer) paced(r io.Reader) io.Reader {
	if p.idle <= 0 {
		return r
	}
	left := preparing * p.idle
	return readFunc(func(b []byte) (int, error) {
		timer := time.AfterFunc(left, func() { p.cancel(tooSlow()) })
		start := time.Now()
		n, err := r.Read(b)
		timer.Stop()
		left -= time.Since(start)
		if n > 0 {
			left = min(p.idle, left+time.Duration(n)*time.Second/minRate)
		}
		return n, err
	})
}

// reader returns r, which waits for bytes as long as the limits allow, and of which at
// most that many bytes can be read; zero means any number.
func (p *idleTimer) reader(r io.Reader, most int64, what string) *meter {
	m := &meter{r: readFunc(func(b []byte) (int, error) {
		if p.ctx.Err() != nil {
			return 0, context.Cause(p.ctx)
		}
		got := p.wait() // for bytes only: the reader may be slow
		n, err := r.Read(b)
		got()
		if n > 0 && !p.heard {
			p.heard = true
			if p.timer != nil {
				p.timer.Stop()
			}
		}
		return n, err
	})}
	m.limit(most, what)
	return m
}

// A meter is a reader that fails when its limit of bytes is exceeded.
type meter struct {
	r    io.Reader
	left int64
	what string
}

func (m *meter) limit(most int64, what string) {
	if most == 0 {
		most = 1<<63 - 1
	}
	m.left, m.what = most, what
}

func (m *meter) Read(b []byte) (int, error) {
	n, err := m.r.Read(b)
	if m.left -= int64(n); m.left < 0 {
		return 0, &TooLarge{m.what}
	}
	return n, err
}
