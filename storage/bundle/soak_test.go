package bundle

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/storage"
)

// Many versions are carried in memory that does not grow with what they weigh. The soak test has
// 50,000 of them, and a bound of 100 MB; the ordinary one shows that it works.
func TestManyVersions(t *testing.T) {
	n := modtest.Soak(24, 50_000)
	dir := t.TempDir()
	from, err := storage.NewDisk(filepath.Join(dir, "from"), nil)
	require.NoError(t, err)
	var wait sync.WaitGroup
	for w := range 8 {
		wait.Go(func() {
			for i := w; i < n; i += 8 {
				v := sample(fmt.Sprintf("example.com/group%d/m%d", i%100, i/10), fmt.Sprintf("v1.%d.0", i%10), fmt.Sprint(i))
				assert.NoError(t, v.Store(t.Context(), from))
			}
		})
	}
	wait.Wait()
	name := filepath.Join(dir, "bundle")
	f, err := os.Create(name)
	require.NoError(t, err)
	defer f.Close()
	began := time.Now()
	most := peak(t, func() {
		sum, err := Export(t.Context(), from, f, nil)
		require.NoError(t, err)
		assert.Equal(t, n, sum.Versions)
	})
	info, err := f.Stat()
	require.NoError(t, err)
	t.Logf("export of %d versions: %v, %d MB of heap, a file of %d MB", n, time.Since(began).Round(time.Millisecond), most>>20, info.Size()>>20)
	assert.Less(t, most, uint64(100<<20))
	to, err := storage.NewDisk(filepath.Join(dir, "to"), &storage.Options{VersionCacheBytes: -1, FileCacheBytes: -1})
	require.NoError(t, err)
	for _, what := range []string{"import", "import again"} {
		began = time.Now()
		most = peak(t, func() {
			sum, err := Import(t.Context(), to, f, info.Size(), nil)
			require.NoError(t, err)
			assert.Equal(t, n, sum.Versions)
		})
		t.Logf("%s: %v, %d MB of heap", what, time.Since(began).Round(time.Millisecond), most>>20)
		assert.Less(t, most, uint64(100<<20))
	}
}

// peak returns the most that was on the heap while do ran, in bytes beyond what was there.
func peak(t *testing.T, do func()) uint64 {
	t.Helper()
	debug.SetGCPercent(20)
	defer debug.SetGCPercent(100)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	runtime.GC()
	debug.FreeOSMemory()
	before, most := heap(), uint64(0)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				most = max(most, heap())
			}
		}
	}()
	do()
	close(stop)
	<-stopped
	return max(most, before) - before
}
