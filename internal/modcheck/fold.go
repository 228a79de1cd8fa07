package modcheck

import (
	"strings"
	"unicode"
)

// fold returns the one string that stands for all that are equal to s under
// simple Unicode case folding: each letter by the smallest of its orbit.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 'A' || 'Z' < r && r < 'a' {
			return r
		}
		least := r
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			least = min(least, other)
		}
		return least
	}, s)
}
