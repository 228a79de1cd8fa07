package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve/events"
)

func version(path, v string) module.Version { return module.Version{Path: path, Version: v} }

func open(t *testing.T, dir string, o *events.Options) *events.Feed {
	t.Helper()
	f, err := events.New(dir, o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() }) // some tests close it themselves
	return f
}

// page is an answer of JSON.
type page struct {
	Epoch  string
	Next   int64
	Events []events.Event
}

// kinds are the events of a page in short.
func (p page) kinds() []string {
	all := []string{}
	for _, e := range p.Events {
		all = append(all, strings.TrimSpace(strings.Join([]string{e.Kind, strings.TrimSuffix(e.Module+"@"+e.Version, "@"), e.Reason}, " ")))
	}
	return all
}

// get asks a feed for JSON.
func get(t *testing.T, f http.Handler, query string, user ...string) page {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/events?"+query, http.NoBody)
	if user != nil {
		r.SetBasicAuth(user[0], "")
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	var p page
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
	assert.Equal(t, w.Header().Get("Athens-Epoch"), p.Epoch)
	return p
}

func after(n int64) string { return "after=" + strconv.FormatInt(n, 10) }

// tell tells of a removal, which returns once it can be read, with all that was told before.
func tell(t *testing.T, f *events.Feed, m module.Version) {
	f.Add(t.Context(), events.Removed, m, "leaks a key")
}

func TestPoll(t *testing.T) {
	f := open(t, t.TempDir(), nil)
	assert.Empty(t, get(t, f, "").Events)
	f.Add(t.Context(), events.Recorded, version("a.test/m", "v1.0.0"), "")
	f.Add(t.Context(), events.Refreshed, version("a.test/m", ""), "")
	tell(t, f, version("a.test/m", "v1.0.0"))
	f.Add(t.Context(), "nonsense", version("a.test/m", "v1.0.0"), "")
	f.Add(t.Context(), events.Reset, version("a.test/m", "v1.0.0"), "")
	f.Add(t.Context(), events.Removed, version("a.test/../m", "v1.0.0"), "x")
	f.Add(t.Context(), events.Removed, version("a.test/m", ""), "x")
	p := get(t, f, "after=0")
	require.Equal(t, []string{"recorded a.test/m@v1.0.0", "refreshed a.test/m", "removed a.test/m@v1.0.0 leaks a key"}, p.kinds())
	assert.Less(t, p.Events[0].Seq, p.Events[1].Seq)
	assert.False(t, p.Events[0].Time.IsZero())
	assert.Equal(t, []string{"removed a.test/m@v1.0.0 leaks a key"}, get(t, f, after(p.Events[1].Seq)).kinds())
	assert.Empty(t, get(t, f, after(p.Next)+"&epoch="+p.Epoch).Events)
	assert.GreaterOrEqual(t, p.Next, p.Events[2].Seq)
	tell(t, f, version("a.test/m", "v1.1.0"))
	assert.Equal(t, []string{"removed a.test/m@v1.1.0 leaks a key"}, get(t, f, after(p.Next)).kinds(), "no event has a number that a reader was given before")
}

// A long poll is answered by the event that it waits for.
func TestLongPoll(t *testing.T) {
	f := open(t, t.TempDir(), nil)
	next := get(t, f, "").Next
	answered := make(chan page)
	go func() { answered <- get(t, f, after(next)+"&wait=1h") }()
	tell(t, f, version("a.test/m", "v1.0.0"))
	assert.Equal(t, []string{"removed a.test/m@v1.0.0 leaks a key"}, (<-answered).kinds())
}

func TestMalformedRequests(t *testing.T) {
	f := open(t, t.TempDir(), nil)
	for query, method := range map[string]string{"after=x": "GET", "after=-1": "GET", "wait=x": "GET", "wait=-1s": "GET", "after=99999999999999999999": "GET", "epoch=" + strings.Repeat("x", 65): "GET", "": "POST"} {
		w := httptest.NewRecorder()
		f.ServeHTTP(w, httptest.NewRequest(method, "/events?"+query, http.NoBody))
		assert.GreaterOrEqual(t, w.Code, 400, query)
		assert.Less(t, w.Code, 500, query)
	}
	front := f.Front(http.NotFoundHandler())
	for _, r := range []*http.Request{httptest.NewRequest("POST", "/events", http.NoBody), httptest.NewRequest("GET", "/events/", http.NoBody), httptest.NewRequest("GET", "/a.test/events", http.NoBody)} {
		w := httptest.NewRecorder()
		front.ServeHTTP(w, r)
		assert.Equal(t, http.StatusNotFound, w.Code, "the handler's business")
	}
}

// A reader whose number says nothing about this feed starts again with what there is, and
// learns of each removal that is in force, however long ago it was.
func TestReset(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir, &events.Options{MaxEvents: 4})
	early := get(t, f, "").Next
	first := version("a.test/m", "v1.0.0")
	tell(t, f, first)
	tell(t, f, version("a.test/m", "v1.0.1"))
	f.Add(t.Context(), events.Restored, version("a.test/m", "v1.0.1"), "")
	for i := range 9 {
		f.Add(t.Context(), events.Recorded, version("b.test/m", fmt.Sprintf("v1.%d.0", i)), "")
	}
	tell(t, f, version("c.test/m", "v1.0.0"))
	want := []string{"reset", "removed a.test/m@v1.0.0 leaks a key", "recorded b.test/m@v1.6.0", "recorded b.test/m@v1.7.0", "recorded b.test/m@v1.8.0", "removed c.test/m@v1.0.0 leaks a key"}
	now := get(t, f, "")
	assert.Equal(t, want, now.kinds())
	for name, query := range map[string]string{
		"too old": after(early), "before this feed": after(12), "in the future": after(now.Next + 3600e6), "of another epoch": after(now.Next) + "&epoch=other",
	} {
		assert.Equal(t, want, get(t, f, query).kinds(), name)
	}
	assert.Empty(t, get(t, f, after(now.Next)).Events)
	require.NoError(t, f.Close())
	f = open(t, dir, &events.Options{MaxEvents: 4})
	assert.Equal(t, want, get(t, f, "").kinds(), "after a restart")
	assert.Empty(t, get(t, f, after(now.Next)+"&epoch="+now.Epoch).Events)
	f.Add(t.Context(), events.Restored, first, "")
	for i := range 4 {
		tell(t, f, version("d.test/m", fmt.Sprintf("v1.%d.0", i)))
	}
	for _, e := range get(t, f, "").kinds() {
		assert.NotContains(t, e, "a.test/m")
	}
}

// What a reader may not see is left out, and nothing tells how much that was.
func TestPrivate(t *testing.T) {
	allow := func(r *http.Request, m module.Version) error {
		if user, _, _ := r.BasicAuth(); user == "in" || !strings.HasPrefix(m.Path, "corp.test") {
			return nil
		}
		return errors.New("private")
	}
	f := open(t, t.TempDir(), nil)
	options := &athens.Options{Allow: allow}
	f.Watch(options)
	f.Add(t.Context(), events.Recorded, version("a.test/m", "v1.0.0"), "")
	tell(t, f, version("corp.test/m", "v1.0.0"))
	assert.Equal(t, []string{"recorded a.test/m@v1.0.0"}, get(t, f, "").kinds())
	p := get(t, f, "", "in")
	assert.Len(t, p.Events, 2)
	out := get(t, f, "")
	assert.Greater(t, out.Next, p.Events[1].Seq, "the reader is past what it did not see")
	assert.Empty(t, get(t, f, after(out.Next)).Events)
	large := open(t, t.TempDir(), &events.Options{Allow: func(*http.Request, module.Version) error { return errors.New("none") }})
	tell(t, large, version("corp.test/m", "v1.0.0"))
	assert.Empty(t, get(t, large, "").Events)
}

// The feed tells what a handler records and what its sources name.
func TestWatch(t *testing.T) {
	f := open(t, t.TempDir(), nil)
	heard := 0
	o := &athens.Options{Observe: func(athens.Event) { heard++ }, Named: func(context.Context, string, []athens.Info) { heard++ }}
	f.Watch(o)
	next := get(t, f, "").Next // before anything is told: the feed may show an event at any time after that
	m := version("a.test/m", "v1.0.0")
	o.Observe(athens.Event{Op: athens.OpCommit, Module: m, Outcome: athens.OutcomeDone})
	o.Observe(athens.Event{Op: athens.OpCommit, Module: m, Outcome: athens.OutcomeFailed})
	o.Observe(athens.Event{Op: athens.OpRequest, Module: m, Outcome: athens.OutcomeHeld})
	one, two := []athens.Info{{Version: "v1.0.0"}}, []athens.Info{{Version: "v1.0.0"}, {Version: "v1.1.0"}}
	for _, list := range [][]athens.Info{one, one, two, two} {
		o.Named(t.Context(), "a.test/m", list)
	}
	assert.Equal(t, 7, heard)
	var told []string
	for len(told) < 3 {
		p := get(t, f, after(next)+"&wait=1m")
		told, next = append(told, p.kinds()...), p.Next
	}
	assert.ElementsMatch(t, []string{"recorded a.test/m@v1.0.0", "refreshed a.test/m", "refreshed a.test/m"}, told)
}

// A file that was cut off anywhere is read as far as it goes, and no number is given twice.
func TestTornFile(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir, nil)
	for i := range 3 {
		tell(t, f, version("a.test/m", fmt.Sprintf("v1.%d.0", i)))
	}
	before := get(t, f, "")
	require.NoError(t, f.Close())
	file := filepath.Join(dir, "feed")
	whole, err := os.ReadFile(file)
	require.NoError(t, err)
	header := strings.IndexByte(string(whole), '\n') + 1
	for cut := header; cut < len(whole); cut += 7 {
		torn := append(append([]byte{}, whole[:cut]...), 0, 0, 0, '\n', 0)
		require.NoError(t, os.WriteFile(file, torn, 0o666))
		f := open(t, dir, nil)
		p := get(t, f, "")
		assert.Equal(t, before.Epoch, p.Epoch, cut)
		assert.Equal(t, before.kinds()[:len(p.Events)], p.kinds(), cut)
		tell(t, f, version("b.test/m", "v1.0.0"))
		assert.Len(t, get(t, f, after(before.Next)+"&epoch="+before.Epoch).Events, 1, "the number is new")
		require.NoError(t, f.Close())
	}
	_, err = os.Stat(filepath.Join(dir, "feed.damaged"))
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// A file that is damaged anywhere else begins a new epoch; the start does not fail.
func TestDamagedFile(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir, nil)
	for i := range 3 {
		tell(t, f, version("a.test/m", fmt.Sprintf("v1.%d.0", i)))
	}
	before := get(t, f, "")
	require.NoError(t, f.Close())
	file := filepath.Join(dir, "feed")
	whole, err := os.ReadFile(file)
	require.NoError(t, err)
	last := strings.LastIndexByte(string(whole[:len(whole)-1]), '\n')
	for at := 0; at < last; at += 11 {
		bad := append([]byte{}, whole...)
		bad[at] ^= 1
		require.NoError(t, os.WriteFile(file, bad, 0o666))
		f := open(t, dir, nil)
		p := get(t, f, after(before.Next)+"&epoch="+before.Epoch)
		assert.Equal(t, []string{"reset"}, p.kinds(), at)
		assert.NotEqual(t, before.Epoch, p.Epoch)
		require.NoError(t, f.Close())
		kept, err := os.ReadFile(filepath.Join(dir, "feed.damaged"))
		require.NoError(t, err)
		assert.Equal(t, bad, kept)
	}
	for _, data := range []string{"", "\n", "x", "\x00\x00\n\x00"} {
		require.NoError(t, os.WriteFile(file, []byte(data), 0o666))
		require.NoError(t, open(t, dir, nil).Close(), "%q", data)
	}
	require.NoError(t, os.WriteFile(file, whole, 0o666))
	f = open(t, dir, nil)
	_, err = events.New(dir, nil)
	assert.ErrorContains(t, err, "another process has it open")
	require.NoError(t, f.Close())
}

// The file stays within its bound.
func TestBoundedFile(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir, &events.Options{MaxBytes: 64 << 10})
	for i := range 5000 {
		f.Add(t.Context(), events.Recorded, version("a.test/"+strings.Repeat("x", 100), fmt.Sprintf("v1.%d.0", i)), "")
		if i%100 == 99 { // so that it is written in several steps
			tell(t, f, version("b.test/m", "v1.0.0"))
		}
	}
	info, err := os.Stat(filepath.Join(dir, "feed"))
	require.NoError(t, err)
	assert.Less(t, info.Size(), int64(200<<10))
	require.NoError(t, f.Close())
	f = open(t, dir, &events.Options{MaxBytes: 64 << 10})
	assert.Contains(t, get(t, f, "").kinds(), "recorded a.test/"+strings.Repeat("x", 100)+"@v1.4999.0")
}

// Another process tells the feed by a file.
func TestNotify(t *testing.T) {
	dir := t.TempDir()
	m := version("a.test/m", "v1.0.0")
	require.NoError(t, events.Notify(dir, events.Removed, m, "leaks a key"), "there is no feed")
	f := open(t, dir, nil)
	assert.Error(t, events.Notify(dir, "nonsense", m, ""))
	for range 2 {
		require.NoError(t, events.Notify(dir, events.Removed, m, "leaks a key"))
		require.NoError(t, events.Notify(dir, events.Restored, m, ""))
	}
	inbox := filepath.Join(dir, "inbox")
	require.NoError(t, os.WriteFile(filepath.Join(inbox, "bad.event"), []byte("{"), 0o666))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); f.Run(ctx) }()
	var told []string
	for next := int64(0); len(told) < 4; {
		p := get(t, f, after(next)+"&wait=1m")
		told, next = append(told, p.kinds()...), p.Next
	}
	one := []string{"removed a.test/m@v1.0.0 leaks a key", "restored a.test/m@v1.0.0"}
	assert.Equal(t, append(one, one...), told)
	require.Eventually(t, func() bool {
		left, err := filepath.Glob(filepath.Join(inbox, "*.event"))
		return err == nil && len(left) == 0
	}, time.Minute, 10*time.Millisecond, "what was told, and what is no event, is removed")
	cancel()
	<-ended
	assert.Empty(t, get(t, f, after(get(t, f, "").Next)+"&wait=1m").Events, "a server that stops does not wait for readers")
}
