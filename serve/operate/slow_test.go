package operate_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Clients that pretend to be GitHub and never finish their events keep each other waiting,
// and nobody who has shown a right.
func TestSlowEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		sent, unsent := io.Pipe()
		var answers [8]*httptest.ResponseRecorder
		for i := range answers {
			answers[i] = httptest.NewRecorder()
			go w.root.ServeHTTP(answers[i], pushed(sent))
		}
		synctest.Wait()
		late := httptest.NewRecorder()
		w.root.ServeHTTP(late, pushed(strings.NewReader("{}")))
		assert.Equal(t, http.StatusTooManyRequests, late.Code)
		assert.Equal(t, "1", late.Header().Get("Retry-After"))
		status, body := w.post("/refresh", refresh, `{"module":"example.com/m","version":"v1.0.0"}`)
		assert.Equal(t, http.StatusOK, status, body)

		require.NoError(t, unsent.Close())
		synctest.Wait()
		for _, a := range answers {
			assert.Equal(t, http.StatusUnauthorized, a.Code)
		}
		late = httptest.NewRecorder()
		w.root.ServeHTTP(late, pushed(strings.NewReader("{}")))
		assert.Equal(t, http.StatusUnauthorized, late.Code, "there is a place again")
	})
}

// pushed is a push event with a signature that nobody has made.
func pushed(body io.Reader) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/refresh", body)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Hub-Signature-256", "sha256=00")
	return r
}

// The time to read a body is bounded, and not that of what comes after it.
func TestBodyDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := &connection{ResponseRecorder: httptest.NewRecorder()}
		w.root.ServeHTTP(c, pushed(c))
		assert.Equal(t, http.StatusRequestTimeout, c.Code, c.Body)
		assert.Equal(t, []time.Time{time.Now(), {}}, c.deadlines)
	})
}

// connection is a response and the body of its request, which never arrives.
type connection struct {
	*httptest.ResponseRecorder
	deadlines []time.Time
}

func (c *connection) SetReadDeadline(at time.Time) error {
	c.deadlines = append(c.deadlines, at)
	return nil
}

func (c *connection) Read([]byte) (int, error) {
	time.Sleep(time.Until(c.deadlines[0]))
	return 0, os.ErrDeadlineExceeded
}
