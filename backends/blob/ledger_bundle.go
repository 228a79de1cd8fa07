package blob

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/internal/sumlog"
)

// The bounds of a bundle. A bundle is read whole.
const (
	maxBundleBytes   = 256 << 10 // of its text
	maxBundleRecords = 1024
	maxBundleObject  = maxBundleBytes + 4<<10 // with signatures
)

// bundleMagic begins the text of a bundle, so that its signature is never one of a head.
const bundleMagic = "athens ledger bundle\n"

// bundle is what one process added to the log at once. Its object is a note, the text of
// which is bundleMagic, a line with the bundle's number, the number of its first record
// and the hash of the tree before it, and for each record a line with its time, in
// nanoseconds since 1970, and its two lines.
type bundle struct {
	seq     int64
	first   int64
	before  tlog.Hash
	records []ledgerRecord
	signed  bool // by a key of the ledger
}

type ledgerRecord struct {
	time int64
	text []byte
}

// cost is about what the bundle takes of memory, in bytes.
func (b *bundle) cost() int64 {
	n := int64(200)
	for _, r := range b.records {
		n += int64(len(r.text)) + 48
	}
	return n
}

// encode makes the object of a bundle.
func (b *bundle) encode(signers []note.Signer) ([]byte, error) {
	var text bytes.Buffer
	fmt.Fprintf(&text, "%s%d %d %s\n", bundleMagic, b.seq, b.first, b.before)
	for _, r := range b.records {
		fmt.Fprintf(&text, "%d\n%s", r.time, r.text)
	}
	return note.Sign(&note.Note{Text: text.String()}, signers...)
}

// parseBundle reads the object of a bundle.
func parseBundle(data []byte, known note.Verifiers) (*bundle, error) {
	n, err := note.Open(data, known)
	b := &bundle{signed: err == nil}
	if unverified, ok := errors.AsType[*note.UnverifiedNoteError](err); ok {
		n, err = unverified.Note, nil
	}
	if err != nil {
		return nil, err
	}
	text, ok := strings.CutPrefix(n.Text, bundleMagic)
	header, rest, cut := strings.Cut(text, "\n")
	words := strings.Split(header, " ")
	if !ok || !cut || len(words) != 3 {
		return nil, errors.New("it does not begin as a bundle does")
	}
	var err1, err2, err3 error
	b.seq, err1 = number(words[0])
	b.first, err2 = number(words[1])
	b.before, err3 = tlog.ParseHash(words[2])
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	for rest != "" {
		line, after, _ := strings.Cut(rest, "\n")
		at, err := number(line)
		if err != nil {
			return nil, err
		}
		end := lines(after, 2)
		if _, _, _, err := sumlog.ParseText([]byte(after[:end])); err != nil {
			return nil, err
		}
		b.records = append(b.records, ledgerRecord{at, []byte(after[:end])})
		rest = after[end:]
	}
	if len(b.records) == 0 || len(b.records) > maxBundleRecords {
		return nil, fmt.Errorf("it has %d records", len(b.records))
	}
	return b, nil
}

// lines is the length of the first n lines of s.
func lines(s string, n int) int {
	end := 0
	for range n {
		end += strings.IndexByte(s[end:], '\n') + 1
	}
	return end
}

// number reads a number as it is written here.
func number(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != s {
		return 0, fmt.Errorf("%.40q is not a number", s)
	}
	return n, nil
}
