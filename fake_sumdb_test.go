package athens_test

import (
	"errors"
	"strings"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// checksums says what the checksum database knows: sumdb knows|lies M@V, sumdb
// down|empty. With it the handler asks one.
func (s *script) checksums(args []string) {
	if s.lookups == nil {
		s.lookups = map[string]string{}
	}
	if len(args) == 1 {
		s.lookups[""] = strings.TrimPrefix(args[0], "empty")
		return
	}
	v := newVersion(s.t, s.version(args[1]))
	sum, modSum := v.Sum, v.GoModSum
	if args[0] == "lies" {
		sum = "h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	}
	s.lookups[v.Path+" "+v.Version.Version] = sum
	s.lookups[v.Path+" "+v.Version.Version+"/go.mod"] = modSum
}

// Lookup is that of athens.Checksums.
func (s *script) Lookup(path, version string) ([]string, error) {
	s.vcs.mu.Lock()
	s.vcs.asked = append(s.vcs.asked, "sumdb.lookup")
	s.vcs.mu.Unlock()
	s.upstream.mu.Lock()
	s.upstream.heard = append(s.upstream.heard, path) // it is as public
	s.upstream.mu.Unlock()
	if s.lookups[""] == "down" {
		return nil, &athens.UnavailableError{Source: "sum.test", Err: errors.New("connection refused")}
	}
	sum, ok := s.lookups[path+" "+version]
	if !ok {
		return nil, &athens.MissingError{Path: path, Query: version, Err: errors.New("404 Not Found")}
	}
	m := module.Version{Path: path, Version: version}
	return []string{m.Path + " " + m.Version + " " + sum}, nil
}
