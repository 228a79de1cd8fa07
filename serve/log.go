package serve

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

// How much of a log waits, and how long. A system call for each line would take a
// twentieth of the time of a warm answer.
const (
	logBatch = 32 << 10 // bytes
	logDelay = 100 * time.Millisecond
)

// NewLogger returns a logger of text lines on w that writes many lines with one system
// call, and a function that writes the lines that wait. Lines below a warning
// wait for a tenth of a second at most, and are lost if the process is killed meanwhile.
func NewLogger(w io.Writer) (log *slog.Logger, flush func()) {
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

// write writes what waits; the caller holds b.mu. If the log can't be written, there is
// nowhere to report it.
func (b *batch) write() {
	if len(b.lines) > 0 {
		_, _ = b.w.Write(b.lines)
		b.lines = b.lines[:0]
	}
}

// prompt flushes the batch for lines that an operator should see at once.
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
