package gocmd

import (
	"regexp"
	"strings"
	"unicode"
)

// maxText bounds, in bytes, what is repeated of a command's words.
const maxText = 1 << 10

var (
	login = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.\-]*://)[^/\s'"<>]*@`)
	// A tool that is not there: the go command repeats what os/exec says.
	noTool = regexp.MustCompile(`exec: "([^"\n]+)": executable file not found`)
	// A clone, which the go command calls by a hash.
	cloneDir = regexp.MustCompile(` in \S*[/\\]cache[/\\]vcs[/\\][0-9a-f]+`)
	// A header that a tool repeats when it is told to be verbose.
	header = regexp.MustCompile(`(?i)((?:proxy-)?authorization|private-token|cookie)(\s*[:=]\s*)[^\r\n]*`)
)

// stripLogins takes names and passwords out of the URLs in a text.
func stripLogins(s string) string { return login.ReplaceAllString(s, "$1") }

// sanitize makes a command's words fit for an error or a log: one line, not
// too long, without credentials and temporary folders.
func sanitize(text, folder string) string {
	text = cloneDir.ReplaceAllString(text, "")
	if folder != "" {
		text = strings.ReplaceAll(text, folder, "$DIR")
	}
	text = header.ReplaceAllString(stripLogins(text), "$1$2…")
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.Map(func(r rune) rune {
			if !unicode.IsGraphic(r) {
				return ' '
			}
			return r
		}, strings.TrimSpace(line))
		if line != "" {
			lines = append(lines, line)
		}
	}
	text = strings.ReplaceAll(strings.ToValidUTF8(strings.Join(lines, "; "), ""), ":; ", ": ")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}
