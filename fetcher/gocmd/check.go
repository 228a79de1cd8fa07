package gocmd

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// Limits for what is passed to a command. Real paths and branches are much shorter.
const (
	maxPath  = 1024
	maxQuery = 256
)

// queryForm matches allowed queries: versions, tags, branches and
// commits. Others have a special meaning to one of the tools, such as an option,
// a relative revision, a range, or a Mercurial or Bazaar expression.
var queryForm = regexp.MustCompile(`^[\pL\pN_][\pL\pN_.+/\-]*$`)

// checkPath refuses a path that can't be a module in version control. The error is an
// [*athens.MissingError]: there is no such module.
func checkPath(path, query string) error {
	err := module.CheckPath(path)
	switch {
	case len(path) > maxPath:
		err = fmt.Errorf("the path has more than %d bytes", maxPath)
		path = path[:maxPath]
	case err == nil && strings.Contains(path, "..."):
		err = errors.New("a path with ... is a pattern, not a module")
	case err == nil && path == "golang.org/toolchain":
		err = errors.New("it is not kept in version control")
	}
	if err != nil {
		return &athens.MissingError{Path: path, Query: query, Err: err}
	}
	return nil
}

// checkQuery refuses a query that can't be passed to the go command.
func checkQuery(path, query string) error {
	if len(query) > maxQuery {
		return &athens.MissingError{Path: path, Query: query[:maxQuery], Err: fmt.Errorf("the query has more than %d bytes", maxQuery)}
	}
	var err error
	switch {
	case query == "upgrade", query == "patch":
		err = errors.New("it depends on the version that a build already uses")
	case !queryForm.MatchString(query), strings.Contains(query, ".."), strings.Contains(query, "//"), strings.HasSuffix(query, "/"):
		err = errors.New("not a version, branch, tag or commit that can be passed to the go command")
	}
	if err != nil {
		return &athens.MissingError{Path: path, Query: query, Err: err}
	}
	return checkPath(path, query)
}

// checkVersion refuses a version that is not canonical or does not fit the path.
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
