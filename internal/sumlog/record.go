// Package sumlog has what the implementations of a ledger share: the texts of records,
// the hash tree and its tiles, and signed heads. It reads and writes no file.
//
// A record is the go.sum lines of a version ([RecordText]). [Tree] has the hashes at
// the right edge of the tree of all records; each record that is added may complete
// tiles, which never change afterwards. [Keys] signs the tree.
package sumlog

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens"
)

// MaxText is the longest text of a record in bytes. The longest path and version
// that the handler takes are far below.
const MaxText = 16 << 10

// isHash reports whether s is a hash of go.sum: 32 bytes in base64.
func isHash(s string) bool {
	digits, ok := strings.CutPrefix(s, "h1:")
	if !ok || len(digits) != 44 || digits[43] != '=' {
		return false
	}
	for _, c := range []byte(digits[:43]) {
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '+' && c != '/' {
			return false
		}
	}
	return true
}

// check refuses what no record may have.
func check(m module.Version, zipHash, modHash string) error {
	if err := module.Check(m.Path, m.Version); err != nil {
		return err
	}
	if module.CanonicalVersion(m.Version) != m.Version {
		return fmt.Errorf("%s: the version is not canonical", m)
	}
	for _, h := range []string{zipHash, modHash} {
		if !isHash(h) {
			return fmt.Errorf("%s: %q is not an h1: hash", m, h)
		}
	}
	return nil
}

// RecordText writes the go.sum lines of a version.
func RecordText(m module.Version, zipHash, modHash string) ([]byte, error) {
	if err := check(m, zipHash, modHash); err != nil {
		return nil, err
	}
	text := fmt.Appendf(nil, "%s %s %s\n%s %s/go.mod %s\n", m.Path, m.Version, zipHash, m.Path, m.Version, modHash)
	if len(text) > MaxText {
		return nil, fmt.Errorf("the record of %.80s has %d bytes, more than %d", m.Path, len(text), MaxText)
	}
	if _, err := tlog.FormatRecord(0, text); err != nil {
		return nil, err
	}
	return text, nil
}

// ParseText reads the text of a record. It accepts only what RecordText writes.
func ParseText(text []byte) (m module.Version, zipHash, modHash string, err error) {
	whole := string(text)
	first, second, _ := strings.Cut(whole, "\n")
	path, rest, _ := strings.Cut(first, " ")
	version, zipHash, _ := strings.Cut(rest, " ")
	m = module.Version{Path: path, Version: version}
	modHash, ok := strings.CutPrefix(second, path+" "+version+"/go.mod ")
	if ok {
		modHash, ok = strings.CutSuffix(modHash, "\n")
	}
	if !ok || len(whole) > MaxText || check(m, zipHash, modHash) != nil {
		return module.Version{}, "", "", fmt.Errorf("malformed record %.120q", text)
	}
	return m, zipHash, modHash, nil
}

// Conflict returns the [*athens.ConflictError] of two records of one version, of which
// the first is in the log.
func Conflict(held, got []byte) error {
	m, zipHash, modHash, err := ParseText(held)
	if err != nil {
		return err
	}
	other, gotZip, gotMod, err := ParseText(got)
	if err != nil {
		return err
	}
	switch {
	case m != other:
		return fmt.Errorf("the index takes the record of %s for that of %s; remove index.db to have it rebuilt", m, other)
	case modHash != gotMod:
		return &athens.ConflictError{Module: m, File: athens.ModFile, Held: modHash, Got: gotMod}
	}
	return &athens.ConflictError{Module: m, File: athens.ZipFile, Held: zipHash, Got: gotZip}
}

// Stamp is the time of the next record in nanoseconds since 1970: now, but later than
// the last one, so that records have one order.
func Stamp(last int64) int64 { return max(time.Now().UnixNano(), last+1) }

// IndexKey is what an index finds a version by: the beginning of its name's hash. A
// caller that finds a record reads it, and sees whether it is the version's.
type IndexKey [16]byte

// KeyOf returns the key of a version.
func KeyOf(m module.Version) (k IndexKey) {
	sum := sha256.Sum256([]byte(m.Path + "@" + m.Version))
	copy(k[:], sum[:])
	return k
}
