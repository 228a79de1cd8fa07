package netguard

import (
	"net/netip"
	"regexp"
	"strings"
)

// WithoutAddresses returns err with a text that names no IP address: errors of the
// network repeat the resolver that was asked and the addresses that were dialed, which
// must not reach a client. An err without one is returned as it is; otherwise the result
// wraps err.
func WithoutAddresses(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if clean := hideAddresses(text); clean != text {
		return &hidden{clean, err}
	}
	return err
}

type hidden struct {
	text string
	err  error
}

func (e *hidden) Error() string { return e.text }
func (e *hidden) Unwrap() error { return e.err }

var (
	// candidate is what may be an address, with or without a port.
	candidate = regexp.MustCompile(`\[?[0-9A-Fa-f:.]*[:.][0-9A-Fa-f:.]*(?:%[0-9A-Za-z]+)?\]?(?::[0-9]+)?`)
	// leftovers are how package net puts addresses into its texts: the resolver that was
	// asked, and the ends of a connection.
	leftovers = strings.NewReplacer(" on "+mark, "", mark+"->"+mark+": ", "", " "+mark+"->"+mark, "", " "+mark+":", ":", mark, "an address")
)

// mark stands where an address was; no error text has it.
const mark = "\x00"

// hideAddresses takes the IP addresses out of a text.
func hideAddresses(text string) string {
	if !strings.ContainsAny(text, ".:") {
		return text
	}
	var b strings.Builder
	end := 0
	for _, at := range candidate.FindAllStringIndex(text, -1) {
		from, to := at[0], at[1]
		word := strings.TrimRight(text[from:to], ":.")
		to = from + len(word)
		if from > 0 && inName(text[from-1]) || to < len(text) && inName(text[to]) || !isAddress(word) {
			continue
		}
		b.WriteString(text[end:from])
		if from > 0 && text[from-1] == '%' {
			b.WriteByte(' ') // not the zone of an address before it
		}
		b.WriteString(mark)
		end = to
	}
	if end == 0 {
		return text
	}
	b.WriteString(text[end:])
	return leftovers.Replace(b.String())
}

// inName reports whether a character before or after an address makes it a part of a
// name or a version.
func inName(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func isAddress(word string) bool {
	if _, err := netip.ParseAddr(strings.Trim(word, "[]")); err == nil {
		return true
	}
	_, err := netip.ParseAddrPort(word)
	return err == nil
}
