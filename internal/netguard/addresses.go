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

// hideAddresses takes the IP addresses out of a text. What stood around one may, without it, be
// another, so it looks again until it finds none. Only a text that is made to have ever more of
// them is not done after a few passes; it loses what an address is written with.
func hideAddresses(text string) string {
	for range maxPasses {
		clean := hideOnce(text)
		if clean == text {
			return text
		}
		text = clean
	}
	return strings.NewReplacer(":", " ", ".", " ").Replace(text)
}

const maxPasses = 8

// hideOnce takes out the addresses that are found in one pass.
func hideOnce(text string) string {
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
