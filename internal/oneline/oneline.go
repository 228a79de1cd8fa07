// Package oneline makes a text of unknown origin fit for a log line, an error or a terminal.
package oneline

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Of returns text as one line of printable characters: everything else, such as line
// breaks, control characters and invalid UTF-8, becomes a space, and several spaces become
// one. If the line has more than maxBytes bytes, it ends in "…" there, and has at most that
// many. maxBytes is at least 3, the length of "…".
func Of(text string, maxBytes int) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return r == utf8.RuneError || r == ' ' || !unicode.IsPrint(r)
	}), " ")
	if len(text) <= maxBytes {
		return text
	}
	const dots = "…"
	end := maxBytes - len(dots)
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + dots
}
