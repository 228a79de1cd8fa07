package gitattr

import (
	"path"
	"slices"
	"strings"
)

// File is the name of the files that hold attributes.
const File = ".gitattributes"

// MaxFileBytes is the size from which on git ignores such a file.
const MaxFileBytes = 100 << 20

// maxAttributeLine is the length from which on git ignores a line.
const maxAttributeLine = 2048

// Attributes are what a commit's .gitattributes files say, by gitattributes(5).
// Those of the machine and of its user do not count.
type Attributes struct {
	rules  map[string][]attributeRule // by folder, in the order of the file
	macros map[string][]assignment
}

// An attributeRule gives attributes to the files that match a pattern.
type attributeRule struct {
	pattern  string
	anywhere bool // the pattern is for the last element of a path
	sets     []assignment
}

// An assignment is one attribute's new state.
type assignment struct {
	name  string
	value attributeValue
}

// An attributeValue is an attribute's state: unspecified, set, unset, or a
// value.
type attributeValue struct {
	state byte // 0: unspecified, '+': set, '-': unset, '=': value
	value string
}

// New returns attributes that say nothing yet.
func New() *Attributes {
	return &Attributes{
		rules: make(map[string][]attributeRule),
		macros: map[string][]assignment{"binary": {
			{"diff", attributeValue{state: '-'}}, {"merge", attributeValue{state: '-'}}, {"text", attributeValue{state: '-'}},
		}},
	}
}

// Add takes over the file of one folder; "" is the root.
func (a *Attributes) Add(folder, text string) {
	if _, ok := a.rules[folder]; ok {
		return
	}
	rules := []attributeRule{}
	text, _, _ = strings.Cut(strings.TrimPrefix(text, "\ufeff"), "\x00") // where git's own reading ends
	for line := range strings.SplitSeq(text, "\n") {
		if len(line) >= maxAttributeLine {
			continue
		}
		rule, macro, ok := parseAttributeLine(line)
		switch {
		case !ok:
		case macro != "":
			// Only the root's file may define macros.
			if folder == "" {
				a.macros[macro] = rule.sets
			}
		default:
			rules = append(rules, rule)
		}
	}
	a.rules[folder] = rules
}

const (
	attributeBlanks = " \t\r"
	macroPrefix     = "[attr]"
)

// parseAttributeLine parses a line into a rule, or into a macro's definition if
// macro is its name. Of a line that git would not accept, ok is false.
func parseAttributeLine(line string) (rule attributeRule, macro string, ok bool) {
	line = strings.TrimLeft(line, attributeBlanks)
	if line == "" || line[0] == '#' {
		return rule, "", false
	}
	pattern, rest, quoted := line, "", false
	if line[0] == '"' {
		if p, r, good := unquoteC(line); good {
			pattern, rest, quoted = p, r, true
		}
	}
	if !quoted {
		if i := strings.IndexAny(line, attributeBlanks); i >= 0 {
			pattern, rest = line[:i], line[i:]
		}
	}
	if name, isMacro := strings.CutPrefix(pattern, macroPrefix); isMacro && name != "" {
		name = strings.TrimLeft(name, attributeBlanks)
		if i := strings.IndexAny(name, attributeBlanks); i >= 0 {
			name = name[:i] // a quoted name can have blanks
		}
		if !validAttributeName(name) {
			return rule, "", false
		}
		macro = name
	} else if !rule.setPattern(pattern) {
		return rule, "", false
	}
	for word := range strings.FieldsFuncSeq(rest, func(r rune) bool { return strings.ContainsRune(attributeBlanks, r) }) {
		set, good := parseAssignment(word)
		if !good {
			return rule, "", false
		}
		rule.sets = append(rule.sets, set)
	}
	return rule, macro, true
}

// setPattern takes over a pattern. One that is negated is not allowed, and one
// for folders matches no file.
func (r *attributeRule) setPattern(pattern string) bool {
	if strings.HasPrefix(pattern, "!") || strings.HasSuffix(pattern, "/") {
		return false
	}
	r.anywhere = !strings.Contains(pattern, "/")
	r.pattern = strings.TrimPrefix(pattern, "/")
	return true
}

func parseAssignment(word string) (assignment, bool) {
	name, value, hasValue := strings.Cut(word, "=")
	set := assignment{name: name, value: attributeValue{state: '+'}}
	switch {
	case hasValue:
		set.value = attributeValue{'=', value}
	case strings.HasPrefix(word, "-"):
		set = assignment{word[1:], attributeValue{state: '-'}}
	case strings.HasPrefix(word, "!"):
		set = assignment{word[1:], attributeValue{}}
	}
	if hasValue && (strings.HasPrefix(name, "-") || strings.HasPrefix(name, "!")) {
		// git takes the value's sign and drops the value.
		signed, _ := parseAssignment(name)
		set = signed
	}
	return set, validAttributeName(set.name)
}

func validAttributeName(name string) bool {
	if name == "" || name[0] == '-' {
		return false
	}
	for _, c := range []byte(name) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

// unquoteC reads a string in double quotes with C's escapes, and returns what
// follows it.
func unquoteC(s string) (text, rest string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			i++
			if i == len(s) {
				return "", "", false
			}
			if at := strings.IndexByte(`abfnrtv\"`, s[i]); at >= 0 {
				b.WriteByte("\a\b\f\n\r\t\v\\\""[at])
				continue
			}
			if i+2 >= len(s) || s[i] < '0' || s[i] > '3' || s[i+1] < '0' || s[i+1] > '7' || s[i+2] < '0' || s[i+2] > '7' {
				return "", "", false
			}
			b.WriteByte((s[i]-'0')<<6 | (s[i+1]-'0')<<3 | s[i+2] - '0')
			i += 2
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// of returns the named attributes of a file, given by its path. The deepest
// folder's file decides, and in it the last line that matches.
func (a *Attributes) of(file string, names ...string) map[string]attributeValue {
	found := make(map[string]attributeValue)
	for folder := path.Dir(file); ; folder = path.Dir(folder) {
		if folder == "." {
			folder = ""
		}
		rules := a.rules[folder]
		for i := len(rules) - 1; i >= 0; i-- {
			if rules[i].matches(folder, file) {
				a.fill(found, rules[i].sets, 0)
			}
		}
		if folder == "" {
			break
		}
	}
	for name := range found {
		if !slices.Contains(names, name) {
			delete(found, name)
		}
	}
	return found
}

// maxMacroDepth bounds macros in macros.
const maxMacroDepth = 100

// fill takes over what is not decided yet, the last assignment first. A macro
// that is set brings its own.
func (a *Attributes) fill(found map[string]attributeValue, sets []assignment, depth int) {
	for i := len(sets) - 1; i >= 0; i-- {
		set := sets[i]
		if _, decided := found[set.name]; decided {
			continue
		}
		found[set.name] = set.value
		if macro := a.macros[set.name]; macro != nil && set.value.state == '+' && depth < maxMacroDepth {
			a.fill(found, macro, depth+1)
		}
	}
}

// matches reports whether a rule of a folder's file is for file.
func (r *attributeRule) matches(folder, file string) bool {
	if r.anywhere {
		return wildmatch(r.pattern, path.Base(file), false)
	}
	if folder != "" {
		file = strings.TrimPrefix(file, folder+"/")
	}
	// What a pattern begins with before the first special character is compared
	// by itself: the rest is then matched as if nothing came before it.
	n := strings.IndexAny(r.pattern, `*?[\`)
	if n < 0 {
		return file == r.pattern
	}
	rest, ok := strings.CutPrefix(file, r.pattern[:n])
	return ok && wildmatch(r.pattern[n:], rest, true)
}
