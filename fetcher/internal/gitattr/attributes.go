package gitattr

import (
	"bufio"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/athens-go/athens/fetcher/internal/budget"
)

// File is the name of the files that hold attributes.
const File = ".gitattributes"

// MaxFileBytes is the size from which git ignores such a file.
const MaxFileBytes = 100 << 20

// maxAttributeLine is the length from which git ignores a line.
const maxAttributeLine = 2048

// Attributes are the attributes in a commit's .gitattributes files; see
// gitattributes(5). Those of the machine and its user are ignored. A job is charged for
// the memory and for the work of matching.
type Attributes struct {
	job    *budget.Job
	parsed map[string][]attributeRule // by the file's name as an object: folders often share one
	rules  map[string][]attributeRule // by folder, in the order of the file
	macros map[string][]assignment
}

// The memory charged to a job for each folder, rule and assignment, beside
// their text.
const (
	folderBytes = 128
	ruleBytes   = 96
	setBytes    = 64
)

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

// New returns an empty set of attributes.
func New(job *budget.Job) *Attributes {
	return &Attributes{
		job:    job,
		parsed: make(map[string][]attributeRule),
		rules:  make(map[string][]attributeRule),
		macros: map[string][]assignment{"binary": {
			{"diff", attributeValue{state: '-'}}, {"merge", attributeValue{state: '-'}}, {"text", attributeValue{state: '-'}},
		}},
	}
}

// Add adds the attributes file of one folder; "" is the root. blob is the file's hash.
// read opens it; it is not called if a file with that hash is known.
func (a *Attributes) Add(folder, blob string, read func() (io.ReadCloser, error)) error {
	if _, ok := a.rules[folder]; ok {
		return nil
	}
	if err := a.job.Grow(folderBytes + int64(len(folder))); err != nil {
		return err
	}
	// Only the root's file may define macros, so its parsed form is not shared.
	if rules, ok := a.parsed[blob]; ok && folder != "" {
		a.rules[folder] = rules
		return nil
	}
	rd, err := read()
	if err != nil {
		return err
	}
	defer rd.Close()
	rules, err := a.parse(rd, folder == "")
	if err != nil {
		return err
	}
	a.rules[folder], a.parsed[blob] = rules, rules
	return nil
}

// parse parses a file line by line. It stops where git stops.
func (a *Attributes) parse(rd io.Reader, root bool) ([]attributeRule, error) {
	rules := []attributeRule{}
	lines := bufio.NewReaderSize(rd, 2*maxAttributeLine)
	for first, long := true, false; ; first = false {
		text, err := lines.ReadSlice('\n')
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return nil, err
		}
		skip := long
		long = err == bufio.ErrBufferFull // the rest of this line comes next
		line := strings.TrimSuffix(string(text), "\n")
		if first {
			line = strings.TrimPrefix(line, "\ufeff")
		}
		line, _, ends := strings.Cut(line, "\x00")
		if !skip && !long && len(line) < maxAttributeLine {
			rule, macro, ok := parseAttributeLine(line)
			if ok {
				cost := ruleBytes + int64(len(line)) + setBytes*int64(len(rule.sets))
				if err := a.job.Grow(cost); err != nil {
					return nil, err
				}
			}
			switch {
			case !ok:
			case macro == "":
				rules = append(rules, rule)
			case root:
				a.macros[macro] = rule.sets
			}
		}
		if stepErr := a.job.Step(int64(len(text)) * lineSteps); stepErr != nil {
			return nil, stepErr
		}
		if ends || err == io.EOF {
			return rules, nil
		}
	}
}

// lineSteps are the steps of parsing one byte.
const lineSteps = 4

const (
	attributeBlanks = " \t\r"
	macroPrefix     = "[attr]"
)

// parseAttributeLine parses a line into a rule, or into a macro's definition if
// macro is its name. ok is false for a line that git would not accept.
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

// setPattern sets a rule's pattern. A negated pattern is not allowed, and one
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
func (a *Attributes) of(file string, names ...string) (map[string]attributeValue, error) {
	found := make(map[string]attributeValue)
	for folder := path.Dir(file); ; folder = path.Dir(folder) {
		if folder == "." {
			folder = ""
		}
		rules := a.rules[folder]
		for i := len(rules) - 1; i >= 0; i-- {
			matches, steps := rules[i].matches(folder, file)
			if matches {
				steps += a.fill(found, rules[i].sets, 0)
			}
			if err := a.job.Step(int64(steps) * matchSteps); err != nil {
				return nil, err
			}
		}
		if err := a.job.Step(int64(len(folder)) + matchSteps); err != nil {
			return nil, err
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
	return found, nil
}

// matchSteps are the job's steps for each one of matching.
const matchSteps = 8

// maxMacroDepth bounds macros in macros.
const maxMacroDepth = 100

// fill applies assignments, the last one first, to attributes that are still unset. A
// macro applies its own assignments. It returns the number of assignments examined.
func (a *Attributes) fill(found map[string]attributeValue, sets []assignment, depth int) (steps int) {
	for i := len(sets) - 1; i >= 0; i-- {
		set := sets[i]
		if _, decided := found[set.name]; decided {
			continue
		}
		found[set.name] = set.value
		if macro := a.macros[set.name]; macro != nil && set.value.state == '+' && depth < maxMacroDepth {
			steps += a.fill(found, macro, depth+1)
		}
	}
	return steps + 4*len(sets)
}

// matches reports whether a rule of a folder's file is for file, and how many
// steps that took.
func (r *attributeRule) matches(folder, file string) (bool, int) {
	if r.anywhere {
		return wildmatch(r.pattern, path.Base(file), false)
	}
	if folder != "" {
		file = strings.TrimPrefix(file, folder+"/")
	}
	// Like git, compare the literal beginning of a pattern first, and then match the
	// rest as if nothing came before it.
	n := strings.IndexAny(r.pattern, `*?[\`)
	if n < 0 {
		return file == r.pattern, 2
	}
	rest, ok := strings.CutPrefix(file, r.pattern[:n])
	if !ok {
		return false, 2
	}
	return wildmatch(r.pattern[n:], rest, true)
}
