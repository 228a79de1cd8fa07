package gocmd

import (
	"errors"
	"regexp"
	"strings"
	"unicode"

	"github.com/athens-go/athens/internal/netguard"
)

// maxText bounds how much of a command's text is shown, in bytes.
const maxText = 1 << 10

var (
	login = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.\-]*://)[^/\s'"<>]*@`)
	// A tool that is not installed: the go command repeats the text of os/exec.
	noTool = regexp.MustCompile(`exec: "([^"\n]+)": executable file not found`)
	// The folder of a clone, which the go command names by a hash.
	cloneDir = regexp.MustCompile(` in \S*[/\\]cache[/\\]vcs[/\\][0-9a-f]+`)
	// A header that a verbose tool prints.
	// A file's path on Windows. Its folders may have spaces in their names.
	windowsPath = regexp.MustCompile(`(^|[\s"'(=\[,;])(?:[A-Za-z]:[\\/]|\\\\)[^\s"'():;,]*(?: [^\s"'():;,\\]*\\[^\s"'():;,]*)*`)
	header      = regexp.MustCompile(`(?i)((?:proxy-)?authorization|private-token|cookie)(\s*[:=]\s*)[^\r\n]*`)
)

// stripLogins removes names and passwords from the URLs in a text.
func stripLogins(s string) string { return login.ReplaceAllString(s, "$1") }

// sanitize makes a command's text fit for an error: as sanitizeForLog, and without IP
// addresses, which would tell clients about this server's network.
func sanitize(text, folder string) string {
	return netguard.WithoutAddresses(errors.New(sanitizeForLog(text, folder))).Error()
}

// sanitizeForLog makes a command's text fit for the log: one line, not too long,
// without credentials and temporary folders.
func sanitizeForLog(text, folder string) string {
	text = cloneDir.ReplaceAllString(text, "")
	if folder != "" {
		text = strings.ReplaceAll(text, folder, "$DIR")
	}
	text = windowsPath.ReplaceAllString(text, "$1(a local file)")
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
