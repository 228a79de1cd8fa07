package protocoltest_test

import (
	"errors"
	"strings"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
)

// checksums says what the checksum database knows: sumdb knows|lies M@V, sumdb
// down|empty|refuses; or that its key is known, sumdb key|other-key. With it the
// handler asks one.
func (s *script) checksums(args []string) {
	if strings.HasSuffix(args[0], "key") {
		s.key = s.upstream.SumDBKey()
		if args[0] == "other-key" {
			s.key = athenstest.NewSource(s.t, "another").SumDBKey()
		}
		return
	}
	if s.lookups == nil {
		s.lookups = map[string]string{}
	}
	if len(args) == 1 {
		s.lookups[""] = strings.TrimPrefix(args[0], "empty")
		return
	}
	v := athenstest.NewVersion(s.t, s.version(args[1]))
	sum, modSum := v.Sum, v.GoModSum
	if args[0] == "lies" {
		sum = "h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	}
	s.lookups[v.Path+" "+v.Version.Version] = sum
	s.lookups[v.Path+" "+v.Version.Version+"/go.mod"] = modSum
}

// Lookup is that of athens.Checksums.
func (s *script) Lookup(path, version string) ([]string, error) {
	s.upstream.Note("sumdb.lookup", path) // a checksum database is as public
	if s.lookups[""] == "down" {
		return nil, &athens.UnavailableError{Source: "sum.test", Err: errors.New("connection refused")}
	}
	if s.lookups[""] == "refuses" {
		return nil, &athens.BlockedError{Path: path, Version: version, Reason: "not for you"}
	}
	sum, ok := s.lookups[path+" "+version]
	if !ok {
		return nil, &athens.MissingError{Path: path, Query: version, Err: errors.New("404 Not Found")}
	}
	m := module.Version{Path: path, Version: version}
	return []string{m.Path + " " + m.Version + " " + sum}, nil
}
