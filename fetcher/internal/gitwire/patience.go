package gitwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// patience ends a conversation, by its context, when the server sends nothing for too
// long.
type patience struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	idle   time.Duration
	timer  *time.Timer // nil without a limit
	heard  bool
}

// newPatience begins to wait for the first byte.
func newPatience(ctx context.Context, limits Limits) (context.Context, *patience) {
	p := &patience{idle: limits.Idle}
	ctx, p.cancel = context.WithCancelCause(ctx)
	p.ctx = ctx
	if limits.FirstByte > 0 {
		p.timer = time.AfterFunc(limits.FirstByte, func() { p.cancel(silence(limits.FirstByte)) })
	}
	return ctx, p
}

func silence(d time.Duration) error { return fmt.Errorf("%w for %v", ErrSilent, d) }

// end frees what waiting takes.
func (p *patience) end() {
	if p.timer != nil {
		p.timer.Stop()
	}
	p.cancel(context.Canceled)
}

// explain returns why waiting ended, where that is what caused an error.
func (p *patience) explain(err error) error {
	if cause := context.Cause(p.ctx); errors.Is(cause, ErrSilent) || cause != nil && errors.Is(err, context.Canceled) {
		return cause
	}
	if err != nil && p.ctx.Err() != nil && !errors.Is(err, context.Cause(p.ctx)) {
		return errors.Join(context.Cause(p.ctx), err)
	}
	return err
}

// wait begins to wait for a byte. It ends when the function that it returns is called.
func (p *patience) wait() (got func()) {
	if !p.heard || p.idle <= 0 {
		return func() {}
	}
	timer := time.AfterFunc(p.idle, func() { p.cancel(silence(p.idle)) })
	return func() { timer.Stop() }
}

// reader returns r, which waits for bytes as long as the limits allow, and of which at
// most that many bytes can be read; zero means any number.
func (p *patience) reader(r io.Reader, most int64, what string) *meter {
	m := &meter{r: readFunc(func(b []byte) (int, error) {
		if p.ctx.Err() != nil {
			return 0, context.Cause(p.ctx)
		}
		got := p.wait() // for bytes only: whoever reads may take its time
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

// A meter is a reader that fails where there are more bytes than are left.
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
