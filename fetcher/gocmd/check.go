package gocmd

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// Limits of what is passed to a command. Real paths and branches stay far below.
const (
	maxPath  = 1024
	maxQuery = 256
)

// queryForm is what a query may look like: a version, a tag, a branch, a
// commit. Everything else would mean something to one of the tools: an option,
// a relative revision, a range, a Mercurial or Bazaar expression.
var queryForm = regexp.MustCompile(`^[\pL\pN_][\pL\pN_.+/\-]*$`)

// checkPath refuses a path that is no module's of a version control system, as
// missing: to those that ask, there is no such module.
func checkPath(path, query string) error {
	err := module.CheckPath(path)
	switch {
	case len(path) > maxPath:
		err = fmt.Errorf("a path of more than %d bytes", maxPath)
		path = path[:maxPath]
	case err == nil && strings.Contains(path, "..."):
		err = errors.New("a path with ... is a pattern")
	case err == nil && path == "golang.org/toolchain":
		err = errors.New("it is not kept in version control")
	}
	if err != nil {
		return &athens.MissingError{Path: path, Query: query, Err: err}
	}
	return nil
}

// checkQuery refuses a query that can't be passed on.
func checkQuery(path, query string) error {
	if len(query) > maxQuery {
		return &athens.MissingError{Path: path, Query: query[:maxQuery], Err: fmt.Errorf("a query of more than %d bytes", maxQuery)}
	}
	var err error
	switch {
	case query == "upgrade", query == "patch":
		err = errors.New("it is relative to a version that is in use already")
	case !queryForm.MatchString(query), strings.Contains(query, ".."), strings.Contains(query, "//"), strings.HasSuffix(query, "/"):
		err = errors.New("not a version, branch, tag or commit that can be asked for")
	}
	if err != nil {
		return &athens.MissingError{Path: path, Query: query, Err: err}
	}
	return checkPath(path, query)
}

// checkVersion refuses what is not a canonical version of its path.
func checkVersion(m module.Version) error {
	if err := checkQuery(m.Path, m.Version); err != nil {
		return err
	}
	err := module.Check(m.Path, m.Version)
	if err == nil && module.CanonicalVersion(m.Version) != m.Version {
		err = errors.New("not a canonical version")
	}
	if err != nil {
		return &athens.MissingError{Path: m.Path, Query: m.Version, Err: err}
	}
	return nil
}
