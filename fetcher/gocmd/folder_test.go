package gocmd

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
)

// Filled with the largest .mod files, the versions that are kept stay within their bytes.
func TestKeptModsAreBounded(t *testing.T) {
	o := &Options{Dir: t.TempDir(), KeepTTL: time.Hour}
	opts, err := o.withDefaults()
	require.NoError(t, err)
	f := &Fetcher{opts: opts, cached: map[module.Version]*version{}}
	defer f.removing.Wait()
	for i := range 20 {
		dir, err := f.newFolder()
		require.NoError(t, err)
		f.cache(&version{module: module.Version{Path: "corp.test/m", Version: fmt.Sprintf("v1.0.%d", i)}, dir: dir, mod: make([]byte, 10<<20)})
		memory := 0
		for _, v := range f.cached {
			memory += len(v.mod)
		}
		assert.LessOrEqual(t, memory, maxCachedMods)
	}
	assert.Len(t, f.cached, maxCachedMods/(10<<20))
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range f.cached {
		f.retire(v)
	}
}
