package redirect

import (
	"context"
	"errors"
	"slices"
	"strings"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/cache"
	"github.com/athens-go/athens/internal/modcheck"
)

var errRetracted = errors.New("all such versions are retracted")

// retractionBytes bounds the memory for what versions retract.
const retractionBytes = 1 << 20

// newRetractions returns a memory of what versions retract, which never changes.
func newRetractions() *cache.Cache[module.Version, modcheck.Retractions] {
	return cache.New(retractionBytes, func(m module.Version, r modcheck.Retractions) int64 {
		n := len(m.Path) + len(m.Version)
		for _, i := range r {
			n += len(i.Low) + len(i.High) + 32
		}
		return int64(n)
	})
}

// unretracted returns the versions of an ordered list that the latest of them does not
// retract. Where a server leaves it to the list to choose a version, this server has to
// choose as a go command does.
func (u *Upstream) unretracted(ctx context.Context, path string, tagged []string) ([]string, error) {
	compatible := slices.DeleteFunc(slices.Clone(tagged), func(v string) bool { return strings.HasSuffix(v, "+incompatible") })
	m := module.Version{Path: path, Version: highest(compatible, "")}
	if m.Version == "" {
		return tagged, nil // these have no go.mod
	}
	retracted, known := u.retracted.Get(m)
	if !known {
		mod, err := (&content{u, m}).Mod(ctx)
		if missing := new(*athens.MissingError); err != nil && !errors.As(err, missing) {
			return nil, err
		}
		retracted = modcheck.Retracted(mod)
		u.retracted.Put(m, retracted)
	}
	return slices.DeleteFunc(slices.Clone(tagged), retracted.Include), nil
}
