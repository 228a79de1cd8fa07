package events_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/serve/events"
)

// says asks a feed as a follower at an address does.
func says(f *events.Feed, address, query string) {
	r := httptest.NewRequest("GET", "/events?report=1&"+query, nil)
	r.RemoteAddr = address
	r.Header.Set("Accept", "text/event-stream")
	f.ServeHTTP(httptest.NewRecorder(), r)
}

// A server is told who follows it and how far each is, until it hears nothing of them.
func TestReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, t.TempDir(), nil)
		defer f.Close()
		start := get(t, f, "").Next
		for i := range 3 {
			tell(t, f, version("a.test/m", fmt.Sprintf("v1.%d.0", i)))
			time.Sleep(time.Second)
		}
		told := get(t, f, "").Events
		says(f, "127.0.0.1:1", "follower=registry-a&records=7&lacking=2&after="+fmt.Sprint(told[0].Seq))
		says(f, "[2001:db8::1]:1", "follower=proxy-b&"+after(told[2].Seq))
		says(f, "[2001:db8::2]:1", "follower=proxy-b&records=-3&lacking=x&"+after(start))
		says(f, "127.0.0.1:2", "after=0")
		w := httptest.NewRecorder()
		f.ServeReaders(w, nil)
		var all []events.Reader
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &all))
		require.Len(t, all, 2)
		assert.Equal(t, events.Reader{Name: "proxy-b", Address: "2001:db8::/64", Heard: time.Now().UTC(), LagEvents: 3, LagTime: 3 * time.Second}, all[0])
		assert.Equal(t, events.Reader{Name: "registry-a", Address: "127.0.0.1", Heard: time.Now().UTC(), LagEvents: 2, LagTime: 2 * time.Second, Records: 7, LagRecords: 2}, all[1])
		time.Sleep(2 * time.Minute)
		assert.Empty(t, f.Readers())
	})
}

// Nobody makes the list long, or puts nonsense there.
func TestReadersAreBounded(t *testing.T) {
	f := open(t, t.TempDir(), nil)
	for _, name := range []string{strings.Repeat("x", 65), "a\nb", "\x1b[31m", "\xff"} {
		says(f, "127.0.0.1:1", "follower="+url.QueryEscape(name))
	}
	assert.Empty(t, f.Readers())
	for i := range 100 {
		says(f, "127.0.0.1:1", fmt.Sprintf("follower=x%d", i))
	}
	assert.Len(t, f.Readers(), 4)
	for i := range 100 {
		for range 2 {
			says(f, fmt.Sprintf("127.0.1.%d:1", i), "follower=x")
		}
	}
	assert.Len(t, f.Readers(), 64)
}

// A follower with a name reports how far it is, as long as it can be connected.
func TestFollowReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t)
		defer func() { assert.NoError(t, p.handler.Shutdown(context.Background())) }()
		feed := open(t, t.TempDir(), nil)
		defer feed.Close()
		up := &feedSource{p.up, feed}
		f, err := events.NewFollower(up, p.handler, p.store, &events.FollowOptions{State: p.state, Name: "copy", Behind: func() (int64, int64) { return 12, 5 }})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); f.Run(ctx) }()
		time.Sleep(time.Second)
		tell(t, feed, held)
		time.Sleep(time.Minute)
		list := feed.Readers()
		require.Len(t, list, 1)
		assert.Regexp(t, `^copy-[a-z2-7]{8}$`, list[0].Name)
		assert.Equal(t, []int64{0, 12, 5}, []int64{int64(list[0].LagEvents), list[0].Records, list[0].LagRecords})
		assert.WithinDuration(t, time.Now(), list[0].Heard, 11*time.Second)
		cancel()
		<-ended
		again, err := events.NewFollower(up, p.handler, p.store, &events.FollowOptions{State: p.state, Name: "copy"})
		require.NoError(t, err)
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		again.Run(ctx)
		assert.Equal(t, list[0].Name, feed.Readers()[0].Name, "the same after a restart")
		assert.Len(t, feed.Readers(), 1)
	})
}

// feedSource is an upstream whose streams are those of a feed.
type feedSource struct {
	*upstream
	feed *events.Feed
}

func (s *feedSource) Stream(ctx context.Context, path, query string) (io.ReadCloser, error) {
	out, in := io.Pipe()
	r := httptest.NewRequestWithContext(ctx, "GET", "/"+path+"?"+query, nil)
	r.Header.Set("Accept", "text/event-stream")
	go func() {
		s.feed.ServeHTTP(&pipeWriter{httptest.NewRecorder(), in}, r)
		_ = in.Close() // it has no error
	}()
	return out, nil
}

// pipeWriter is an answer whose body goes into a pipe.
type pipeWriter struct {
	*httptest.ResponseRecorder
	body *io.PipeWriter
}

func (w *pipeWriter) Write(b []byte) (int, error) { return w.body.Write(b) }
