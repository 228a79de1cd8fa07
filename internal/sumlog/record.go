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
	"regexp"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens"
)

// MaxText is the longest text of a record in bytes. The longest path and version
// that the handler takes are far below.
const MaxText = 16 << 10

// hashRE is a hash of go.sum: 32 bytes in base64.
var hashRE = regexp.MustCompile(`^h1:[A-Za-z0-9+/]{43}=$`)

// RecordText writes the go.sum lines of a version.
func RecordText(m module.Version, zipHash, modHash string) ([]byte, error) {
	if err := module.Check(m.Path, m.Version); err != nil {
		return nil, err
	}
	if module.CanonicalVersion(m.Version) != m.Version {
		return nil, fmt.Errorf("%s: the version is not canonical", m)
	}
	for _, h := range []string{zipHash, modHash} {
		if !hashRE.MatchString(h) {
			return nil, fmt.Errorf("%s: %q is no h1: hash", m, h)
		}
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
	bad := fmt.Errorf("malformed record %.120q", text)
	first, rest, ok := strings.Cut(string(text), "\n")
	words := strings.Split(first, " ")
	if !ok || len(words) != 3 {
		return m, "", "", bad
	}
	m, zipHash = module.Version{Path: words[0], Version: words[1]}, words[2]
	modHash, ok = strings.CutPrefix(rest, m.Path+" "+m.Version+"/go.mod ")
	if !ok || !strings.HasSuffix(modHash, "\n") {
		return m, "", "", bad
	}
	modHash = strings.TrimSuffix(modHash, "\n")
	if _, err := RecordText(m, zipHash, modHash); err != nil {
		return m, "", "", bad
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
		return fmt.Errorf("the index takes the record of %s for that of %s; remove index.db, and it is made again", m, other)
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
