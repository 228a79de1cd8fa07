package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/serve/events"
	"github.com/athens-go/athens/storage"
)

// upstream is a source whose feed is a list of streams. After the last one, following ends.
type upstream struct {
	*athenstest.Source
	streams []string
	queries []string
	end     context.CancelFunc
}

func (u *upstream) Location(context.Context, string) (string, error) {
	return "", errors.New("nobody is sent elsewhere")
}

func (u *upstream) Stream(_ context.Context, path, query string) (io.ReadCloser, error) {
	u.queries = append(u.queries, path+"?"+query)
	if len(u.streams) == 0 {
		u.end()
		return nil, context.Canceled
	}
	next := u.streams[0]
	u.streams = u.streams[1:]
	return io.NopCloser(strings.NewReader(next)), nil
}

// proxy is a proxy that may follow.
type proxy struct {
	up      *upstream
	store   *storage.Store
	handler *athens.Handler
	state   string
	opts    events.FollowOptions
}

var held = module.Version{Path: "a.test/m", Version: "v1.0.0"}

func newProxy(t *testing.T) *proxy {
	p := &proxy{up: &upstream{Source: athenstest.NewSource(t, "upstream")}, store: storage.NewMemory(), state: filepath.Join(t.TempDir(), "state")}
	private := module.Version{Path: "corp.test/m", Version: "v1.0.0"}
	for _, m := range []module.Version{held, private} {
		p.up.Add(m)
		athenstest.Hold(t, p.store, p.up.Version(m), true)
	}
	var err error
	p.handler, err = athens.NewHandler(p.store, &athens.Options{Upstream: p.up, MissFetch: true, Private: "corp.test", ListTTL: time.Hour, MissingTTL: time.Hour, Prefetch: -1})
	require.NoError(t, err)
	return p
}

// follow follows some streams to their ends.
func (p *proxy) follow(t *testing.T, streams ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p.up.streams, p.up.end = streams, cancel
	opts := p.opts
	opts.State = p.state
	f, err := events.NewFollower(p.up, p.handler, p.store, &opts)
	require.NoError(t, err)
	f.Run(ctx)
}

func (p *proxy) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	w, _ := athenstest.Ask(t.Context(), p.handler, path)
	return w.Code, w.Body.String()
}

// event is an event on the wire.
func event(seq int64, kind string, m module.Version, reason string) string {
	data, _ := json.Marshal(events.Event{Seq: seq, Kind: kind, Module: m.Path, Version: m.Version, Reason: reason}) // it has no field that could fail
	return fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", seq, kind, data)
}

const (
	begin = ": epoch one\n\n"
	reset = "id: 0\nevent: reset\ndata: {\"seq\":0,\"kind\":\"reset\",\"time\":\"2026-01-01T00:00:00Z\"}\n\n"
)

func upTo(n int64) string { return fmt.Sprintf("id: %d\n\n", n) }

// A removal is done, told with its reason and undone; who follows goes on where it was.
func TestFollowRemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t)
		defer func() { assert.NoError(t, p.handler.Shutdown(context.Background())) }()
		p.follow(t, begin+event(5, "removed", held, "leaks\x1b a \\n key")+upTo(9))
		status, body := p.get(t, "/a.test/m/@v/v1.0.0.zip")
		assert.Equal(t, 410, status)
		assert.Contains(t, body, "leaks")
		assert.Empty(t, athenstest.Held(t, p.store, held))
		assert.Equal(t, []string{"events?after=0", "events?after=9&epoch=one"}, p.up.queries)

		p.up.queries = nil
		p.follow(t, event(9, "restored", held, "")+event(3, "restored", held, ""))
		assert.Equal(t, []string{"events?after=9&epoch=one", "events?after=9&epoch=one"}, p.up.queries)
		status, _ = p.get(t, "/a.test/m/@v/v1.0.0.zip")
		assert.Equal(t, 410, status, "events that come again, or in the wrong order, change nothing")

		p.follow(t, event(10, "restored", held, "")+upTo(10))
		status, body = p.get(t, "/a.test/m/@v/v1.0.0.zip")
		assert.Equal(t, 200, status, body)
		p.follow(t, event(11, "removed", held, "x")+event(12, "hidden", held, "old")+upTo(12))
		status, _ = p.get(t, "/a.test/m/@v/v1.0.0.zip")
		assert.Equal(t, 200, status, "what is hidden is served")
	})
}

// What an operator of the proxy has removed stays so, whatever the upstream says.
func TestFollowSparesOperator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t)
		defer func() { assert.NoError(t, p.handler.Shutdown(context.Background())) }()
		require.NoError(t, p.store.Remove(t.Context(), held, "ours"))
		p.follow(t, begin+event(5, "removed", held, "theirs")+event(6, "restored", held, "")+event(7, "hidden", held, "")+upTo(7), reset+upTo(8))
		_, body := p.get(t, "/a.test/m/@v/v1.0.0.zip")
		assert.Contains(t, body, "removed: ours")
		require.NoError(t, p.store.Restore(t.Context(), held))
		athenstest.Hold(t, p.store, p.up.Version(held), true)
		require.NoError(t, p.store.Hide(t.Context(), held, "ours"))
		p.follow(t, event(9, "removed", held, "theirs")+upTo(9))
		assert.Empty(t, athenstest.Held(t, p.store, held))
		p.follow(t, event(10, "restored", held, "")+upTo(10))
		marks, err := p.store.Marks(t.Context(), held.Path)
		require.NoError(t, err)
		assert.Equal(t, "ours", marks[held.Version].Reason)
	})
}

// An upstream has no say on what is private here, and none on what is not held.
func TestFollowSparesPrivate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t)
		defer func() { assert.NoError(t, p.handler.Shutdown(context.Background())) }()
		private := module.Version{Path: "corp.test/m", Version: "v1.0.0"}
		other := module.Version{Path: "b.test/m", Version: "v1.0.0"}
		p.follow(t, begin+event(5, "removed", private, "x")+event(6, "removed", other, "x")+upTo(7))
		assert.Len(t, athenstest.Held(t, p.store, private), 3)
		marks, err := p.store.Marks(t.Context(), other.Path)
		require.NoError(t, err)
		assert.Empty(t, marks, "nothing is written for each name that an upstream makes up")
	})
}

// A fetch that began before the removal may end after it.
func TestFollowLateFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t)
		defer func() { assert.NoError(t, p.handler.Shutdown(context.Background())) }()
		other := module.Version{Path: "b.test/m", Version: "v1.0.0"}
		v := p.up.Add(other)
		up := &pipeSource{upstream: p.up}
		var in *io.PipeWriter
		up.body, in = io.Pipe()
		f, err := events.NewFollower(up, p.handler, p.store, nil)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); f.Run(ctx) }()
		send := func(s string) {
			_, err := io.WriteString(in, s)
			require.NoError(t, err)
			synctest.Wait()
		}
		send(begin + event(6, "removed", other, "late") + upTo(7))
		athenstest.Hold(t, p.store, v, true)
		send(upTo(8))
		assert.Empty(t, athenstest.Held(t, p.store, other))
		cancel()
		<-ended
	})
}

type pipeSource struct {
	*upstream
	body io.ReadCloser
}

func (s *pipeSource) Stream(context.Context, string, string) (io.ReadCloser, error) {
	return s.body, nil
}

// What the upstream answered is asked again after news of it, and only that.
func TestFollowNews(t *testing.T) {
	for name, c := range map[string]struct {
		stream string
		asked  bool
	}{
		"recorded":         {event(5, "recorded", module.Version{Path: held.Path, Version: "v1.1.0"}, ""), true},
		"refreshed":        {event(5, "refreshed", module.Version{Path: held.Path}, ""), true},
		"hidden":           {event(5, "hidden", held, ""), true},
		"reset":            {reset, true},
		"many":             {manyModules(300), true},
		"another module":   {event(5, "refreshed", module.Version{Path: "b.test/m"}, ""), false},
		"heartbeats":       {upTo(5) + ": \n" + upTo(6), false},
		"no event of ours": {event(5, "exploded", held, ""), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProxy(t)
				defer func() { assert.NoError(t, p.handler.Shutdown(context.Background())) }()
				p.up.SetQuery(held.Path, "latest", held.Version)
				questions := []string{"/a.test/m/@v/list", "/a.test/m/@latest", "/a.test/m/@v/v1.1.0.info"}
				for range 2 {
					for _, q := range questions {
						p.get(t, q)
					}
				}
				next := module.Version{Path: held.Path, Version: "v1.1.0"}
				p.up.Add(next)
				p.up.SetQuery(held.Path, "latest", next.Version)
				time.Sleep(time.Second) // of the bubble: answers and events are not of one instant
				p.follow(t, begin+c.stream+upTo(1000))
				_, list := p.get(t, questions[0])
				_, latest := p.get(t, questions[1])
				assert.Equal(t, c.asked, strings.Contains(list, "v1.1.0"), list)
				assert.Equal(t, c.asked, strings.Contains(latest, "v1.1.0"), latest)
				status, _ := p.get(t, questions[2])
				assert.Equal(t, c.asked, status == 200)
			})
		})
	}
}

func manyModules(n int64) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(event(i+2, "refreshed", module.Version{Path: fmt.Sprintf("b%d.test/m", i)}, ""))
	}
	return b.String() + event(n+2, "refreshed", module.Version{Path: held.Path}, "")
}

// After a reset, what the upstream no longer says is removed comes back.
func TestFollowReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t)
		defer func() { assert.NoError(t, p.handler.Shutdown(context.Background())) }()
		p.follow(t, begin+event(5, "removed", held, "x")+upTo(6))
		p.follow(t, ": epoch two\n\n"+reset+event(500, "removed", held, "x")+upTo(600))
		marks, err := p.store.Marks(t.Context(), held.Path)
		require.NoError(t, err)
		assert.Len(t, marks, 1)
		p.follow(t, ": epoch three\n\n"+reset+upTo(100))
		marks, err = p.store.Marks(t.Context(), held.Path)
		require.NoError(t, err)
		assert.Empty(t, marks)
		assert.Equal(t, "events?after=100&epoch=three", p.up.queries[len(p.up.queries)-1])
	})
}

// Streams of nonsense end the connection or are passed over; each costs bounded work.
func TestFollowHostile(t *testing.T) {
	for name, s := range map[string]string{
		"huge line":   begin + "data: " + strings.Repeat("x", 1<<20),
		"huge event":  begin + strings.Repeat("data: "+strings.Repeat("x", 1000)+"\n", 100),
		"no JSON":     begin + "data: {{{\n\n" + strings.Repeat("data: [1,2]\n\n", 1000),
		"no number":   begin + "id: x\n\n",
		"negative":    begin + "id: -5\n\n",
		"paths":       begin + event(5, "removed", module.Version{Path: "../../etc", Version: "v1.0.0"}, "") + event(6, "removed", module.Version{Path: "a.test/m", Version: "../v1.0.0"}, ""),
		"many resets": begin + strings.Repeat(reset, 1000),
		"flood":       begin + manyModules(30_000),
		"comments":    strings.Repeat(": \n", 10_000),
		"binary":      "\x00\xff\n\n\x00",
		"reason":      begin + event(5, "removed", module.Version{Path: "b.test/m", Version: "v1.0.0"}, strings.Repeat("x", 5000)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProxy(t)
				defer func() { assert.NoError(t, p.handler.Shutdown(context.Background())) }()
				p.follow(t, s, begin+upTo(1_000_000))
				assert.Len(t, athenstest.Held(t, p.store, held), 3)
				assert.Equal(t, "events?after=1000000&epoch=one", p.up.queries[len(p.up.queries)-1])
			})
		})
	}
}

// A source that fails is asked again, less and less often.
func TestFollowOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t)
		defer func() { assert.NoError(t, p.handler.Shutdown(context.Background())) }()
		began := time.Now()
		p.follow(t, make([]string, 10)...)
		assert.Greater(t, time.Since(began), 2*time.Minute)
		assert.Less(t, time.Since(began), 10*time.Minute)
		require.NoError(t, os.WriteFile(p.state, []byte("{"), 0o666))
		p.up.queries = nil
		p.follow(t)
		assert.Equal(t, []string{"events?after=0"}, p.up.queries, "a damaged state is none")
	})
}

// A silent source is left and asked again.
func TestFollowSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t)
		defer func() { assert.NoError(t, p.handler.Shutdown(context.Background())) }()
		up := &pipeSource{upstream: p.up}
		up.body, _ = io.Pipe()
		f, err := events.NewFollower(up, p.handler, p.store, &events.FollowOptions{IdleTimeout: time.Second})
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		f.Run(ctx) // each time the body is closed, the next read of it fails
		assert.ErrorIs(t, ctx.Err(), context.DeadlineExceeded)
	})
}
