package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/module"
)

// firstLine begins a manifest, and a note.
const firstLine = "athens bundle 1"

// Manifest names everything that a store held when a bundle was made of it: lines of text.
//
//	athens bundle 1
//	since 2gtOA5Iq1sVv3ExsbRLoC/vnPwYEwQ4XyP7XaWUpYPo
//	sumdb sum.example.com/head 312 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU
//	sumdb sum.example.com/tile/8/0/000 - 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU
//	module example.com/Mod
//	v0.9.0 removed "malware"
//	v1.0.0 - zip
//	v1.1.0 57 SHA256 21 SHA256 1203 SHA256 h1:… hidden "does not build"
//
// The sizes and hashes of a version are those of its .info, .mod and, if it is held, zip. A "-"
// says that an earlier bundle has it. Lines, and the words in them, have one order and spelling.
type Manifest struct {
	text []byte
	// versions and names count what is carried.
	versions, zips, sums, removed, hidden, before int
	bytes                                         int64
}

// Text returns the manifest as it is written, which [ParseManifest] reads. The caller does not
// change it.
func (m *Manifest) Text() []byte { return m.text }

// part is a file in the bundle.
type part struct {
	size int64
	sum  [sha256.Size]byte
}

// partOf describes data.
func partOf(data []byte) part { return part{int64(len(data)), sha256.Sum256(data)} }

func (p part) append(b []byte) []byte {
	b = append(strconv.AppendInt(append(b, ' '), p.size, 10), ' ')
	return base64.RawStdEncoding.AppendEncode(b, p.sum[:])
}

// state says what a store held of a version.
type state uint8

const (
	notHeld state = iota
	before        // an earlier bundle has it
	carried       // it is in this bundle
)

// kind is that of a mark.
type kind string

const (
	noMark   kind = ""
	removed  kind = "removed"
	hidden   kind = "hidden"
	restored kind = "restored" // an earlier bundle had a mark, with this reason
)

// version is a version's line.
type version struct {
	m         module.Version
	state     state
	hasZip    bool
	info, mod part
	zip       part
	h1        string
	mark      kind
	reason    string
}

// answer is a line about an answer of a checksum database.
type answer struct {
	name string
	part
	carried bool
}

func (v *version) append(b []byte) []byte {
	b = append(b, v.m.Version...)
	switch v.state {
	case before:
		b = append(b, " -"...)
		if v.hasZip {
			b = append(b, " zip"...)
		}
	case carried:
		b = v.mod.append(v.info.append(b))
		if v.hasZip {
			b = append(append(v.zip.append(b), ' '), v.h1...)
		}
	}
	if v.mark != noMark {
		b = append(append(append(b, ' '), v.mark...), ' ')
		b = strconv.AppendQuoteToASCII(b, v.reason)
	}
	return append(b, '\n')
}

func (a *answer) append(b []byte) []byte {
	b = append(append(b, "sumdb "...), a.name...)
	if a.carried {
		return append(a.part.append(b), '\n')
	}
	b = base64.RawStdEncoding.AppendEncode(append(b, " - "...), a.sum[:])
	return append(b, '\n')
}

var errLine = errors.New("malformed line")

// parseVersion reads a version's line of the module with that path.
func parseVersion(path, line string) (*version, error) {
	v := &version{m: module.Version{Path: path}}
	rest := line
	if i := strings.IndexByte(line, '"'); i > 0 {
		reason, err := strconv.Unquote(line[i:])
		if err != nil {
			return nil, errLine
		}
		j := strings.LastIndexByte(line[:i-1], ' ')
		if j < 0 {
			return nil, errLine
		}
		v.reason, v.mark, rest = reason, kind(line[j+1:i-1]), line[:j]
		if v.mark != removed && v.mark != hidden && v.mark != restored {
			return nil, errLine
		}
	}
	words := strings.Split(rest, " ")
	v.m.Version = words[0]
	if err := checkVersion(v.m); err != nil {
		return nil, err
	}
	var err error
	switch words = words[1:]; {
	case len(words) == 0:
	case words[0] == "-":
		v.state, v.hasZip = before, len(words) == 2
	case len(words) == 4 || len(words) == 7:
		v.state, v.hasZip = carried, len(words) == 7
		v.info, err = parsePart(words, maxInfo)
		if err == nil {
			v.mod, err = parsePart(words[2:], maxMod)
		}
		if err == nil && v.hasZip {
			v.h1 = words[6]
			v.zip, err = parsePart(words[4:], maxZip)
		}
	default:
		err = errLine
	}
	if err == nil && (v.state == notHeld && v.mark == noMark || v.state != notHeld && v.mark == removed || !bytes.Equal(v.append(nil), []byte(line+"\n"))) {
		err = errLine
	}
	return v, err
}

// checkVersion checks that m is what a store holds.
func checkVersion(m module.Version) error {
	if err := module.Check(m.Path, m.Version); err != nil {
		return err
	}
	if module.CanonicalVersion(m.Version) != m.Version {
		return fmt.Errorf("%.300q is not a canonical version", m.String())
	}
	return nil
}

// parsePart reads a size and a hash.
func parsePart(words []string, most int64) (p part, err error) {
	p.size, err = strconv.ParseInt(words[0], 10, 64)
	if err != nil || p.size < 1 {
		return p, errLine
	}
	if p.size > most {
		return p, fmt.Errorf("a file has %d bytes, more than %d", p.size, most)
	}
	return p, parseSum(&p.sum, words[1])
}

func parseSum(sum *[sha256.Size]byte, word string) error {
	raw, err := base64.RawStdEncoding.Strict().DecodeString(word)
	if err != nil || len(raw) != len(sum) {
		return errLine
	}
	copy(sum[:], raw)
	return nil
}

// parseAnswer reads what follows "sumdb ".
func parseAnswer(rest string) (*answer, error) {
	words := strings.Split(rest, " ")
	if len(words) != 3 {
		return nil, errLine
	}
	a := &answer{name: words[0], carried: words[1] != "-"}
	if err := checkSumName(a.name); err != nil {
		return nil, err
	}
	var err error
	if a.carried {
		a.part, err = parsePart(words[1:], maxSum)
	} else {
		err = parseSum(&a.sum, words[2])
	}
	if err == nil && !bytes.Equal(a.append(nil), []byte("sumdb "+rest+"\n")) {
		err = errLine
	}
	return a, err
}

// checkSumName checks the name of an answer. Where case does not count, two names are two
// files, and none is a folder of the other.
func checkSumName(name string) error {
	db, rest, _ := strings.Cut(name, "/")
	ok := db != "" && rest != "" && len(name) <= 4096
	for elem := range strings.SplitSeq(name, "/") {
		ok = ok && elem != "" && elem != "." && elem != ".."
	}
	for _, c := range []byte(name) {
		ok = ok && c > ' ' && c < 0x7f && !('A' <= c && c <= 'Z') && !strings.ContainsRune(`\*?"<>|`, rune(c))
	}
	if !ok {
		return fmt.Errorf("%.300q is not the name of an answer of a checksum database", name)
	}
	return nil
}

// ParseManifest reads the text of a manifest, and checks it.
func ParseManifest(text []byte) (*Manifest, error) {
	m := &Manifest{text: text}
	for line, err := range m.lines() {
		if err != nil {
			return nil, err
		}
		m.count(line)
	}
	return m, nil
}

// count adds what a line says.
func (m *Manifest) count(line any) {
	switch l := line.(type) {
	case *answer:
		if !l.carried {
			m.before++
			return
		}
		m.sums++
		m.bytes += l.size
	case *version:
		switch l.mark {
		case removed:
			m.removed++
		case hidden:
			m.hidden++
		}
		switch l.state {
		case before:
			m.before++
		case carried:
			m.versions++
			m.bytes += l.info.size + l.mod.size + l.zip.size
			if l.hasZip {
				m.zips++
			}
		}
	}
}
