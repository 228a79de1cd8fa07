package protocol

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/tlog"
)

// parseSumDB reads what follows "sumdb/". The name of a database may hold a path,
// as in sum.example.com/go/supported, so the name ends where the rest is a request.
func parseSumDB(rest string) (Request, error) {
	name, op := splitSumDB(rest)
	if op == "" {
		return Request{}, ErrUnknown
	}
	if !validDB(name) {
		return Request{}, fmt.Errorf("malformed checksum database name %s", quote(name))
	}
	r := Request{Kind: SumDB, DB: name}
	switch {
	case op == "supported":
		r.Op = Supported
	case op == "latest":
		r.Op = LatestTree
	case strings.HasPrefix(op, "tile/"):
		r.Op = TileRequest
		if _, err := tlog.ParseTilePath(op); err != nil {
			return Request{}, fmt.Errorf("malformed tile path %s", quote(op))
		}
	default:
		r.Op = Lookup
		m := strings.TrimPrefix(op, "lookup/")
		at := strings.LastIndexByte(m, '@')
		if at < 0 {
			return Request{}, fmt.Errorf("malformed lookup %s", quote(m))
		}
		path, err := unescapePath(m[:at])
		if err != nil {
			return Request{}, err
		}
		version, err := module.UnescapeVersion(m[at+1:])
		if err != nil || !Canonical(module.Version{Path: path, Version: version}) {
			return Request{}, fmt.Errorf("malformed version %s", quote(m[at+1:]))
		}
		r.Module = module.Version{Path: path, Version: version}
	}
	return r, nil
}

// splitSumDB splits the name of a database from the request to it, which is empty
// if there is none. Of several ways to split a lookup the shortest name counts, for
// a module path may have an element called lookup; a tile's path can't.
func splitSumDB(s string) (name, op string) {
	if name, op, ok := strings.Cut(s, "/lookup/"); ok {
		return name, "lookup/" + op
	}
	for _, op := range []string{"supported", "latest"} {
		if name, ok := strings.CutSuffix(s, "/"+op); ok {
			return name, op
		}
	}
	if i := strings.LastIndex(s, "/tile/"); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, ""
}

// maxDB is the longest name of a checksum database in bytes.
const maxDB = 512

// validDB reports whether name is one that the go command accepts in GOSUMDB: a
// host, perhaps with a port, perhaps with a path. Names with "." or ".." as an
// element or with an empty one are refused, because they could be taken for
// another path on their way.
func validDB(name string) bool {
	if len(name) > maxDB || !utf8.ValidString(name) || strings.ContainsFunc(name, notInDB) {
		return false
	}
	for element := range strings.SplitSeq(name, "/") {
		if element == "" || element == "." || element == ".." {
			return false
		}
	}
	if name[0] == '.' || name[0] == '-' {
		return false
	}
	u, err := url.Parse("https://" + name)
	return err == nil && *u == url.URL{Scheme: "https", Host: u.Host, Path: u.Path} && u.Host != "" && !strings.Contains(u.Host, "..")
}

// notInDB reports whether r can't be in the name of a checksum database.
func notInDB(r rune) bool {
	return r == '+' || r == '\\' || r == '%' || unicode.IsSpace(r) || !unicode.IsPrint(r)
}

// DBFolder returns the name of a checksum database as one element of a file's
// path, different for different names also where upper and lower case are one.
func DBFolder(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == ':' || c == '_' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}
