package events_test

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens/serve/events"
)

// stream opens a stream of a server.
func stream(t *testing.T, url string, header ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	r.Header.Set("Accept", "text/event-stream")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// serve starts a server that does not wait for its streams in the end.
func serve(t *testing.T, h http.Handler) *httptest.Server {
	server := httptest.NewServer(h)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return server
}

// until reads a stream up to a line with that text.
func until(t *testing.T, r *bufio.Reader, text string) string {
	t.Helper()
	for all := ""; ; {
		line, err := r.ReadString('\n')
		require.NoError(t, err, all)
		if all += line; strings.Contains(line, text) {
			return all
		}
	}
}

func TestStream(t *testing.T) {
	f := open(t, t.TempDir(), &events.Options{HeartbeatInterval: 10 * time.Millisecond})
	server := serve(t, f.Front(http.NotFoundHandler()))
	tell(t, f, version("a.test/m", "v1.0.0"))
	resp := stream(t, server.URL+"/events")
	assert.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	body := bufio.NewReader(resp.Body)
	first := until(t, body, "data: ")
	assert.Regexp(t, `(?s)^: epoch \w+\n\nid: \d+\nevent: removed\ndata: \{"seq":\d+,"kind":"removed","module":"a.test/m","version":"v1.0.0","reason":"leaks a key","time":"`, first)
	until(t, body, ": ") // a heartbeat
	tell(t, f, version("a.test/m", "v1.1.0"))
	assert.NotContains(t, until(t, body, "v1.1.0"), "v1.0.0")
	last := strings.TrimSpace(strings.TrimPrefix(until(t, body, "id: "), "\n"))
	last = last[strings.LastIndex(last, " ")+1:]

	tell(t, f, version("a.test/m", "v1.2.0"))
	again := bufio.NewReader(stream(t, server.URL+"/events?after=0", "Last-Event-ID", last).Body)
	assert.NotContains(t, until(t, again, "v1.2.0"), "v1.1.0")
	require.NoError(t, f.Close())
	_, err := io.ReadAll(body)
	assert.NoError(t, err, "the stream ends in order")
}

// Events that a reader may not see wake nobody: the stream has nothing but its heartbeats.
func TestStreamOfPrivate(t *testing.T) {
	f := open(t, t.TempDir(), &events.Options{HeartbeatInterval: time.Hour, Allow: func(_ *http.Request, m module.Version) error {
		if m.Path != "a.test/m" {
			return errors.New("private")
		}
		return nil
	}})
	server := serve(t, f)
	body := bufio.NewReader(stream(t, server.URL).Body)
	until(t, body, "id: ")
	for range 5 {
		tell(t, f, version("corp.test/m", "v1.0.0"))
	}
	tell(t, f, version("a.test/m", "v1.0.0"))
	assert.Equal(t, 1, strings.Count(until(t, body, "data: "), "id: "))
}

// Beyond the bound of readers there is 503, and those who leave make room.
func TestMaxReaders(t *testing.T) {
	f := open(t, t.TempDir(), &events.Options{MaxReaders: 2})
	server := serve(t, f)
	for range 2 {
		until(t, bufio.NewReader(stream(t, server.URL).Body), "id: ")
	}
	resp, err := http.Get(server.URL + "?wait=1m")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	assert.NotEmpty(t, resp.Header.Get("Retry-After"))
}

// A reader that does not read holds up nobody: it is cut, or comes back and starts anew.
func TestSlowReader(t *testing.T) {
	f := open(t, t.TempDir(), nil)
	entered, left := make(chan struct{}), make(chan struct{})
	w := &stuck{ResponseRecorder: httptest.NewRecorder(), entered: entered, release: make(chan struct{})}
	go func() {
		defer close(left)
		r := httptest.NewRequest(http.MethodGet, "/events", http.NoBody)
		r.Header.Set("Accept", "text/event-stream")
		f.ServeHTTP(w, r)
	}()
	<-entered
	for i := range 100 {
		tell(t, f, version("a.test/m", "v1.0."+string(rune('0'+i%10))))
	}
	assert.Len(t, get(t, f, "").Events, 100)
	assert.WithinDuration(t, time.Now().Add(10*time.Second), w.deadline, 10*time.Minute)
	close(w.release)
	<-left
}

// stuck is a client that does not read: the server's deadline ends the write.
type stuck struct {
	*httptest.ResponseRecorder
	entered, release chan struct{}
	deadline         time.Time
}

func (w *stuck) SetWriteDeadline(t time.Time) error { w.deadline = t; return nil }

func (w *stuck) Write([]byte) (int, error) {
	close(w.entered)
	<-w.release
	return 0, errors.New("i/o timeout")
}
