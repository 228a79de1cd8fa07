package athens

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/flight"
)

// logPanic logs where a panic happened, if err is one.
func logPanic(log *slog.Logger, err error) {
	if crash, ok := errors.AsType[*flight.PanicError](err); ok {
		log.Error("panic", "value", printable(fmt.Sprint(crash.Value), maxErrorBody), "stack", string(crash.Stack))
	}
}

// warn logs an error that no request ends with.
func warn(log *slog.Logger, msg string, m module.Version, err error) {
	log.Warn(msg, "module", m.Path, "version", m.Version, "error", printable(err.Error(), maxErrorBody))
}

// userinfo finds credentials in URLs, whoever put them into an error; the user's
// name may be a mail address.
var userinfo = regexp.MustCompile(`://[^/\s"']+@`)

// printable makes s one line of printable characters, without credentials and
// of at most limit bytes.
func printable(s string, limit int) string {
	s = userinfo.ReplaceAllString(s, "://") // before anything is cut, which could hide the @
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return r == utf8.RuneError || !unicode.IsPrint(r) || r == ' '
	}), " ")
	if len(s) <= limit {
		return s
	}
	const dots = "…"
	s = s[:limit-len(dots)]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + dots
}
