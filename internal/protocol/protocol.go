// Package protocol reads and writes the paths of the GOPROXY protocol
// (https://go.dev/ref/mod#goproxy-protocol) and of the checksum database
// requests that a module proxy may carry (https://go.dev/design/25530-sumdb).
//
// It is strict: what it accepts has exactly one spelling, so a path that was
// read and written again is the same path.
package protocol

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/module"
)

// MaxPath is the longest path, in bytes, that [Parse] reads. Module paths and
// versions of real modules stay far below it.
const MaxPath = 4096

// Kind tells the requests of the protocol apart.
type Kind uint8

// The requests of the protocol.
const (
	List   Kind = iota + 1 // @v/list
	Latest                 // @latest
	Info                   // @v/VERSION.info of a canonical version
	Mod                    // @v/VERSION.mod
	Zip                    // @v/VERSION.zip
	Query                  // @v/QUERY.info of a branch, a commit, a prefix, …
	SumDB                  // sumdb/NAME/…
)

// Op is what is asked of a checksum database.
type Op uint8

// The requests to a checksum database.
const (
	Supported   Op = iota + 1 // whether this server passes on to it at all
	LatestTree                // its signed tree head
	Lookup                    // the record of one module version
	TileRequest               // a tile of its hashes or of its records
)

// Request is one parsed request.
type Request struct {
	Kind   Kind
	Module module.Version // unescaped; Version is a query if Kind is Query; with SumDB: what is looked up
	DB     string         // name of the checksum database: host[:port][/path]
	Op     Op             // what is asked of it
}

var (
	// ErrUnknown says that a path has no meaning in the protocol.
	ErrUnknown = errors.New("not a path of the GOPROXY protocol")
	// ErrTooLong says that a path is longer than [MaxPath].
	ErrTooLong = fmt.Errorf("path is longer than %d bytes", MaxPath)
	// ErrVersion says that a .mod or .zip was asked for a version that no
	// module path of that name can have.
	ErrVersion = errors.New("not a canonical version of this module path")
)

// Parse reads a path, without its leading slash and without URL escapes. Errors
// other than the ones of this package say what is malformed; they quote what
// they repeat.
func Parse(path string) (Request, error) {
	if len(path) > MaxPath {
		return Request{}, ErrTooLong
	}
	if rest, ok := strings.CutPrefix(path, "sumdb/"); ok {
		return parseSumDB(rest)
	}
	if escaped, ok := strings.CutSuffix(path, "/@latest"); ok {
		p, err := unescapePath(escaped)
		return Request{Kind: Latest, Module: module.Version{Path: p}}, err
	}
	escaped, file, ok := strings.Cut(path, "/@v/")
	if !ok {
		return Request{}, ErrUnknown
	}
	p, err := unescapePath(escaped)
	if err != nil {
		return Request{}, err
	}
	if file == "list" {
		return Request{Kind: List, Module: module.Version{Path: p}}, nil
	}
	return parseFile(p, file)
}

// parseFile reads what stands behind "/@v/".
func parseFile(path, file string) (Request, error) {
	dot := strings.LastIndexByte(file, '.')
	if dot < 0 {
		return Request{}, ErrUnknown
	}
	var kind Kind
	switch file[dot:] {
	case ".info":
		kind = Info
	case ".mod":
		kind = Mod
	case ".zip":
		kind = Zip
	default:
		return Request{}, ErrUnknown
	}
	if m := (module.Version{Path: path, Version: file[:dot]}); plain(m.Version) && Canonical(m) {
		return Request{Kind: kind, Module: m}, nil
	}
	version, err := module.UnescapeVersion(file[:dot])
	if err != nil || version == "" {
		return Request{}, fmt.Errorf("malformed version %s", quote(file[:dot]))
	}
	r := Request{Kind: kind, Module: module.Version{Path: path, Version: version}}
	if !Canonical(r.Module) {
		if kind != Info {
			return r, ErrVersion
		}
		r.Kind = Query
	}
	return r, nil
}

// Canonical reports whether m.Version is a canonical version that a module with
// m's path can have: only such versions have files.
func Canonical(m module.Version) bool {
	return m.Version != "" && module.CanonicalVersion(m.Version) == m.Version && module.Check(m.Path, m.Version) == nil
}

// FilePath returns the path of a version's file; ext is "info", "mod" or "zip".
// The version may be a query if ext is "info".
func FilePath(m module.Version, ext string) (string, error) {
	path, err := module.EscapePath(m.Path)
	if err != nil {
		return "", err
	}
	version, err := module.EscapeVersion(m.Version)
	if err != nil {
		return "", err
	}
	return path + "/@v/" + version + "." + ext, nil
}

// ListPath returns the path of a module's version list.
func ListPath(path string) (string, error) {
	escaped, err := module.EscapePath(path)
	return escaped + "/@v/list", err
}

// LatestPath returns the path of a module's latest version.
func LatestPath(path string) (string, error) {
	escaped, err := module.EscapePath(path)
	return escaped + "/@latest", err
}

// unescapePath reads an escaped module path.
func unescapePath(escaped string) (string, error) {
	if plain(escaped) && module.CheckPath(escaped) == nil {
		return escaped, nil
	}
	path, err := module.UnescapePath(escaped)
	if err != nil {
		return "", fmt.Errorf("malformed module path %s", quote(escaped))
	}
	return path, nil
}

// plain reports whether s is the same escaped and unescaped: most are, and they
// cost nothing then.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c == '!' || 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return true
}

// quote makes what a client sent fit for an error message.
func quote(s string) string {
	const most = 120
	if len(s) > most {
		return fmt.Sprintf("%+q…", s[:most])
	}
	return fmt.Sprintf("%+q", s)
}
