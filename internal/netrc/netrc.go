// Package netrc finds login names and passwords in a .netrc file, as curl, git
// and the go command read it.
//
// The format is a list of words: "machine HOST", "login NAME", "password
// SECRET", "account NAME", "default", and "macdef NAME" whose body runs to the
// next empty line. A "default" entry serves hosts that have none of their own.
package netrc

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/athens-go/athens/internal/homefile"
)

// MaxSize is how much of a file is read, in bytes. A longer one is refused.
const MaxSize = 1 << 20

// Entry is what a file says of one machine.
type Entry struct {
	Machine  string // host name; empty for the default entry
	Login    string
	Password string
}

// File is a parsed .netrc file. Its zero value knows no machine.
type File struct {
	entries []Entry
}

// Lookup returns the entry of a host, given without its port; where there are
// several, the first. The default entry is the answer for all others.
func (f *File) Lookup(host string) (Entry, bool) {
	if f == nil {
		return Entry{}, false
	}
	for _, e := range f.entries {
		if e.Machine == "" || strings.EqualFold(e.Machine, host) {
			return e, true
		}
	}
	return Entry{}, false
}

// Parse reads a file's text. What it does not understand it passes over, as
// the other readers of this format do.
func Parse(text string) *File {
	var (
		f     File
		words = scanner{rest: text, lineStart: true}
		entry *Entry
		plain []Entry // default entries, which come last
	)
	flush := func() {
		switch {
		case entry == nil || *entry == (Entry{Machine: entry.Machine}):
		case entry.Machine == "":
			plain = append(plain, *entry)
		default:
			f.entries = append(f.entries, *entry)
		}
	}
	for word := words.next(); word != ""; word = words.next() {
		switch word {
		case "machine":
			flush()
			entry = &Entry{Machine: words.next()}
		case "default":
			flush()
			entry = &Entry{}
		case "macdef":
			words.skipMacro()
		case "login", "password", "account":
			value := words.next()
			switch {
			case entry == nil:
			case word == "login":
				entry.Login = value
			case word == "password":
				entry.Password = value
			}
		}
	}
	flush()
	f.entries = append(f.entries, plain...)
	return &f
}

// A scanner splits a text into words.
type scanner struct {
	rest      string
	lineStart bool // no word of this line was read yet
}

// next returns the next word, or "" at the end. A word may stand in double
// quotes, where a backslash protects the next character. A line that begins
// with "#" is a comment.
func (s *scanner) next() string {
	for s.rest != "" {
		switch c := s.rest[0]; {
		case c == '\n':
			s.lineStart = true
			s.rest = s.rest[1:]
		case strings.IndexByte(blanks, c) >= 0:
			s.rest = s.rest[1:]
		case c == '#' && s.lineStart:
			_, after, _ := strings.Cut(s.rest, "\n")
			s.rest = after
		case c == '"':
			s.lineStart = false
			return s.quoted()
		default:
			s.lineStart = false
			end := strings.IndexAny(s.rest, blanks)
			if end < 0 {
				end = len(s.rest)
			}
			word := s.rest[:end]
			s.rest = s.rest[end:]
			return word
		}
	}
	return ""
}

const blanks = " \t\r\n\v\f"

func (s *scanner) quoted() string {
	var word strings.Builder
	i := 1
	for ; i < len(s.rest) && s.rest[i] != '"'; i++ {
		if s.rest[i] == '\\' && i+1 < len(s.rest) {
			i++
		}
		word.WriteByte(s.rest[i])
	}
	s.rest = s.rest[min(i+1, len(s.rest)):]
	return word.String()
}

// skipMacro passes over a macro's name and body, which ends at an empty line.
func (s *scanner) skipMacro() {
	for {
		line, after, more := strings.Cut(s.rest, "\n")
		s.rest, s.lineStart = after, true
		if !more || strings.TrimSpace(line) == "" {
			return
		}
	}
}

// Load reads the named file. One that is not there is an empty one.
func Load(name string) (*File, error) {
	data, err := homefile.Read(name, MaxSize)
	if errors.Is(err, fs.ErrNotExist) {
		return &File{}, nil
	}
	if err != nil {
		return nil, err
	}
	return Parse(string(data)), nil
}

// DefaultPath returns the file that the go command reads: the one that NETRC names, otherwise
// .netrc (on Windows _netrc) in the home folder. It returns "" if there is no home folder.
func DefaultPath() string {
	if name := os.Getenv("NETRC"); name != "" {
		return name
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	base := ".netrc"
	if runtime.GOOS == "windows" {
		base = "_netrc"
	}
	return filepath.Join(home, base)
}
