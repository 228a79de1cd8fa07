package blob_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/blob"
	"github.com/athens-go/athens/storage/storagetest"
)

const mistake = "it was published by mistake"

// files are those of a version.
var files = []athens.File{athens.InfoFile, athens.ModFile, athens.ZipFile}

// removed reports whether err says that a version was removed.
func removed(err error) bool {
	blocked, ok := errors.AsType[*athens.BlockedError](err)
	return ok && blocked.Removed
}

// state is what a store says of a version: removed, held, without its zip, or not.
func state(t *testing.T, s *blob.Store, of storagetest.Sample) string {
	t.Helper()
	var states []string
	for _, f := range files {
		obj, err := s.Open(t.Context(), of.Module, f)
		switch {
		case removed(err):
			states = append(states, "removed")
		case errors.Is(err, fs.ErrNotExist):
			states = append(states, "missing")
		default:
			require.NoError(t, err, f)
			require.NoError(t, obj.Body.Close())
			states = append(states, "held")
		}
	}
	return strings.Join(states, " ")
}

// took is an operation with a version, and what is so before it and after.
type took struct {
	before func(s *blob.Store, of storagetest.Sample) error
	do     func(s *blob.Store, of storagetest.Sample) error
	after  string // the state
	mark   string // that the version has: removed, hidden or none
}

func operations(t *testing.T) map[string]took {
	ctx := t.Context()
	store := func(s *blob.Store, of storagetest.Sample) error { return of.Store(ctx, s) }
	remove := func(s *blob.Store, of storagetest.Sample) error { return s.Remove(ctx, of.Module, mistake) }
	restore := func(s *blob.Store, of storagetest.Sample) error { return s.Restore(ctx, of.Module) }
	hide := func(s *blob.Store, of storagetest.Sample) error { return s.Hide(ctx, of.Module, mistake) }
	evict := func(s *blob.Store, of storagetest.Sample) error { return s.Evict(ctx, of.Module) }
	all := func(steps ...func(*blob.Store, storagetest.Sample) error) func(*blob.Store, storagetest.Sample) error {
		return func(s *blob.Store, of storagetest.Sample) error {
			var err error
			for _, step := range steps {
				err = errors.Join(err, step(s, of))
			}
			return err
		}
	}
	const held, gone, none = "held held held", "removed removed removed", "missing missing missing"
	return map[string]took{
		"remove":               {store, remove, gone, "removed"},
		"remove what is not":   {all(), remove, gone, "removed"},
		"remove what is again": {all(store, remove, restore, store), remove, gone, "removed"},
		"hide":                 {store, hide, held, "hidden"},
		"restore removed":      {all(store, remove), restore, none, "none"},
		"restore hidden":       {all(store, hide), restore, held, "none"},
		"store again":          {all(store, remove, restore), store, held, "none"},
		"evict":                {store, evict, none, "none"},
		"evict restored":       {all(store, remove, restore), evict, none, "none"},
	}
}

// A process dies at each request of each operation, before that has an effect and after.
// Whatever it leaves is a state that the next process understands, completes what was
// decided of, and can do again.
func TestRemoverDies(t *testing.T) {
	t.Parallel()
	for name, op := range operations(t) {
		t.Run(name, func(t *testing.T) {
			of := sample("v1.0.0")
			start := newFakeService()
			first, _ := start.storeWith(t, nil)
			require.NoError(t, op.before(first, of))
			for n, died := 0, true; died; n++ {
				for _, late := range []bool{false, true} {
					service := start.copied()
					dying, bucket := service.storeWith(t, nil)
					bucket.dieAt(n, late)
					err := op.do(dying, of)
					died = bucket.died()
					require.Equal(t, died, err != nil, "request %d: %v", n, err)
					afterDeath(t, service, of, op, fmt.Sprintf("at request %d, late: %v", n, late))
				}
				require.Less(t, n, 100)
			}
		})
	}
}

// afterDeath checks what a process has left that died, or that ended.
func afterDeath(t *testing.T, service *fakeService, of storagetest.Sample, op took, when string) {
	t.Helper()
	next, _ := service.storeWith(t, nil)
	state(t, next, of) // nothing fails
	marks, err := next.Marks(t.Context(), of.Module.Path)
	require.NoError(t, err, when)
	list, err := next.Versions(t.Context(), of.Module.Path)
	require.NoError(t, err, when)
	is := state(t, next, of)
	if marks[of.Module.Version].Removed {
		assert.Equal(t, "removed removed removed", is, when)
		assert.Empty(t, list, when)
		service.change(func(objects map[string][]byte) {
			for key, content := range objects {
				assert.True(t, strings.HasPrefix(key, "taken/") || strings.HasPrefix(key, ".athens/") || len(content) == 0, "%s: %s has bytes", when, key)
			}
		})
	} else {
		assert.NotContains(t, is, "removed", when)
		assert.Equal(t, strings.HasPrefix(is, "held held"), len(list) == 1, when)
	}
	require.NoError(t, op.do(next, of), when)
	another, _ := service.storeWith(t, nil)
	assert.Equal(t, op.after, state(t, another, of), when)
	marks, err = another.Marks(t.Context(), of.Module.Path)
	require.NoError(t, err, when)
	mark, marked := marks[of.Module.Version]
	switch op.mark {
	case "none":
		assert.False(t, marked, when)
	default:
		assert.Equal(t, athens.BlockedError{Path: of.Module.Path, Version: of.Module.Version, Reason: mistake, Removed: op.mark == "removed"}, mark, when)
	}
}

// What was removed and restored must be what it was, and what was evicted need not.
func TestRestoredIsWhatItWas(t *testing.T) {
	service := newFakeService()
	s, _ := service.storeWith(t, nil)
	of, moved := sample("v1.0.0"), storagetest.NewSample("example.com/m", "v1.0.0", "moved")
	require.NoError(t, of.Store(t.Context(), s))
	require.NoError(t, s.Remove(t.Context(), of.Module, mistake))
	require.NoError(t, s.Hide(t.Context(), of.Module, mistake)) // what it was is not forgotten
	require.NoError(t, s.Remove(t.Context(), of.Module, "another reason"))
	require.NoError(t, s.Restore(t.Context(), of.Module))
	other, _ := service.storeWith(t, nil)
	for _, each := range []*blob.Store{s, other} {
		conflict, ok := errors.AsType[*athens.ConflictError](moved.Put(t.Context(), each))
		require.True(t, ok)
		require.Equal(t, athens.ModFile, conflict.File)
	}
	require.NoError(t, of.Put(t.Context(), s))
	wrong := of
	wrong.H1, wrong.Zip = moved.H1, moved.Zip
	conflict, ok := errors.AsType[*athens.ConflictError](wrong.Commit(t.Context(), other))
	require.True(t, ok)
	require.Equal(t, athens.ZipFile, conflict.File)
	require.NoError(t, of.Store(t.Context(), other))
	require.NoError(t, of.Whole(t.Context(), s))

	require.NoError(t, s.Remove(t.Context(), of.Module, mistake))
	require.NoError(t, s.Evict(t.Context(), of.Module))
	require.Equal(t, "removed removed removed", state(t, s, of), "a mark stays")
	require.NoError(t, s.Restore(t.Context(), of.Module))
	require.NoError(t, s.Evict(t.Context(), of.Module))
	fresh, _ := service.storeWith(t, nil)
	require.NoError(t, moved.Store(t.Context(), fresh))
	require.NoError(t, moved.Whole(t.Context(), s))
}

// Other processes learn of what one has decided, within the times that are documented.
func TestRemovalReachesOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := newFakeService()
		one, _ := service.storeWith(t, nil)
		other, _ := service.storeWith(t, nil)
		of, second := sample("v1.0.0"), sample("v1.1.0")
		for _, each := range []storagetest.Sample{of, second} {
			require.NoError(t, each.Store(t.Context(), one))
			require.NoError(t, each.Whole(t.Context(), other))
		}
		hidden := func(want int) {
			t.Helper()
			marks, err := other.Marks(t.Context(), of.Module.Path)
			require.NoError(t, err)
			require.Len(t, marks, want)
		}
		hidden(0)
		require.NoError(t, one.Remove(t.Context(), of.Module, mistake))
		require.NoError(t, one.Remove(t.Context(), second.Module, mistake))
		require.Equal(t, "removed removed removed", state(t, one, of))
		require.Equal(t, "held held held", state(t, other, of), "it is in memory")
		time.Sleep(time.Minute)
		hidden(2) // forgets what the marks are of, too
		require.Equal(t, "removed removed removed", state(t, other, of))
		require.Equal(t, "removed removed removed", state(t, other, second))

		require.NoError(t, one.Restore(t.Context(), of.Module))
		require.NoError(t, of.Store(t.Context(), one))
		require.NoError(t, of.Whole(t.Context(), other))
		require.NoError(t, one.Remove(t.Context(), of.Module, mistake))
		time.Sleep(5*time.Minute + time.Second) // nobody asks for marks
		require.Equal(t, "removed removed removed", state(t, other, of))
	})
}

// Processes remove, restore, hide, evict and store one version at the same time. In the
// end what the last decision says is so.
func TestRemoversRace(t *testing.T) {
	for round := range 30 {
		synctest.Test(t, func(t *testing.T) { removersRace(t, round) })
	}
}

func removersRace(t *testing.T, round int) {
	service := newFakeService()
	of := sample("v1.0.0")
	var wg sync.WaitGroup
	for p := range 4 {
		s, _ := service.storeWith(t, &blob.Options{MarksTTL: -1, CacheBytes: -1})
		random := rand.New(rand.NewPCG(uint64(round), uint64(p)))
		wg.Go(func() {
			for range 4 {
				var err error
				switch random.IntN(5) {
				case 0:
					err = s.Remove(t.Context(), of.Module, mistake)
				case 1:
					err = s.Restore(t.Context(), of.Module)
				case 2:
					err = s.Hide(t.Context(), of.Module, mistake)
				default:
					// It was removed, perhaps between Put and Commit.
					if err = of.Store(t.Context(), s); removed(err) || errors.Is(err, fs.ErrNotExist) {
						err = nil
					}
				}
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	next, _ := service.storeWith(t, nil)
	marks, err := next.Marks(t.Context(), of.Module.Path)
	require.NoError(t, err)
	list, err := next.Versions(t.Context(), of.Module.Path)
	require.NoError(t, err)
	is := state(t, next, of)
	if marks[of.Module.Version].Removed {
		require.Equal(t, "removed removed removed", is)
		require.Empty(t, list)
	} else {
		require.NotContains(t, is, "removed")
		require.NoError(t, errors.Join(next.Restore(t.Context(), of.Module), of.Store(t.Context(), next)))
		require.NoError(t, of.Whole(t.Context(), next))
	}
}

// The marks of all modules, what modules take, and what Verify says of versions.
func TestListAndVerify(t *testing.T) {
	service := newFakeService()
	s, _ := service.storeWith(t, nil)
	good, bad, gone, hidden := sample("v1.0.0"), sample("v1.1.0"), sample("v1.2.0"), storagetest.NewSample("example.com/M", "v0.1.0", "")
	for _, each := range []storagetest.Sample{good, bad, gone, hidden} {
		require.NoError(t, each.Store(t.Context(), s))
	}
	require.NoError(t, s.Remove(t.Context(), gone.Module, mistake))
	require.NoError(t, s.Hide(t.Context(), hidden.Module, mistake))
	require.NoError(t, s.Hide(t.Context(), good.Module, mistake))
	require.NoError(t, s.Restore(t.Context(), good.Module))
	var marks []athens.BlockedError
	for mark, err := range s.AllMarks(t.Context()) {
		require.NoError(t, err)
		marks = append(marks, mark)
	}
	assert.Equal(t, []athens.BlockedError{
		{Path: "example.com/M", Version: "v0.1.0", Reason: mistake},
		{Path: "example.com/m", Version: "v1.2.0", Reason: mistake, Removed: true},
	}, marks)

	one, err := s.ModuleBytes(t.Context(), "example.com/m")
	require.NoError(t, err)
	assert.Greater(t, one, int64(len(good.Zip)+len(bad.Zip)))
	none, err := s.ModuleBytes(t.Context(), "example.com/none")
	require.NoError(t, err)
	assert.Zero(t, none)

	require.NoError(t, s.Verify(t.Context(), good.Module))
	require.True(t, removed(s.Verify(t.Context(), gone.Module)))
	require.ErrorIs(t, s.Verify(t.Context(), sample("v1.9.0").Module), fs.ErrNotExist)
	service.change(func(objects map[string][]byte) {
		objects["zip/example.com/m/@v/v1.1.0.zip"] = storagetest.NewSample("example.com/m", "v1.1.0", "other").Zip
	})
	_, invalid := errors.AsType[*athens.InvalidError](s.Verify(t.Context(), bad.Module))
	assert.True(t, invalid)
	service.change(func(objects map[string][]byte) { objects["mod/example.com/m/@v/v1.0.0"] = []byte("{") })
	_, invalid = errors.AsType[*athens.InvalidError](s.Verify(t.Context(), good.Module))
	assert.True(t, invalid)
}
