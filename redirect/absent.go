package redirect

import (
	"errors"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/cache"
)

// absentFor is how long the Upstream remembers that a module has no list. A client that requests
// the list of a module also requests its @latest; without this, the list of a module that has
// neither would be requested twice.
const absentFor = 3 * time.Second

// absentBytes bounds the memory for this.
const absentBytes = 1 << 20

// absences remembers which modules have no list.
type absences struct{ *cache.Cache[string, error] }

func newAbsences() absences {
	return absences{cache.New(absentBytes, func(path string, err error) int64 {
		return int64(len(path) + 3*len(err.Error()) + 200) // its text, and those of the errors in it
	})}
}

// get returns a recent "not found" for a module's list.
func (a absences) get(path string) error {
	err, _ := a.Get(path)
	return err
}

// note remembers err if it is a "not found".
func (a absences) note(path string, err error) {
	if _, missing := errors.AsType[*athens.MissingError](err); missing {
		a.PutFor(path, err, absentFor)
	}
}

// Forget forgets that the upstream had no list of a module.
func (u *Upstream) Forget(path string) { u.absent.Delete(path) }
