// Package auth lets clients in by tokens: a file says whose they are, which modules each is
// for and what it may do there.
//
//	$2a$10$N9qo8uLOickgx2ZMRZoMye...  ci  corp.example.com,github.com/corp  read,publish
//	anonymous read golang.org,github.com/spf13
//
// [Open] reads such a file, and again when it changes; [Parse] describes its lines.
// [File.Require] puts it before a handler:
//
//	tokens, err := auth.Open("tokens.txt", nil)
//	…
//	go tokens.Run(ctx)
//	root := tokens.Require(serve.Front(handler, health, page))
//
// [NewToken] makes a secret and its line. A client presents the secret as a Bearer token or
// as the password of a Basic login, which the go command takes from a netrc file or from
// GOAUTH. A request without a valid one is answered with 401, one with a token that does not
// suffice with 403; /healthz and /readyz need none.
//
// Files have hashes (bcrypt) and no secrets. So that a request does not pay for the hash each
// time, the tokens that were verified are remembered in memory under a keyed hash of the
// login: at most [Options.MaxVerified]. An address that presents wrong secrets again and
// again is answered with 429, see [Options.MaxWrongLogins].
//
// [Options.Verify] lets in clients with secrets that no file has, such as the tokens that a
// CI system gives its jobs (package oidc under backends/).
package auth

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"

	"github.com/athens-go/athens/internal/limit"
)

// Limits of a token file.
const (
	maxBytes  = 1 << 20
	maxTokens = 10_000
	maxName   = 40
	maxSecret = 72 // bytes, of which bcrypt takes no more
)

// Rights are what a token may do with the modules that it is for.
type Rights uint8

// The rights. Admin includes all others.
const (
	Read    Rights = 1 << iota // get what the module has: every GET and HEAD
	Publish                    // upload versions: PUT
	Refresh                    // have sources asked anew: POST
	Admin
)

// names are those of the rights in a token file.
var names = []struct {
	name  string
	right Rights
}{{"read", Read}, {"publish", Publish}, {"refresh", Refresh}, {"admin", Admin}}

// ParseRights reads a list such as "read,publish".
func ParseRights(list string) (Rights, error) {
	var all Rights
next:
	for item := range strings.SplitSeq(list, ",") {
		for _, n := range names {
			if n.name == item {
				all |= n.right
				continue next
			}
		}
		return 0, fmt.Errorf("unknown right %q: want read, publish, refresh or admin", item)
	}
	if all&Admin != 0 {
		all |= Read | Publish | Refresh
	}
	return all, nil
}

// String returns the rights as ParseRights reads them.
func (r Rights) String() string {
	var all []string
	for _, n := range names {
		if r&n.right != 0 {
			all = append(all, n.name)
		}
	}
	return strings.Join(all, ",")
}

// token is a line.
type token struct {
	Identity
	hash  []byte // of bcrypt
	check string // see checkOf; empty if the line has none
}

// Tokens are the lines of a token file. They don't change.
type Tokens struct {
	byName    map[string]*token
	anonymous *Identity // nil: nobody comes in without a token
}

// ReadFile reads a token file, see [Parse].
func ReadFile(file string) (*Tokens, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	defer f.Close()
	return Parse(file, f)
}

// Parse reads tokens, one a line, in any number of blanks between the words:
//
//	HASH NAME PATTERNS RIGHTS [CHECK]
//	anonymous read PATTERNS
//
// and blank lines, and comments that begin with # on a line of their own. HASH is of bcrypt,
// as [NewToken] and "htpasswd -nB" make it. NAME, of at most 40 letters, digits, dots, dashes
// and underscores, is in the log and belongs to one line. PATTERNS are those of GOPRIVATE:
// globs of module paths, separated by commas; * is all of them, and what belongs to no module.
// They match exactly as the go command spells paths. RIGHTS are some of read, publish,
// refresh and admin, separated by commas. CHECK, which [NewToken] writes, tells
// nearly all wrong secrets from the right one without the hash. An anonymous line lets everybody read what it
// matches; there may be several.
//
// The error of a bad line begins with "name:line: ". It shows no hash. More than 1 MiB and
// more than 10,000 tokens are errors too.
func Parse(name string, r io.Reader) (*Tokens, error) {
	text, err := limit.ReadAll(r, maxBytes)
	if limit.Exceeded(err) {
		return nil, fmt.Errorf("%s: tokens of %w", name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	tokens := &Tokens{byName: make(map[string]*token)}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		if err := tokens.parseLine(strings.TrimSpace(string(line))); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, number, err)
		}
	}
	return tokens, nil
}

func (t *Tokens) parseLine(line string) error {
	if line == "" || line[0] == '#' {
		return nil
	}
	for _, c := range line {
		if c == utf8.RuneError || c != '\t' && !unicode.IsPrint(c) {
			return errors.New("unprintable character")
		}
	}
	words := strings.Fields(line)
	if words[0] == "anonymous" {
		if len(words) != 3 || words[1] != "read" {
			return errors.New(`want "anonymous read PATTERNS"`)
		}
		grant, err := NewGrant(words[2], Read)
		if err != nil {
			return err
		}
		if t.anonymous == nil {
			t.anonymous = &Identity{}
		}
		t.anonymous.Grants = append(t.anonymous.Grants, grant)
		return nil
	}
	if len(words) != 4 && (len(words) != 5 || !strings.HasPrefix(words[4], checkPrefix) || len(words[4]) != len(checkOf(""))) {
		return errors.New("want HASH NAME PATTERNS RIGHTS, and the check if the tool wrote one")
	}
	if _, err := bcrypt.Cost([]byte(words[0])); err != nil {
		return errors.New("the hash is not a bcrypt hash")
	}
	one := &token{hash: []byte(words[0]), Identity: Identity{Name: words[1]}}
	if err := checkName(one.Name); err != nil {
		return err
	}
	switch {
	case t.byName[one.Name] != nil:
		return fmt.Errorf("another line has the name %q", one.Name)
	case len(t.byName) == maxTokens:
		return fmt.Errorf("more than %d tokens", maxTokens)
	}
	rights, err := ParseRights(words[3])
	if err != nil {
		return err
	}
	grant, err := NewGrant(words[2], rights)
	if err != nil {
		return err
	}
	one.Grants = []*Grant{grant}
	if len(words) == 5 {
		one.check = words[4]
	}
	t.byName[one.Name] = one
	return nil
}

// checkPrefix is what a check begins with.
const checkPrefix = "check:"

// checkOf returns 24 bits of another hash of a secret. It is only for secrets of [NewToken],
// which have enough random bits to spare them.
func checkOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return checkPrefix + base64.RawURLEncoding.EncodeToString(sum[:3])
}

// checkName refuses what is no name.
func checkName(name string) error {
	ok := func(c rune) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("._-", c)
	}
	if name == "" || len(name) > maxName || strings.TrimFunc(name, ok) != "" || name == "anonymous" {
		return fmt.Errorf("bad name %q: want at most %d letters, digits, dots, dashes and underscores", name, maxName)
	}
	return nil
}

// NewToken makes a secret, and the line by which a token file admits it. The secret begins
// with the name, and has 130 random bits. What is wrong with the name, the patterns or the
// rights is an error.
func NewToken(name, patterns string, rights Rights) (secret, line string, err error) {
	if err := checkName(name); err != nil {
		return "", "", fmt.Errorf("auth: %w", err)
	}
	secret = name + "." + rand.Text()
	hash, err := bcrypt.GenerateFromPassword([]byte(secret), bcrypt.DefaultCost)
	if err != nil {
		return "", "", fmt.Errorf("auth: %w", err)
	}
	line = fmt.Sprintf("%s %s %s %s %s", hash, name, patterns, rights, checkOf(secret))
	if err := (&Tokens{byName: make(map[string]*token)}).parseLine(line); err != nil {
		return "", "", fmt.Errorf("auth: %w", err)
	}
	return secret, line, nil
}
