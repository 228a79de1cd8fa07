package athens

import (
	"sync"
)

// takenBack returns the mark that a version has in the store: that it was removed or
// hidden. An error says that the marks can't be read.
func (x *exchange) takenBack(version string) (*BlockedError, error) {
	store, ok := x.h.storage.(Remover)
	if !ok {
		return nil, nil
	}
	if x.marks == nil {
		x.marks = sync.OnceValues(func() (map[string]BlockedError, error) {
			return store.Marks(x.r.Context(), x.req.Module.Path)
		})
	}
	marks, err := x.marks()
	if err != nil {
		return nil, &storeError{err}
	}
	if mark, ok := marks[version]; ok {
		return &mark, nil
	}
	return nil, nil
}

// unlisted returns why a version is neither listed nor chosen: it is blocked, or was
// taken back.
func (x *exchange) unlisted(version string) error {
	if err := x.blocked(version); err != nil {
		return err
	}
	mark, err := x.takenBack(version)
	if mark != nil {
		return mark
	}
	return err
}
