package gitattr

import "strings"

// wildmatch reports whether a pattern of git's matches the whole of text: "?"
// is one byte, "*" any number, "[…]" a class, and a backslash takes the special
// meaning away. For a path, only "**" between slashes crosses them. It also
// returns how many steps that took.
func wildmatch(pattern, text string, isPath bool) (matches bool, steps int) {
	m := matcher{isPath: isPath, steps: maxMatchSteps}
	matches = m.match(pattern, text, true)
	return matches, maxMatchSteps - m.steps + 2
}

// maxMatchSteps bounds the work of one match. Only hostile patterns need more; they
// match nothing.
const maxMatchSteps = 100_000

type matcher struct {
	isPath bool
	steps  int
}

// match reports whether p matches t; atStart says that t begins a path or
// follows a slash.
func (m *matcher) match(p, t string, atStart bool) bool {
	for p != "" {
		if m.steps--; m.steps < 0 {
			return false
		}
		if p[0] == '*' {
			return m.star(p, t, atStart)
		}
		if t == "" {
			return false
		}
		switch p[0] {
		case '?':
			if m.isPath && t[0] == '/' {
				return false
			}
			p = p[1:]
		case '[':
			in, rest, ok := matchClass(p[1:], t[0])
			if !ok || !in || m.isPath && t[0] == '/' {
				return false
			}
			p = rest
		case '\\':
			if p = p[1:]; p == "" || p[0] != t[0] {
				return false
			}
			p = p[1:]
		default:
			if p[0] != t[0] {
				return false
			}
			p = p[1:]
		}
		atStart = t[0] == '/'
		t = t[1:]
	}
	return t == ""
}

// star matches a pattern that begins with one or more stars.
func (m *matcher) star(p, t string, atStart bool) bool {
	rest := strings.TrimLeft(p, "*")
	crosses := !m.isPath
	if m.isPath && len(p)-len(rest) > 1 && atStart {
		switch {
		case rest == "":
			return true
		case rest[0] == '/':
			// "**/" is also no folder at all.
			if m.match(rest[1:], t, true) {
				return true
			}
			crosses = true
		case strings.HasPrefix(rest, `\/`):
			crosses = true
		}
	}
	for {
		if m.match(rest, t, atStart) {
			return true
		}
		if t == "" || !crosses && t[0] == '/' || m.steps < 0 {
			return false
		}
		atStart = t[0] == '/'
		t = t[1:]
	}
}

// matchClass reports whether c is in the class whose text, after "[", p begins
// with, and returns what follows the class. It is not ok if it has no end.
func matchClass(p string, c byte) (in bool, rest string, ok bool) {
	negated := p != "" && (p[0] == '!' || p[0] == '^')
	if negated {
		p = p[1:]
	}
	var last byte // begin of a range; zero if there can't be one
	for first := true; ; first = false {
		switch {
		case p == "":
			return false, "", false
		case p[0] == ']' && !first:
			return in != negated, p[1:], true
		case p[0] == '-' && last != 0 && len(p) > 1 && p[1] != ']':
			end, n := classByte(p[1:])
			if n == 0 {
				return false, "", false
			}
			in = in || last <= c && c <= end
			p, last = p[1+n:], 0
		case strings.HasPrefix(p, "[:"):
			name, after, found := strings.Cut(p[2:], "]")
			if !found {
				return false, "", false
			}
			name, named := strings.CutSuffix(name, ":")
			if !named {
				// Not a named class but a "[" like any byte.
				in = in || c == '['
				p, last = p[1:], '['
				continue
			}
			member, known := namedClasses[name]
			if !known {
				return false, "", false
			}
			in = in || member(c)
			p, last = after, 0
		default:
			b, n := classByte(p)
			if n == 0 {
				return false, "", false
			}
			in = in || b == c
			p, last = p[n:], b
		}
	}
}

// classByte returns the byte that a class' text begins with, and how long it
// is there.
func classByte(p string) (byte, int) {
	if p[0] != '\\' {
		return p[0], 1
	}
	if len(p) < 2 {
		return 0, 0
	}
	return p[1], 2
}

func between(lo, hi byte) func(byte) bool { return func(c byte) bool { return lo <= c && c <= hi } }

func oneOf(tests ...func(byte) bool) func(byte) bool {
	return func(c byte) bool {
		for _, test := range tests {
			if test(c) {
				return true
			}
		}
		return false
	}
}

var (
	isDigit = between('0', '9')
	isLower = between('a', 'z')
	isUpper = between('A', 'Z')
	isAlpha = oneOf(isLower, isUpper)
	isAlnum = oneOf(isAlpha, isDigit)

	namedClasses = map[string]func(byte) bool{
		"alnum":  isAlnum,
		"alpha":  isAlpha,
		"blank":  func(c byte) bool { return c == ' ' || c == '\t' },
		"cntrl":  oneOf(between(0, 0x1f), between(0x7f, 0x7f)),
		"digit":  isDigit,
		"graph":  between(0x21, 0x7e),
		"lower":  isLower,
		"print":  between(0x20, 0x7e),
		"punct":  func(c byte) bool { return 0x21 <= c && c <= 0x7e && !isAlnum(c) },
		"space":  oneOf(between('\t', '\r'), between(' ', ' ')),
		"upper":  isUpper,
		"xdigit": oneOf(isDigit, between('a', 'f'), between('A', 'F')),
	}
)
