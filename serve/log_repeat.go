package serve

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/module"
)

const (
	repeatInterval = time.Minute // how long failures of one cause are counted before a line says so
	maxCauses      = 1000        // counted at the same time; failures of others are all written
)

// repeats counts failures whose cause has been written lately.
type repeats struct {
	mu   sync.Mutex
	seen map[cause]*written
}

// cause is what makes two failures the same.
type cause struct {
	level    slog.Level
	fixed    string // attributes of the logger
	msg, err string
	about    string // of errors: which module and version
}

// written is a cause that was written.
type written struct {
	count int // since then
	last  slog.Record
	log   *lines
	timer *time.Timer
}

// isNew reports whether r is to be written: it says of no error, or of one whose cause was
// not written lately. Otherwise r is counted.
func (c *repeats) isNew(h *lines, r slog.Record) bool {
	why, ok := causeOf(h, r)
	if !ok {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.seen[why]; known != nil {
		known.count++
		known.last, known.log = r.Clone(), h
		return false
	}
	if len(c.seen) < maxCauses {
		known := &written{}
		known.timer = time.AfterFunc(repeatInterval, func() { c.expire(why, known) })
		c.seen[why] = known
	}
	return true
}

// expire says how often a cause came since it was last written, and forgets it if it did not.
func (c *repeats) expire(why cause, known *written) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen[why] != known {
		return
	}
	if known.count == 0 {
		delete(c.seen, why)
		return
	}
	known.write()
	known.timer.Reset(repeatInterval)
}

// report says of each cause how often it came since it was last written, and forgets all.
func (c *repeats) report() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for why, known := range c.seen {
		known.timer.Stop()
		delete(c.seen, why)
		if known.count > 0 {
			known.write()
		}
	}
}

// write writes the last failure of a cause with their number. The repeats are locked, so
// that a failure meanwhile counts for the next line.
func (known *written) write() {
	r := known.last
	r.AddAttrs(slog.Int("repeated", known.count))
	known.count, known.last = 0, slog.Record{}
	_ = known.log.write(context.Background(), r) // nowhere to report it
}

// causeOf returns the cause of a failure. It reports false for a record without an error.
func causeOf(h *lines, r slog.Record) (why cause, ok bool) {
	var err, path, version string
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "module":
			path = a.Value.String()
		case "version":
			version = a.Value.String()
		case "error":
			if err = a.Value.String(); a.Value.Kind() == slog.KindAny {
				err = fmt.Sprint(a.Value.Any())
			}
		}
		return true
	})
	if err == "" {
		return cause{}, false
	}
	why = cause{level: r.Level, fixed: string(h.fixed), msg: r.Message, err: general(err, path, version)}
	if r.Level >= slog.LevelError {
		why.about = path + "@" + version
	}
	return why, true
}

var (
	urlPath     = regexp.MustCompile(`(\w+://[^/\s"']+)/[^\s"']*`)
	longNumber  = regexp.MustCompile(`\d{5,}`)                                                // a port or a size, not a status
	whichAnswer = regexp.MustCompile(`^@?(?:""|latest)?: (?:(?:list|\.info|\.mod|\.zip): )?`) // as the handler begins its errors
)

// general is the text of an error without what differs between failures of one cause.
func general(err, path, version string) string {
	for _, name := range []string{path, version} {
		if name == "" {
			continue
		}
		err = strings.ReplaceAll(err, name, "")
		if escaped, bad := module.EscapePath(name); bad == nil && escaped != name {
			err = strings.ReplaceAll(err, escaped, "")
		}
	}
	err = whichAnswer.ReplaceAllString(err, "")
	err = urlPath.ReplaceAllString(err, "$1")
	err = longNumber.ReplaceAllString(err, "#")
	return err[:min(len(err), 1<<10)]
}
