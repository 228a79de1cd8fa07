package serve

import (
	"io"
	"log/slog"
	"sync"
	"time"
)

// LogOptions configures [NewLogger]. Its zero value writes text of the level Info and
// above.
type LogOptions struct {
	// JSON makes each line a JSON object. False means key=value text.
	JSON bool
	// Level is the lowest level that is written. If it is nil, it is slog.LevelInfo.
	Level slog.Leveler
}

// NewLogger returns a logger on w, and a function that writes the lines that wait. A
// nil opts means the zero [LogOptions].
//
// The lines are those of [slog.TextHandler] or [slog.JSONHandler], byte for byte, but
// cost less: many are written with one system call, and a line of plain values is
// formatted without an allocation. Warnings and errors are written at once, with
// everything before them. Other lines wait for a tenth of a second at most, and are lost
// if the process is killed meanwhile.
//
// Warnings and errors of one cause are written once and then counted: a minute later the
// last of them is written with the attribute "repeated", how many there were since. One
// cause is one message with one text under "error", in which names of modules, versions,
// paths in URLs and long numbers do not count; of errors, as opposed to warnings, the
// module and version count as well.
func NewLogger(w io.Writer, opts *LogOptions) (log *slog.Logger, flush func()) {
	var o LogOptions
	if opts != nil {
		o = *opts
	}
	if o.Level == nil {
		o.Level = slog.LevelInfo
	}
	b := &batch{w: w}
	c := &repeats{seen: make(map[cause]*written)}
	h := &lines{out: b, repeats: c, level: o.Level, json: o.JSON}
	if o.JSON {
		h.other = slog.NewJSONHandler(b, &slog.HandlerOptions{Level: o.Level})
	} else {
		h.other = slog.NewTextHandler(b, &slog.HandlerOptions{Level: o.Level})
	}
	return slog.New(h), func() {
		c.report()
		b.flush()
	}
}

// How much of a log waits, and how long. A system call for each line would take a
// twentieth of the time of a warm answer.
const (
	logBatch = 32 << 10 // bytes
	logDelay = 100 * time.Millisecond
)

// batch writes several lines at once.
type batch struct {
	w       io.Writer
	buffers sync.Pool // of *[]byte, for lines while they are formatted

	mu      sync.Mutex
	lines   []byte
	timer   *time.Timer // calls flush; made with the first line
	waiting bool        // a flush is scheduled
}

func (b *batch) buffer() *[]byte {
	if line, ok := b.buffers.Get().(*[]byte); ok {
		return line
	}
	line := make([]byte, 0, 1<<10)
	return &line
}

func (b *batch) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line...)
	switch {
	case len(b.lines) >= logBatch:
		b.write()
	case b.waiting:
	case b.timer == nil:
		b.waiting, b.timer = true, time.AfterFunc(logDelay, b.flush)
	default:
		b.waiting = true
		b.timer.Reset(logDelay)
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
