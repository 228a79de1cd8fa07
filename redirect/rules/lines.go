package rules

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/module"
)

// maxAge is the longest cooldown: ten years.
const maxAge = 3660 * day

const day = 24 * time.Hour

// end reads a reason, which is all that may be left of a line, into r.
func (s *scanner) end(r *rule) error {
	s.skipSpace()
	rest, column := s.line[s.at:], s.at+1
	if rest == "" {
		return nil
	}
	if rest[0] != '#' {
		return &columnError{column, fmt.Errorf("unexpected %q; a reason begins with #", rest)}
	}
	if r.reason = strings.TrimSpace(rest[1:]); len(r.reason) > maxReason {
		return &columnError{column, fmt.Errorf("the reason has more than %d bytes", maxReason)}
	}
	return nil
}

// more reports whether another word follows before the reason.
func (s *scanner) more() bool {
	s.skipSpace()
	return s.at < len(s.line) && s.line[s.at] != '#'
}

// parseOnly reads the patterns of an allow-list.
func (s *scanner) parseOnly(r *rule) error {
	for s.more() {
		globs, err := parsePattern(s.word())
		if err != nil {
			return err
		}
		r.globs = append(r.globs, globs...)
	}
	if r.globs == nil {
		return &columnError{s.at + 1, errors.New("only needs a pattern")}
	}
	return s.end(r)
}

// parseCooldown reads an age, or how it is counted, and a pattern.
func (s *scanner) parseCooldown(word string, r *rule) (err error) {
	if !s.more() {
		return &columnError{s.at + 1, fmt.Errorf("%s needs %s", word, map[verb]string{
			cooldown: "an age such as 7d", cooldownBy: "commit or seen"}[r.verb])}
	}
	value, column := s.word()
	if r.verb == cooldown {
		r.age, err = parseAge(value)
	} else if r.byCommit = value == "commit"; !r.byCommit && value != "seen" {
		err = fmt.Errorf("cooldown-by is commit or seen, not %q", value)
	}
	if err != nil {
		return &columnError{column, err}
	}
	r.globs = []string{"*"}
	if s.more() {
		if r.globs, err = parsePattern(s.word()); err != nil {
			return err
		}
	}
	return s.end(r)
}

// units are those of an age, from the largest.
var units = []struct {
	letter byte
	length time.Duration
}{{'w', 7 * day}, {'d', day}, {'h', time.Hour}, {'m', time.Minute}, {'s', time.Second}}

// parseAge reads an age such as 7d or 1d12h. Zero needs no unit.
func parseAge(text string) (time.Duration, error) {
	if text == "0" {
		return 0, nil
	}
	bad := fmt.Errorf("bad age %q: want a number and w, d, h, m or s, such as 7d, of at most %dd", text, maxAge/day)
	var age time.Duration
	rest, last := text, -1
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := strconv.ParseUint(rest[:digits], 10, 31)
		if err != nil || digits == len(rest) {
			return 0, bad
		}
		unit := -1
		for i, u := range units {
			if u.letter == rest[digits] {
				unit = i
			}
		}
		if unit <= last || n > uint64(maxAge/units[max(unit, 0)].length) {
			return 0, bad
		}
		age += time.Duration(n) * units[unit].length
		rest, last = rest[digits+1:], unit
	}
	if age > maxAge {
		return 0, bad
	}
	return age, nil
}

// formatAge is the opposite of parseAge.
func formatAge(age time.Duration) string {
	if age == 0 {
		return "0"
	}
	var b strings.Builder
	for _, u := range units[1:] {
		if n := age / u.length; n > 0 {
			fmt.Fprintf(&b, "%d%c", n, u.letter)
			age %= u.length
		}
	}
	return b.String()
}

// parseVersion reads MODULE@VERSION, which stands at column.
func parseVersion(text string, column int) (module.Version, error) {
	path, version, _ := strings.Cut(text, "@")
	m := module.Version{Path: path, Version: version}
	if err := module.Check(path, version); err != nil {
		return m, &columnError{column, fmt.Errorf("bad version %q: want MODULE@VERSION with a canonical version such as v1.2.3: %w", text, errors.Unwrap(err))}
	}
	if module.CanonicalVersion(version) != version {
		return m, &columnError{column, fmt.Errorf("bad version %q: %s is not a canonical version", text, version)}
	}
	return m, nil
}
