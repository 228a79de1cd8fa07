package events_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/serve/events"
	"github.com/athens-go/athens/storage"
)

// marks are those of a module in short.
func marks(t *testing.T, s athens.Remover, path string) map[string]string {
	t.Helper()
	all, err := s.Marks(t.Context(), path)
	require.NoError(t, err)
	short := map[string]string{}
	for v, mark := range all {
		short[v] = "hidden " + mark.Reason
		if mark.Removed {
			short[v] = "removed " + mark.Reason
		}
	}
	return short
}

// What the upstream hides is hidden here as long as it is there, with the reason of now.
func TestFollowHidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t)
		defer func() { assert.NoError(t, p.handler.Shutdown(context.Background())) }()
		for _, step := range []struct{ stream, want string }{
			{begin + event(5, "hidden", held, "old"), "hidden upstream: old"},
			{event(6, "hidden", held, "older"), "hidden upstream: older"},
			{event(7, "removed", held, "bad"), "removed upstream: bad"},
			{event(8, "removed", held, "worse"), "removed upstream: worse"},
			{event(9, "hidden", held, "old"), "hidden upstream: old"},
			{event(10, "restored", held, ""), ""},
			{event(11, "hidden", held, "old"), "hidden upstream: old"},
			{": epoch two\n\n" + reset + event(50, "hidden", held, "old"), "hidden upstream: old"},
			{": epoch three\n\n" + reset + upTo(60), ""},
		} {
			p.follow(t, step.stream)
			if step.want == "" { // what was removed is fetched again
				athenstest.Hold(t, p.store, p.up.Version(held), true)
			}
			assert.Equal(t, step.want, marks(t, p.store, held.Path)[held.Version], step.stream)
		}
	})
}

// A copy has the marks of what it does not hold, too, and tells its own readers.
func TestFollowMirror(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t)
		defer func() { assert.NoError(t, p.handler.Shutdown(context.Background())) }()
		var told []string
		p.opts = events.FollowOptions{Mirror: true, Changed: func(_ context.Context, kind string, m module.Version, reason string) {
			told = append(told, strings.TrimSpace(kind+" "+m.String()+" "+reason))
		}}
		other, private := module.Version{Path: "b.test/m", Version: "v1.0.0"}, module.Version{Path: "corp.test/m", Version: "v1.0.0"}
		next := module.Version{Path: held.Path, Version: "v1.1.0"}
		all := event(5, "removed", other, "bad") + event(6, "hidden", held, "old") + event(7, "removed", private, "x") +
			event(8, "recorded", next, "") + event(9, "refreshed", module.Version{Path: held.Path}, "") + event(10, "recorded", private, "")
		p.follow(t, begin+all+upTo(11))
		assert.ElementsMatch(t, []string{"removed b.test/m@v1.0.0 bad", "hidden a.test/m@v1.0.0 old", "recorded a.test/m@v1.1.0", "refreshed a.test/m"}, told)
		assert.Equal(t, map[string]string{"v1.0.0": "removed upstream: bad"}, marks(t, p.store, other.Path))
		assert.ErrorContains(t, p.store.Put(t.Context(), other, &athens.Info{Version: other.Version}, []byte("module b.test/m\n")), "bad")

		told = nil
		p.follow(t, ": epoch two\n\n"+reset+event(15, "removed", other, "bad")+upTo(16))
		assert.ElementsMatch(t, []string{"reset", "restored a.test/m@v1.0.0"}, told, "what is so already is no change")
	})
}

// A connection that breaks within what follows a reset is as if it had not been.
func TestFollowBrokenReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t)
		defer func() { assert.NoError(t, p.handler.Shutdown(context.Background())) }()
		p.follow(t, begin+event(5, "removed", held, "x")+upTo(6))
		more := manyModules(300)
		p.follow(t, ": epoch two\n\n"+reset+more)
		assert.Equal(t, map[string]string{"v1.0.0": "removed upstream: x"}, marks(t, p.store, held.Path), "it is not known yet")
		p.up.queries = nil
		p.follow(t, more+upTo(1000))
		assert.Equal(t, []string{"events?after=0&epoch=two", "events?after=1000&epoch=two"}, p.up.queries)
		assert.Empty(t, marks(t, p.store, held.Path))
	})
}

// More marks than the state keeps are restored all the same after a reset.
func TestFollowManyMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t)
		defer func() { assert.NoError(t, p.handler.Shutdown(context.Background())) }()
		p.follow(t, begin+event(5, "removed", held, "x")+upTo(6))
		require.NoError(t, p.store.Hide(t.Context(), version("b.test/m", "v1.0.0"), "an operator's"))
		require.NoError(t, os.WriteFile(p.state, []byte(`{"epoch":"one","cursor":6,"more":true}`), 0o666))
		p.follow(t, ": epoch two\n\n"+reset+upTo(20))
		assert.Empty(t, marks(t, p.store, held.Path))
		assert.NotEmpty(t, marks(t, p.store, "b.test/m"))
	})
}

// The feed knows what was taken back, and restored, while nobody told it.
func TestMarksOfStore(t *testing.T) {
	dir, store := t.TempDir(), storage.NewMemory()
	m := func(v string) module.Version { return version("a.test/m", v) }
	require.NoError(t, store.Remove(t.Context(), m("v1.0.0"), "bad"))
	require.NoError(t, store.Hide(t.Context(), m("v1.1.0"), "old"))
	require.NoError(t, store.Remove(t.Context(), m("v1.2.0"), strings.Repeat("long ", 1000)))
	run := func() (f *events.Feed) {
		f = open(t, dir, &events.Options{Store: store})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); f.Run(ctx) }()
		t.Cleanup(func() { cancel(); <-ended })
		return f
	}
	await := func(f *events.Feed, n int) (told []string) {
		for next := int64(0); len(told) < n; {
			p := get(t, f, after(next)+"&wait=1m")
			told, next = append(told, p.kinds()...), p.Next
		}
		return told
	}
	f := run()
	assert.ElementsMatch(t, []string{"removed a.test/m@v1.0.0 bad", "hidden a.test/m@v1.1.0 old", "removed a.test/m@v1.2.0 " + strings.TrimSpace(strings.Repeat("long ", 1000)[:1022])}, await(f, 3))
	require.NoError(t, f.Close())

	require.NoError(t, store.Restore(t.Context(), m("v1.0.0")))
	require.NoError(t, store.Remove(t.Context(), m("v1.1.0"), "old"))
	f = run()
	assert.ElementsMatch(t, []string{"restored a.test/m@v1.0.0", "removed a.test/m@v1.1.0 old"}, await(f, 5)[3:], "what is so already is not told again")
}
