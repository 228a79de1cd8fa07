package server

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

// How much of a log waits, and how long: a system call a line would be a
// twentieth of what a warm answer costs.
const (
	logBatch = 32 << 10 // bytes
	logDelay = 100 * time.Millisecond
)

// Logger returns a log of text lines on w, and what writes down the lines that
// wait. Lines below a warning may wait for a tenth of a second, and are lost if
// the process is killed meanwhile.
func Logger(w io.Writer) (log *slog.Logger, flush func()) {
	b := &batch{w: w}
	return slog.New(prompt{slog.NewTextHandler(b, nil), b}), b.flush
}

// batch writes several lines at once.
type batch struct {
	w io.Writer

	mu      sync.Mutex
	lines   []byte
	waiting bool // a flush is on its way
}

func (b *batch) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line...)
	if len(b.lines) >= logBatch {
		b.write()
	} else if !b.waiting {
		b.waiting = true
		time.AfterFunc(logDelay, b.flush)
	}
	return len(line), nil
}

func (b *batch) flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = false
	b.write()
}

// write writes what waits; the caller holds b.mu. That a log can't be written
// has no place where it could be said.
func (b *batch) write() {
	if len(b.lines) > 0 {
		_, _ = b.w.Write(b.lines)
		b.lines = b.lines[:0]
	}
}

// prompt lets nothing wait that an operator should see at once.
type prompt struct {
	slog.Handler
	out *batch
}

func (p prompt) Handle(ctx context.Context, r slog.Record) error {
	err := p.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		p.out.flush()
	}
	return err
}

func (p prompt) WithAttrs(attrs []slog.Attr) slog.Handler {
	return prompt{p.Handler.WithAttrs(attrs), p.out}
}

func (p prompt) WithGroup(name string) slog.Handler {
	return prompt{p.Handler.WithGroup(name), p.out}
}
