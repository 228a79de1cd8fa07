package storetool

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// progressEvery is how long nothing is said of the progress where there is no terminal.
const progressEvery = 5 * time.Second

// meter shows how far a command has come: a bar on a terminal, otherwise a line now and then.
type meter struct {
	name     string // of the command
	w        io.Writer
	terminal bool

	mu          sync.Mutex
	began, last time.Time
	shown       bool // there is a bar on the terminal
}

// newMeter writes to w.
func newMeter(name string, w io.Writer) *meter {
	return &meter{name: name, w: w, terminal: isTerminal(w), began: time.Now(), last: time.Now()}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// show says that so many things of so many are done, and so many bytes of so many. What is not
// known is 0.
func (m *meter) show(what string, done, of int, bytes, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	every := progressEvery
	if m.terminal {
		every = time.Second / 5
	}
	now := time.Now()
	if now.Sub(m.last) < every {
		return
	}
	m.last = now
	line := progressLine(what, done, of, bytes, total, now.Sub(m.began))
	if m.terminal {
		m.shown = true
		fmt.Fprintf(m.w, "\r\x1b[K%s: %s", m.name, line)
		return
	}
	fmt.Fprintf(m.w, "%s: %s\n", m.name, line)
}

// end takes the bar away.
func (m *meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shown {
		fmt.Fprint(m.w, "\r\x1b[K")
		m.shown = false
	}
}

// progressLine is the text of a bar.
func progressLine(what string, done, of int, bytes, total int64, took time.Duration) string {
	var b strings.Builder
	share := 0.0
	switch {
	case total > 0:
		share = float64(bytes) / float64(total)
	case of > 0:
		share = float64(done) / float64(of)
	}
	if share > 0 {
		const width = 20
		full := min(int(share*width), width)
		fmt.Fprintf(&b, "[%s%s] %3.0f%% ", strings.Repeat("#", full), strings.Repeat(".", width-full), min(share, 1)*100)
	}
	fmt.Fprintf(&b, "%d", done)
	if of > 0 {
		fmt.Fprintf(&b, " of %d", of)
	}
	fmt.Fprintf(&b, " %s, %s", what, size(bytes))
	if seconds := took.Seconds(); seconds > 0 {
		fmt.Fprintf(&b, ", %s/s", size(int64(float64(bytes)/seconds)))
	}
	if share > 0 && share < 1 {
		left := time.Duration(float64(took) / share * (1 - share)).Round(time.Second)
		fmt.Fprintf(&b, ", %s left", left)
	}
	return b.String()
}

// size spells a number of bytes.
func size(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	value, unit := float64(n), 0
	for value >= 1000 && unit < len(units)-1 {
		value, unit = value/1000, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}
