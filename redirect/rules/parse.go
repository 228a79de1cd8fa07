package rules

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/Masterminds/semver/v3"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/limit"
)

// Limits of a rules file.
const (
	maxBytes  = 1 << 20
	maxRules  = 20_000 // blank lines and comments don't count
	maxReason = 200    // bytes; a reason is read in one line of a terminal
)

// verb is what a rule does.
type verb uint8

const (
	private verb = iota + 1
	public
	block
	allow
	only
	cooldown
	cooldownBy
	upstream
	advisories
)

var verbs = map[string]verb{
	"private": private, "public": public, "block": block, "allow": allow, "only": only, "cooldown": cooldown, "cooldown-by": cooldownBy,
	"upstream": upstream, "advisories": advisories,
}

// rule is one line.
type rule struct {
	verb       verb
	globs      []string            // path patterns, GOPRIVATE's without their commas
	exact      module.Version      // of allow MODULE@VERSION, which has no globs
	constraint *semver.Constraints // nil: all versions
	reason     string              // shown to clients that ask for a blocked version
	age        time.Duration       // of cooldown
	byCommit   bool                // of cooldown-by
	places     []place             // of upstream
	database   string              // of advisories
	warns      bool                // of advisories
	text       string              // of the line
}

// Read reads a rules file, see [Parse], and the databases that its advisories lines name.
func Read(file string) (*Rules, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	defer f.Close()
	r, err := Parse(file, f)
	if err != nil {
		return nil, err
	}
	if err := r.loadAdvisories(filepath.Dir(file)); err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	return r, nil
}

// Parse reads rules, one a line:
//
//	private PATTERN
//	public  PATTERN
//	block   PATTERN [CONSTRAINT] [# reason]
//	allow   PATTERN [CONSTRAINT]
//	allow   MODULE@VERSION [# reason]
//	only    PATTERN [PATTERN ...] [# reason]
//	cooldown    AGE [PATTERN] [# reason]
//	cooldown-by commit|seen [PATTERN]
//	upstream PATTERN PLACE[,PLACE|PLACE ...] [# reason]
//	advisories DATABASE [warn] [# reason]
//
// and blank lines, and comments that begin with # on a line of their own.
// PATTERN has the syntax of GOPRIVATE: globs of [path.Match], separated by
// commas, each of which matches a module path or a prefix of it that ends
// before a slash. CONSTRAINT is one of Masterminds/semver, such as
// ">=1.2.0 <1.4.3", "~1.2 || 1.5.x" or "=1.2.3"; see [Rules] for what it
// means for pre-releases. AGE is a sum of weeks, days, hours, minutes and seconds,
// such as 7d, 2w or 1d12h, of at most 3,660 days; 0 ends a cooldown. PLACE is the URL of
// a GOPROXY server, or, as the last one, vcs for version control or off for nowhere. The
// place behind a comma is asked if the one before it has no such version, and the place
// behind a | after any error. DATABASE is a folder or a zip of OSV records, such as a
// copy of the Go vulnerability database; a relative name starts in the folder of the rules.
//
// name is the file's, for errors and for the default reason, where only its last element
// is shown.
//
// The error of a bad line reads "name:line:column: what is wrong", with both
// numbers from 1 and the column in bytes. It repeats no URL with credentials. More than
// 1 MiB of text, more than 20,000 rules (blank lines and comments don't count) and a
// reason of more than 200 bytes are errors too.
func Parse(name string, r io.Reader) (*Rules, error) {
	text, err := limit.ReadAll(r, maxBytes)
	if limit.Exceeded(err) {
		return nil, fmt.Errorf("%s: rules of %w", name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	rules := &Rules{}
	text = bytes.TrimPrefix(text, []byte("\uFEFF"))
	number := 0
	for line := range bytes.Lines(text) {
		number++
		ru, err := parseRule(strings.TrimRight(string(line), "\r\n"))
		if err == nil && ru.verb != 0 && len(rules.lines) == maxRules {
			err = &columnError{1, fmt.Errorf("more than %d rules", maxRules)}
		}
		if err != nil {
			column := 1
			if at := new(columnError); errors.As(err, &at) {
				column = at.column
			}
			return nil, fmt.Errorf("%s:%d:%d: %w", name, number, column, err)
		}
		if ru.verb != 0 {
			rules.add(ru, fmt.Sprintf("%s:%d", filepath.Base(name), number))
		}
	}
	return rules, nil
}

// columnError is what is wrong with a line, and where.
type columnError struct {
	column int // from 1
	err    error
}

func (e *columnError) Error() string { return e.err.Error() }
func (e *columnError) Unwrap() error { return e.err }

// scanner walks along a line.
type scanner struct {
	line string
	at   int
}

func (s *scanner) skipSpace() {
	for s.at < len(s.line) && isBlank(s.line[s.at]) {
		s.at++
	}
}

// word returns the next word and the column where it begins.
func (s *scanner) word() (string, int) {
	s.skipSpace()
	begin := s.at
	for s.at < len(s.line) && !isBlank(s.line[s.at]) {
		s.at++
	}
	return s.line[begin:s.at], begin + 1
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// parseRule reads a line. A blank line and a comment are the zero rule.
func parseRule(line string) (rule, error) {
	for i, c := range line {
		if c == utf8.RuneError || c != '\t' && !unicode.IsPrint(c) {
			return rule{}, &columnError{i + 1, errors.New("unprintable character")}
		}
	}
	s := &scanner{line: line}
	word, column := s.word()
	if word == "" || word[0] == '#' {
		return rule{}, nil
	}
	r := rule{verb: verbs[word]}
	if r.verb == 0 {
		return rule{}, &columnError{column, fmt.Errorf("unknown rule %q: want private, public, block, allow, only, cooldown, cooldown-by, upstream or advisories", word)}
	}
	r.text = strings.TrimSpace(line)
	return r, s.parse(word, &r)
}

// parse reads what follows the first word of a line into r.
func (s *scanner) parse(word string, r *rule) (err error) {
	switch r.verb {
	case cooldown, cooldownBy:
		return s.parseCooldown(word, r)
	case only:
		return s.parseOnly(r)
	case upstream:
		return s.parseUpstream(r)
	case advisories:
		return s.parseAdvisories(r)
	}
	pattern, column := s.word()
	switch {
	case pattern == "" || pattern[0] == '#':
		return &columnError{column, fmt.Errorf("%s needs a pattern", word)}
	case r.verb == allow && strings.Contains(pattern, "@"):
		if r.exact, err = parseVersion(pattern, column); err != nil {
			return err
		}
		return s.end(r)
	}
	if r.globs, err = parsePattern(pattern, column); err != nil {
		return err
	}
	return s.tail(word, r)
}

// tail reads what follows the pattern into r.
func (s *scanner) tail(word string, r *rule) error {
	s.skipSpace()
	rest, column := s.line[s.at:], s.at+1
	hash := strings.IndexByte(rest, '#')
	if hash < 0 {
		return parseConstraint(word, rest, column, r)
	}
	if err := parseConstraint(word, rest[:hash], column, r); err != nil {
		return err
	}
	if strings.TrimSpace(rest[hash+1:]) != "" && r.verb != block {
		return &columnError{column + hash, fmt.Errorf("%s takes no reason; put a comment on a line of its own", word)}
	}
	s.at += hash
	return s.end(r)
}

// parseConstraint reads a constraint into r.
func parseConstraint(word, text string, column int, r *rule) error {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return nil
	case r.verb == private || r.verb == public:
		return &columnError{column, fmt.Errorf("%s takes only a pattern: it applies to all versions", word)}
	case text == "*" || text == "x" || text == "X":
		return nil // the library's * leaves out v0.0.0-… pseudo-versions
	}
	c, err := semver.NewConstraint(text)
	if err != nil {
		return &columnError{column, fmt.Errorf("bad constraint: %w", err)}
	}
	c.IncludePrerelease = true
	r.constraint = c
	return nil
}

// parsePattern reads a comma-separated list of globs; it stands at column.
func parsePattern(pattern string, column int) ([]string, error) {
	var (
		globs []string
		begin = column
	)
	for item := range strings.SplitSeq(pattern, ",") {
		if glob := strings.TrimSuffix(item, "/"); glob != "" {
			if err := checkGlob(glob); err != nil {
				return nil, &columnError{column, err}
			}
			globs = append(globs, glob)
		}
		column += len(item) + 1
	}
	if globs == nil {
		return nil, &columnError{begin, errors.New("an empty pattern")}
	}
	return globs, nil
}

// checkGlob refuses what can match no module path: a rule that silently does
// nothing is worse than none.
func checkGlob(glob string) error {
	if _, err := path.Match(glob, ""); err != nil {
		return fmt.Errorf("bad pattern %q: %w", glob, err)
	}
	if strings.Contains(glob, "@") {
		return fmt.Errorf("bad pattern %q: give the version after the pattern, as a constraint such as =1.2.3", glob)
	}
	if i := strings.IndexFunc(glob, func(c rune) bool { return !inPattern(c) }); i >= 0 {
		return fmt.Errorf("bad pattern %q: module paths contain no %q", glob, glob[i:i+1])
	}
	if glob[0] == '/' || strings.Contains(glob, "//") {
		return fmt.Errorf("bad pattern %q: a module path has no empty element", glob)
	}
	return nil
}

// inPattern reports whether a module path may have that character, or
// [path.Match] knows it.
func inPattern(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune(`-._~/*?[]^\`, c)
}
