package gitwire

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
)

// capabilities are what a server says that it can do, each with its value after a "=".
type capabilities []string

// maxCapabilities bounds how much of them is kept, in bytes.
const maxCapabilities = 64 << 10

func (c capabilities) has(name string) bool { return slices.Contains(c, name) || c.value(name) != "" }

func (c capabilities) value(name string) string {
	for _, text := range c {
		if v, ok := strings.CutPrefix(text, name+"="); ok {
			return v
		}
	}
	return ""
}

// advertisement reads what a server says first: the capabilities, and before version 2
// the references.
func (s *Server) advertisement(in *packets, visit func(Ref) error) error {
	kind, data, err := in.text()
	if err == nil && kind == line && bytes.HasPrefix(data, []byte("# service=")) {
		if kind, data, err = in.text(); err == nil && kind == flush {
			kind, data, err = in.text()
		}
	}
	if err == nil && kind == line && string(data) == "version 1" {
		s.Version = 1
		kind, data, err = in.text()
	}
	switch {
	case err == io.EOF:
		return errEnded
	case err != nil:
		return err
	case kind == flush:
		s.Empty = true
		return nil
	case kind != line:
		return ErrNotGit
	case string(data) == "version 2":
		s.Version = 2
		return s.version2(in)
	}
	return s.version0(in, data, visit)
}

// version2 reads the capabilities of a server of version 2.
func (s *Server) version2(in *packets) error {
	size := 0
	for {
		kind, data, err := in.text()
		switch {
		case err != nil:
			return unexpected(err)
		case kind == flush:
			s.features = " " + s.caps.value("fetch") + " "
			s.Deepens = strings.Contains(s.features, " shallow ")
			if !s.caps.has("ls-refs") || !s.caps.has("fetch") {
				return errors.New("the server can neither list nor fetch in version 2 of git's protocol")
			}
			return s.format()
		case kind != line:
			return ErrNotGit
		}
		if size += len(data); size > maxCapabilities {
			return &TooLarge{"the list of what the server can do"}
		}
		s.caps = append(s.caps, string(data))
	}
}

// format is an error if the repository's hashes are not SHA-1.
func (s *Server) format() error {
	if f := s.caps.value("object-format"); f != "" && f != "sha1" {
		return ErrSHA256
	}
	return nil
}

// version0 reads references from the first line on, which has the capabilities.
func (s *Server) version0(in *packets, first []byte, visit func(Ref) error) error {
	head, caps, ok := bytes.Cut(first, []byte{0})
	if len(caps) > maxCapabilities {
		return &TooLarge{"the list of what the server can do"}
	}
	s.caps = strings.Fields(string(caps))
	if err := s.format(); err != nil {
		return err
	}
	s.Deepens = s.caps.has("shallow")
	if id, name, parsed := parseRef(head); parsed && id == (ID{}) && string(name) == "capabilities^{}" {
		s.Empty = true
		head = nil
	} else if !ok && !parsed {
		return notRef(head)
	}
	l := lister{visit: visit}
	for data := head; ; {
		if data != nil {
			cut, err := l.add(data)
			if err != nil {
				return err
			}
			s.Cut = s.Cut || cut
		}
		kind, next, err := in.text()
		switch {
		case err != nil:
			return unexpected(err)
		case kind == flush:
			return l.end()
		case kind != line:
			return ErrNotGit
		}
		data = next
	}
}

// notRef says why a line is no reference.
func notRef(data []byte) error {
	if i := bytes.IndexByte(data, ' '); i == hexLengthSHA256 {
		return ErrSHA256
	}
	return ErrNotGit
}

// parseRef takes "HASH NAME" apart.
func parseRef(data []byte) (id ID, name []byte, ok bool) {
	hash, name, found := bytes.Cut(data, []byte(" "))
	id, ok = ParseID(string(hash))
	return id, name, ok && found && len(name) > 0
}

// A lister joins each reference of version 0 with the line after it, which says what
// an annotated tag is about.
type lister struct {
	visit func(Ref) error
	held  Ref
	name  []byte // of held, reused
	any   bool
}

func (l *lister) add(data []byte) (cut bool, err error) {
	if hash, ok := bytes.CutPrefix(data, []byte("shallow ")); ok {
		if _, ok := ParseID(string(hash)); !ok {
			return false, ErrNotGit
		}
		return true, nil
	}
	id, name, ok := parseRef(data)
	if !ok {
		return false, notRef(data)
	}
	if base, peeled := bytes.CutSuffix(name, []byte("^{}")); peeled {
		if l.any && bytes.Equal(base, l.held.Name) {
			l.held.Peeled = id
		}
		return false, nil
	}
	if err := l.end(); err != nil {
		return false, err
	}
	l.name = append(l.name[:0], name...)
	l.held, l.any = Ref{Name: l.name, Target: id, Peeled: id}, true
	return false, nil
}

// end passes on the reference that is held.
func (l *lister) end() error {
	if !l.any {
		return nil
	}
	l.any = false
	return l.visit(l.held)
}

// lsRefs is the request for references in version 2.
func (s *Server) lsRefs(prefixes []string) []byte {
	b := s.command("ls-refs")
	b = appendLine(b, "peel\n")
	b = appendLine(b, "symrefs\n")
	if strings.Contains(" "+s.caps.value("ls-refs")+" ", " unborn ") {
		b = appendLine(b, "unborn\n")
	}
	for _, p := range prefixes {
		b = appendLine(b, "ref-prefix %s\n", p)
	}
	return append(b, "0000"...)
}

// command begins a request of version 2.
func (s *Server) command(name string) []byte {
	b := appendLine(nil, "command=%s\n", name)
	if s.caps.has("agent") {
		b = appendLine(b, "agent=%s", Agent)
	}
	if s.caps.has("object-format") {
		b = appendLine(b, "object-format=sha1")
	}
	return append(b, "0001"...)
}

// listed reads the references of version 2.
func (s *Server) listed(in *packets, visit func(Ref) error) error {
	s.Empty = true
	for {
		kind, data, err := in.text()
		switch {
		case err != nil:
			return unexpected(err)
		case kind == flush:
			return nil
		case kind != line:
			return ErrNotGit
		case bytes.HasPrefix(data, []byte("unborn ")):
			continue // a HEAD that names a branch without commits
		}
		id, rest, ok := parseRef(data)
		if !ok {
			return notRef(data)
		}
		name, attributes, _ := bytes.Cut(rest, []byte(" "))
		ref := Ref{Name: name, Target: id, Peeled: id}
		for a := range bytes.SplitSeq(attributes, []byte(" ")) {
			hash, peeled := bytes.CutPrefix(a, []byte("peeled:"))
			if !peeled {
				continue
			}
			if ref.Peeled, ok = ParseID(string(hash)); !ok {
				return ErrNotGit
			}
		}
		s.Empty = false
		if err := visit(ref); err != nil {
			return err
		}
	}
}
