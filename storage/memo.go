package storage

import (
	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/cache"
)

// known is what a store remembers of a version that is held: versions never
// change, so it stays true.
type known struct {
	base   string // the name of its files, without their extension
	info   bool   // its .info was read and is one
	zip    bool   // its zip had the size that is recorded
	synced bool   // its .info, .mod and folder are on the medium
}

// memo remembers versions within a number of bytes.
type memo struct {
	*cache.Cache[module.Version, known]
}

func newMemo(maxBytes int64) memo {
	return memo{cache.New(maxBytes, func(m module.Version, k known) int64 {
		return int64(len(m.Path) + len(m.Version) + len(k.base) + 3*16) // each rounded up by the allocator
	})}
}

// add merges what is newly known of m into what is remembered.
func (c memo) add(m module.Version, k known) {
	c.Update(m, func(was known) known {
		k.info = k.info || was.info
		k.zip = k.zip || was.zip
		k.synced = k.synced || was.synced
		return k
	})
}
