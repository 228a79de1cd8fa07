package redirect

import (
	"errors"
	"sync"
	"time"

	"github.com/athens-go/athens"
)

// absentFor is how long it is remembered that a module has no list. A client
// that asks for the list of a module asks for its @latest, too, and what has
// neither would be asked for its list twice.
const absentFor = 3 * time.Second

// maxAbsent is how many modules that is remembered of at most.
const maxAbsent = 4096

// absences remembers which modules have no list.
type absences struct {
	mu    sync.Mutex
	until map[string]absence // by module path
}

type absence struct {
	end time.Time
	err error
}

func newAbsences() *absences { return &absences{until: make(map[string]absence)} }

// get returns the "not found" that a module's list was answered with lately.
func (a *absences) get(path string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if was, ok := a.until[path]; ok && time.Now().Before(was.end) {
		return was.err
	}
	return nil
}

// note remembers err if it is a "not found".
func (a *absences) note(path string, err error) {
	if _, missing := errors.AsType[*athens.MissingError](err); !missing {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.until) >= maxAbsent {
		clear(a.until) // a flood of names that nobody has: what is asked next counts
	}
	a.until[path] = absence{time.Now().Add(absentFor), err}
}
