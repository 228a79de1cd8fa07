package redirect

import (
	"errors"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/cache"
)

// absentFor is how long it is remembered that a module has no list. A client
// that asks for the list of a module asks for its @latest, too, and what has
// neither would be asked for its list twice.
const absentFor = 3 * time.Second

// absentBytes bounds the memory that is spent on that.
const absentBytes = 1 << 20

// absences remembers which modules have no list.
type absences struct{ *cache.Cache[string, error] }

func newAbsences() absences {
	return absences{cache.New(absentBytes, func(path string, err error) int64 {
		return int64(len(path) + 3*len(err.Error()) + 200) // its text, and those of the errors in it
	})}
}

// get returns the "not found" that a module's list was answered with lately.
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
