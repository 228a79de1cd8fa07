package auth

import (
	"errors"
	"fmt"
	"strings"

	"github.com/athens-go/athens/internal/pattern"
)

// Grant is some rights for the modules that some patterns match. Make one with [NewGrant].
type Grant struct {
	paths  pattern.Index
	all    bool // a pattern is *
	rights Rights
}

// NewGrant returns rights for the modules that patterns match: globs of module paths as in
// GOPRIVATE, separated by commas; * is all of them, and what belongs to no module. No pattern
// and no right are errors.
func NewGrant(patterns string, rights Rights) (*Grant, error) {
	if rights == 0 {
		return nil, errors.New("no right")
	}
	g := &Grant{rights: rights}
	return g, g.add(patterns)
}

// add adds patterns.
func (g *Grant) add(patterns string) error {
	globs, err := pattern.Parse(patterns)
	if err != nil {
		return fmt.Errorf("bad %s", strings.TrimPrefix(err.Error(), "private "))
	}
	if globs == nil {
		return errors.New("no pattern")
	}
	for _, glob := range globs {
		g.all = g.all || glob == "*"
	}
	g.paths.Add(0, globs)
	return nil
}

// allows reports whether the grant has a right for a module path. An empty path is what is of
// no module and tells of none; everything, which may tell of any, needs the pattern *.
func (g *Grant) allows(right Rights, path string, everything bool) bool {
	if g.rights&right != right {
		return false
	}
	return g.all || !everything && (path == "" || g.paths.Last(path) > pattern.None)
}

// Identity is a client that has presented a secret, and what it may do: whatever one of its
// grants allows.
type Identity struct {
	Name   string // for the log and athens.RequestInfo; with a colon, it is none of a token file
	Grants []*Grant
}

// may reports whether a grant allows something, see [Grant.allows].
func (i *Identity) may(right Rights, path string, everything bool) bool {
	if i == nil {
		return false
	}
	for _, g := range i.Grants {
		if g.allows(right, path, everything) {
			return true
		}
	}
	return false
}
