package oidc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/athens-go/athens/internal/limit"
	"github.com/athens-go/athens/serve/auth"
)

// Limits of a file of issuers.
const (
	maxBytes = 1 << 20
	maxLines = 10_000 // with allow
	maxLabel = 40
)

// Config is the text of a file of issuers. It does not change.
type Config struct {
	issuers map[string]*issuer // by URL
	lines   int                // with allow
}

// issuer is whose tokens count.
type issuer struct {
	label     string
	claim     string // which names the job; empty: the first of nameClaims that is there
	audiences []string
	allow     []*allow
}

// allow is what tokens with certain claims are for.
type allow struct {
	grant  *auth.Grant
	claims []claim
}

// claim is a claim that a token needs, and how its value looks.
type claim struct {
	name  string
	value *regexp.Regexp
}

// ReadFile reads a file of issuers, see [Parse].
func ReadFile(file string) (*Config, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("oidc: %w", err)
	}
	defer f.Close()
	return Parse(file, f)
}

// Parse reads lines of these kinds, in any number of blanks between the words:
//
//	issuer URL LABEL [CLAIM]
//	audience AUDIENCE
//	allow PATTERNS RIGHTS CLAIM=GLOB [CLAIM=GLOB …]
//
// and blank lines, and comments that begin with # on a line of their own. The lines behind an
// issuer are about its tokens, as far as the next issuer.
//
// URL is the iss of its tokens, as they spell it: https, or http on a loopback address. LABEL,
// of at most 40 letters, digits, dots, dashes and underscores, stands before the name of its
// jobs in the log, such as gitlab:team/app. The name is the value of CLAIM; if that is left
// out, of repository, project_path or sub, whichever comes first in a token.
//
// AUDIENCE is one of which tokens must have at least one in their aud. An issuer without one
// is an error: another server that takes tokens of the issuer could use those of its jobs here.
//
// PATTERNS and RIGHTS are those of a token file, see [auth.Parse]. They hold for tokens that
// have every CLAIM with a value that GLOB matches as a whole: * is anything but slashes, **
// anything, and ? one character that is no slash. Of a list, one item has to match; true,
// false and whole numbers count as they are written. A token that several lines match has the
// rights of all.
//
// The error of a bad line begins with "name:line: ". More than 1 MiB and more than 10,000
// allow lines are errors too.
func Parse(name string, r io.Reader) (*Config, error) {
	text, err := limit.ReadAll(r, maxBytes)
	if limit.Exceeded(err) {
		return nil, fmt.Errorf("%s: issuers of %w", name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("oidc: %w", err)
	}
	c := &Config{issuers: make(map[string]*issuer)}
	var now *issuer
	number, begun := 0, 0 // lines
	for line := range bytes.Lines(text) {
		number++
		next, err := c.parseLine(now, strings.TrimSpace(string(line)))
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, number, err)
		}
		if next != now {
			if err := now.check(); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", name, begun, err)
			}
			now, begun = next, number
		}
	}
	if err := now.check(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", name, begun, err)
	}
	return c, nil
}

// check refuses an issuer that lacks something; nil lacks nothing.
func (i *issuer) check() error {
	if i != nil && len(i.audiences) == 0 {
		return errors.New("the issuer has no audience line: say which aud its tokens must have")
	}
	return nil
}

// parseLine reads a line, and returns the issuer that the next lines are about.
func (c *Config) parseLine(now *issuer, line string) (*issuer, error) {
	if line == "" || line[0] == '#' {
		return now, nil
	}
	for _, r := range line {
		if r == utf8.RuneError || r != '\t' && !unicode.IsPrint(r) {
			return nil, errors.New("a character that can't be printed")
		}
	}
	words := strings.Fields(line)
	switch {
	case words[0] == "issuer":
		return c.parseIssuer(words[1:])
	case words[0] != "audience" && words[0] != "allow":
		return nil, fmt.Errorf("%q is none of issuer, audience and allow", words[0])
	case now == nil:
		return nil, fmt.Errorf("%s stands before any issuer", words[0])
	case words[0] == "allow":
		return now, c.parseAllow(now, words[1:])
	case len(words) != 2:
		return nil, errors.New("want audience AUDIENCE")
	}
	now.audiences = append(now.audiences, words[1])
	return now, nil
}

func (c *Config) parseIssuer(words []string) (*issuer, error) {
	if len(words) != 2 && len(words) != 3 {
		return nil, errors.New("want issuer URL LABEL [CLAIM]")
	}
	u, err := url.Parse(words[0])
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || !secure(u) {
		return nil, fmt.Errorf("%q is no URL of an issuer: want https://HOST[/PATH], or http on a loopback address", words[0])
	}
	one := &issuer{label: words[1]}
	if len(words) == 3 {
		one.claim = words[2]
	}
	ok := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._-", r)
	}
	if len(one.label) > maxLabel || strings.TrimFunc(one.label, ok) != "" {
		return nil, fmt.Errorf("bad label %q: want at most %d letters, digits, dots, dashes and underscores", one.label, maxLabel)
	}
	for url, other := range c.issuers {
		if url == words[0] || other.label == one.label {
			return nil, errors.New("another line has the same issuer or label")
		}
	}
	c.issuers[words[0]] = one
	return one, nil
}

func (c *Config) parseAllow(now *issuer, words []string) error {
	if len(words) < 3 {
		return errors.New("want allow PATTERNS RIGHTS CLAIM=GLOB: without a claim, every job of the issuer would be let in")
	}
	if c.lines++; c.lines > maxLines {
		return fmt.Errorf("more than %d allow lines", maxLines)
	}
	rights, err := auth.ParseRights(words[1])
	if err != nil {
		return err
	}
	line := &allow{}
	if line.grant, err = auth.NewGrant(words[0], rights); err != nil {
		return err
	}
	for _, word := range words[2:] {
		name, glob, ok := strings.Cut(word, "=")
		if !ok || name == "" || glob == "" {
			return fmt.Errorf("%q is not CLAIM=GLOB", word)
		}
		value, err := compile(glob)
		if err != nil {
			return err
		}
		line.claims = append(line.claims, claim{name, value})
	}
	now.allow = append(now.allow, line)
	return nil
}

// compile returns the expression that matches what a glob does.
func compile(glob string) (*regexp.Regexp, error) {
	if len(glob) > 1000 {
		return nil, errors.New("a glob of more than 1000 bytes")
	}
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for i := 0; i < len(glob); i++ {
		switch {
		case strings.HasPrefix(glob[i:], "**"):
			b.WriteString(".*")
			i++
		case glob[i] == '*':
			b.WriteString("[^/]*")
		case glob[i] == '?':
			b.WriteString("[^/]")
		default:
			end := i + 1 + strings.IndexAny(glob[i+1:]+"*", "*?")
			b.WriteString(regexp.QuoteMeta(glob[i:end]))
			i = end - 1
		}
	}
	return regexp.Compile(b.String() + `\z`)
}

// secure reports whether what a URL answers comes from the host that it names.
func secure(u *url.URL) bool {
	if u.Scheme == "http" {
		addr, err := netip.ParseAddr(u.Hostname())
		return err == nil && addr.IsLoopback()
	}
	return u.Scheme == "https"
}
