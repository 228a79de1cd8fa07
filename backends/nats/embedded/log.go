package embedded

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// logger passes on the server's log, and keeps the latest error for New. Fatalf, by
// which the server would end the process, is an error as well.
type logger struct {
	log *slog.Logger

	mu    sync.Mutex
	error string
	fatal bool // the server would have ended the process
}

func (l *logger) say(level func(*slog.Logger, string), format string, v []any) {
	if l.log != nil {
		level(l.log, "nats: "+strings.TrimSpace(fmt.Sprintf(format, v...)))
	}
}

func (l *logger) keep(format string, v []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.error = fmt.Sprintf(format, v...)
}

// worst returns the latest error.
func (l *logger) worst() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.error == "" {
		return "it logged no reason"
	}
	return l.error
}

// gaveUp reports whether the server could not start.
func (l *logger) gaveUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

func info(l *slog.Logger, s string)  { l.Debug(s) }
func warn(l *slog.Logger, s string)  { l.Warn(s) }
func grave(l *slog.Logger, s string) { l.Error(s) }

// Noticef implements server.Logger, as do the others.
func (l *logger) Noticef(format string, v ...any) { l.say(info, format, v) }

func (l *logger) Warnf(format string, v ...any) { l.say(warn, format, v) }

func (l *logger) Errorf(format string, v ...any) {
	l.keep(format, v)
	l.say(grave, format, v)
}

func (l *logger) Fatalf(format string, v ...any) {
	l.Errorf(format, v...)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fatal = true
}

func (l *logger) Debugf(string, ...any) {}

func (l *logger) Tracef(string, ...any) {}
