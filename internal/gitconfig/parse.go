package gitconfig

import (
	"errors"
	"fmt"
	"strings"
)

// A Variable is one variable of a configuration. Section and Name are not case-sensitive
// and in lower case; a Subsection may contain any text.
type Variable struct {
	Section, Subsection, Name string
	Value                     string // empty also if there is no "="
}

// Parse parses a file's text by the grammar of git-config(1). Like git, it
// refuses a text with a syntax error; the error names the line.
func Parse(text string) ([]Variable, error) {
	s := scanner{rest: strings.TrimPrefix(text, "\ufeff"), line: 1}
	var (
		vars    []Variable
		section Variable // empty before the first, where git takes variables too
	)
	for {
		c, ok := s.next()
		switch {
		case !ok:
			return vars, nil
		case isSpace(c):
		case c == '#' || c == ';':
			s.skipLine()
		case c == '[':
			head, ok := s.section()
			if !ok {
				return nil, fmt.Errorf("line %d: not a section", s.line)
			}
			section = head
		case isLetter(c):
			v := section
			if v.Name, v.Value, ok = s.variable(c); !ok {
				return nil, fmt.Errorf("line %d: not a variable", s.line)
			}
			vars = append(vars, v)
		default:
			return nil, fmt.Errorf("line %d: neither a section nor a variable", s.line)
		}
	}
}

// A scanner reads a text character by character. A line ends in a line feed or
// in that after a carriage return, and the last one in the end of the text.
type scanner struct {
	rest string
	line int
	last byte
}

func (s *scanner) next() (byte, bool) {
	if s.last == '\n' {
		s.line++
	}
	s.last = 0
	if s.rest == "" {
		return '\n', false
	}
	if strings.HasPrefix(s.rest, "\r\n") {
		s.rest = s.rest[1:]
	}
	c := s.rest[0]
	s.rest = s.rest[1:]
	s.last = c
	return c, true
}

func (s *scanner) skipLine() {
	for c, ok := s.next(); ok && c != '\n'; c, ok = s.next() {
	}
}

// section reads the rest of [name] or [name "subsection"].
func (s *scanner) section() (Variable, bool) {
	var name, sub strings.Builder
	for {
		c, ok := s.next()
		switch {
		case !ok:
			return Variable{}, false
		case c == ']':
			section, dotted, _ := strings.Cut(name.String(), ".")
			return Variable{Section: section, Subsection: dotted}, name.Len() > 0
		case isSpace(c):
			if !s.subsection(c, &sub) {
				return Variable{}, false
			}
			return Variable{Section: name.String(), Subsection: sub.String()}, true
		case isKey(c) || c == '.':
			name.WriteByte(lower(c))
		default:
			return Variable{}, false
		}
	}
}

// subsection reads the rest of "subsection"], of which c is the space before.
func (s *scanner) subsection(c byte, sub *strings.Builder) bool {
	ok := true
	for isSpace(c) {
		if !ok || c == '\n' {
			return false
		}
		c, ok = s.next()
	}
	if c != '"' {
		return false
	}
	for {
		c, ok := s.next()
		if c == '\\' {
			c, ok = s.next()
		} else if c == '"' {
			c, ok = s.next()
			return ok && c == ']'
		}
		if !ok || c == '\n' {
			return false
		}
		sub.WriteByte(c)
	}
}

// variable reads the rest of a variable, whose name begins with c.
func (s *scanner) variable(c byte) (name, value string, ok bool) {
	var b strings.Builder
	for isKey(c) {
		b.WriteByte(lower(c))
		c, _ = s.next()
	}
	for c == ' ' || c == '\t' {
		c, _ = s.next()
	}
	switch c {
	case '\n':
		return b.String(), "", true
	case '=':
		value, ok = s.value()
		return b.String(), value, ok
	}
	return "", "", false
}

// value reads the text after the "=" to the end of the line. It resolves quotes and
// escapes, and drops surrounding space and comments.
func (s *scanner) value() (string, bool) {
	var b strings.Builder
	quoted := false
	trimmed := -1 // length without the space at the end
	done := func() string {
		if trimmed >= 0 {
			return b.String()[:trimmed]
		}
		return b.String()
	}
	for {
		c, _ := s.next()
		switch {
		case c == '\n':
			return done(), !quoted
		case isSpace(c) && !quoted:
			if trimmed < 0 {
				trimmed = b.Len()
			}
			if b.Len() > 0 {
				b.WriteByte(c)
			}
			continue
		case (c == '#' || c == ';') && !quoted:
			s.skipLine()
			return done(), true
		}
		trimmed = -1
		switch c {
		case '"':
			quoted = !quoted
		case '\\':
			if !s.escape(&b) {
				return "", false
			}
		default:
			b.WriteByte(c)
		}
	}
}

// escape reads the character after a backslash.
func (s *scanner) escape(b *strings.Builder) bool {
	switch c, _ := s.next(); c {
	case '\n': // the value goes on in the next line
	case 't':
		b.WriteByte('\t')
	case 'b':
		b.WriteByte('\b')
	case 'n':
		b.WriteByte('\n')
	case '\\', '"':
		b.WriteByte(c)
	default:
		return false
	}
	return true
}

// parseKey splits a variable's full name, such as "url.https://host/.insteadOf".
func parseKey(key string) (Variable, error) {
	first, last := strings.Index(key, "."), strings.LastIndex(key, ".")
	if first < 0 {
		return Variable{}, errors.New("not a variable: it has no section")
	}
	v := Variable{Section: strings.ToLower(key[:first]), Name: strings.ToLower(key[last+1:])}
	if first < last {
		v.Subsection = key[first+1 : last]
	}
	valid := v.Section != "" && v.Name != "" && isLetter(v.Name[0])
	for _, c := range []byte(v.Section + v.Name) {
		valid = valid && isKey(c)
	}
	if !valid || strings.Contains(v.Subsection, "\n") {
		return Variable{}, errors.New("not a variable")
	}
	return v, nil
}

func isSpace(c byte) bool  { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
func isLetter(c byte) bool { c = lower(c); return 'a' <= c && c <= 'z' }
func isKey(c byte) bool    { return isLetter(c) || '0' <= c && c <= '9' || c == '-' }

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
