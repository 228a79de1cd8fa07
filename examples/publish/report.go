package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// report says how far the upload is: in one line that changes on a terminal, otherwise in a
// line from time to time.
type report struct {
	w        io.Writer
	terminal bool
	every    time.Duration

	mu   sync.Mutex // a refused upload may still be read
	open bool       // the last line has no end yet
}

func newReport(w io.Writer) *report {
	r := &report{w: w, every: 10 * time.Second}
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			r.terminal, r.every = true, 100*time.Millisecond
		}
	}
	return r
}

// line writes a line.
func (r *report) line(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open {
		fmt.Fprintln(r.w)
		r.open = false
	}
	fmt.Fprintf(r.w, "publish: "+format+"\n", args...)
}

// progress returns a reader of size bytes that reports how many of them were read.
func (r *report) progress(from io.Reader, size int64) io.Reader {
	return &reported{r: r, from: from, size: size, said: time.Now()}
}

type reported struct {
	r          *report
	from       io.Reader
	read, size int64
	said       time.Time
}

func (p *reported) Read(b []byte) (int, error) {
	n, err := p.from.Read(b)
	p.read += int64(n)
	if now := time.Now(); now.Sub(p.said) >= p.r.every {
		p.said = now
		p.r.sent(p.read, p.size)
	}
	return n, err
}

// sent says how many bytes were sent.
func (r *report) sent(n, size int64) {
	percent := 100 * n / max(size, 1)
	if !r.terminal {
		r.line("sent %d of %d bytes, %d%%", n, size, percent)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.w, "\rpublish: sent %d of %d bytes, %d%%", n, size, percent)
	r.open = true
}
