package hostkeys

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/athens-go/athens/internal/homefile"

	"github.com/athens-go/athens/internal/sshconfig"
)

// Bounds of a file.
const (
	MaxBytes     = 16 << 20 // of a file; a longer one is treated as absent
	maxLineBytes = 64 << 10 // of a line; a longer one is skipped
	maxNamed     = 10       // lines that a warning names
)

// Load reads files, of which some may be absent. A file that can't be read, and one
// with lines that were skipped, is reported to warn.
func Load(warn homefile.Warn, files ...string) *DB {
	db := &DB{}
	for _, name := range files {
		if odd := db.parse(homefile.Optional(name, MaxBytes, warn)); odd.count > 0 {
			warn.Report(name, odd)
		}
	}
	return db
}

// odd is an error about the lines that were skipped.
type odd struct {
	first []string
	count int
}

func (e *odd) add(number int, why error) {
	if e.count++; e.count <= maxNamed {
		e.first = append(e.first, fmt.Sprintf("line %d is skipped: %v", number, why))
	}
}

func (e odd) Error() string {
	text := strings.Join(e.first, "; ")
	if more := e.count - len(e.first); more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

func (db *DB) parse(data []byte) odd {
	var skipped odd
	number := 0
	for text := range bytes.Lines(data) {
		number++
		text = bytes.TrimRight(text, "\r\n")
		if len(text) > maxLineBytes {
			skipped.add(number, fmt.Errorf("it is longer than %d bytes", maxLineBytes))
			continue
		}
		// For OpenSSH a line ends in a NUL.
		text, _, _ = bytes.Cut(text, []byte{0})
		words := strings.FieldsFunc(string(text), func(r rune) bool { return r == ' ' || r == '\t' })
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		if err := db.parseLine(words); err != nil {
			skipped.add(number, err)
		}
	}
	return skipped
}

// parseLine adds a line, given as words: [marker] hosts type key [comment].
func (db *DB) parseLine(words []string) error {
	marker := ""
	if words[0][0] == '@' {
		marker, words = words[0], words[1:]
	}
	if marker != "" && marker != "@revoked" && marker != "@cert-authority" {
		return errors.New("its marker is not known")
	}
	if len(words) < 3 {
		return errors.New("it lacks a key")
	}
	if strings.HasPrefix(words[0], "\ufeff") {
		return errors.New("it begins with a byte order mark")
	}
	key, err := parseKey(words[1], words[2])
	if err != nil {
		return err
	}
	l := line{key: key, authority: marker == "@cert-authority"}
	if strings.HasPrefix(words[0], "|") {
		if l.salt, l.hash, err = parseHash(words[0]); err != nil {
			return err
		}
	} else {
		l.hosts = strings.Split(strings.ToLower(words[0]), ",")
	}
	if marker == "@revoked" {
		db.revoked = append(db.revoked, key)
		return nil
	}
	db.lines = append(db.lines, l)
	return nil
}

func parseKey(kind, text string) (ssh.PublicKey, error) {
	blob, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("its key is not in base64")
	}
	key, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return nil, errors.New("its key is of a type that is not known, or damaged")
	}
	if key.Type() != kind {
		return nil, errors.New("its key is of another type than it says")
	}
	return key, nil
}

func parseHash(text string) (salt, hash []byte, err error) {
	parts := strings.Split(text, "|")
	if len(parts) == 4 && parts[1] == "1" {
		salt, err = base64.StdEncoding.DecodeString(parts[2])
		if err == nil {
			hash, err = base64.StdEncoding.DecodeString(parts[3])
		}
		if err == nil && len(salt) == sha1.Size && len(hash) == sha1.Size {
			return salt, hash, nil
		}
	}
	return nil, nil, errors.New("its hashed name is not one")
}

// A line is the key of some hosts.
type line struct {
	hosts      []string // patterns, unless the name is hashed
	salt, hash []byte
	key        ssh.PublicKey
	authority  bool // the key certifies those of hosts
}

// matches reports whether a line is about a host, given as [Host.String] writes it.
func (l *line) matches(name string) bool {
	if l.hash != nil {
		return hmac.Equal(hashName(name, l.salt), l.hash)
	}
	matched := false
	for _, p := range l.hosts {
		p, negated := strings.CutPrefix(p, "!")
		if !sshconfig.Wildcard(p, name) {
			continue
		}
		if negated {
			return false
		}
		matched = true
	}
	return matched
}

func hashName(name string, salt []byte) []byte {
	mac := hmac.New(sha1.New, salt)
	mac.Write([]byte(name))
	return mac.Sum(nil)
}
