package storage

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"golang.org/x/mod/module"
)

// recordExt is the extension of the file with the checksums that a version's other files must
// match. Without it, bit rot would be taken for content:
//
//	athens 1 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=
//	example.com/mod v1.0.0
//	mod h1:…
//	zip h1:… 48213 0a1b2c3d
//	info
//	{"Version":"v1.0.0",…
//
// The first line has the SHA-256 of the lines after it. Unknown values are left out. A record
// outlives its files: a file that was quarantined or lost is only replaced by the same content.
const recordExt = ".record"

// maxRecord bounds a record in bytes.
const maxRecord = maxInfo + 16<<10

// A record's empty fields are what it does not know.
type record struct {
	mod  string // h1 of the .mod, as in go.sum
	zip  string // h1 of the zip's content
	raw  string // of the zip file itself, see rawSum
	info []byte // the .info
}

// errRecord says that there is a record and that it can't be relied upon.
var errRecord = errors.New("the record is damaged, or belongs to another version")

// castagnoli is the checksum of a zip file: it finds any flipped bit, in what h1
// does not cover too, and costs next to nothing.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// rawSum describes a zip file by its size in bytes and its checksum. Another zip
// of the same content has another one.
func rawSum(size int64, sum uint32) string { return fmt.Sprintf("%d %08x", size, sum) }

// encode returns the record of m as it is written.
func (r record) encode(m module.Version) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s\n", m.Path, m.Version)
	if r.mod != "" {
		fmt.Fprintf(&b, "mod %s\n", r.mod)
	}
	if r.zip != "" {
		fmt.Fprintf(&b, "zip %s\n", strings.TrimSpace(r.zip+" "+r.raw))
	}
	if r.info != nil {
		fmt.Fprintf(&b, "info\n%s", r.info)
	}
	sum := sha256.Sum256(b.Bytes())
	return append([]byte("athens 1 "+base64.StdEncoding.EncodeToString(sum[:])+"\n"), b.Bytes()...)
}

// parseRecord reads the record of m. A record has one spelling, so that what is
// not as encode would write it is damaged.
func parseRecord(m module.Version, data []byte) (record, error) {
	var r record
	_, rest, _ := bytes.Cut(data, []byte("\n"))
	_, rest, _ = bytes.Cut(rest, []byte("\n"))
	for len(rest) > 0 && r.info == nil {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		name, value, _ := strings.Cut(string(line), " ")
		switch name {
		case "mod":
			r.mod = value
		case "zip":
			r.zip, r.raw, _ = strings.Cut(value, " ")
		case "info":
			r.info = append([]byte{}, after...)
		default:
			return record{}, errRecord
		}
		rest = after
	}
	if r.mod != "" && !isHash(r.mod) || r.zip != "" && !isHash(r.zip) || !bytes.Equal(r.encode(m), data) {
		return record{}, errRecord
	}
	if r.info != nil && !isInfo(m, r.info) {
		return record{}, errRecord
	}
	return r, nil
}

// with returns r with what add knows beside it. Of the zip file add knows better:
// one that was fetched again may be packed in another way.
func (r record) with(add record) record {
	if r.mod == "" {
		r.mod = add.mod
	}
	if r.info == nil {
		r.info = add.info
	}
	if r.zip == "" {
		r.zip = add.zip
	}
	if add.raw != "" && add.zip == r.zip {
		r.raw = add.raw
	}
	return r
}

// readRecord returns the record of m, a zero one if there is none.
func (s *Store) readRecord(m module.Version, base string) (record, error) {
	data, err := s.readSmall(base+recordExt, maxRecord)
	if isAbsent(err) {
		return record{}, nil
	}
	if err != nil {
		return record{}, err
	}
	return parseRecord(m, data)
}

// addRecord adds to the record of m, for a caller that has lock n and syncs the
// folder if it was written.
func (s *Store) addRecord(n int, m module.Version, base string, add record) (written bool, err error) {
	was, err := s.readRecord(m, base)
	if err != nil {
		return false, err
	}
	now := was.with(add)
	if now.mod == was.mod && now.zip == was.zip && now.raw == was.raw && bytes.Equal(now.info, was.info) && (now.info == nil) == (was.info == nil) {
		return false, nil
	}
	return true, s.replaceFile(n, base+recordExt, now.encode(m))
}

// readSmall reads a file up to one byte more than limit.
func (s *Store) readSmall(name string, limit int64) ([]byte, error) {
	f, err := s.fs.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit+1))
}
