package redirect_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/protocol"
	"github.com/athens-go/athens/redirect"
)

// script answers each request with the next of its handlers, the last for ever.
type script struct {
	asked   atomic.Int32
	answers []http.HandlerFunc
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := int(s.asked.Add(1))
	s.answers[min(n, len(s.answers))-1](w, r)
}

func status(code int, retryAfter string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(code)
	}
}

func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func body(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
}

// half begins an answer and cuts it off.
func half(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "100")
	io.WriteString(w, "v1.0.0\n")
	http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// hang answers nothing until the client leaves.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// pausing begins an answer and then pauses until the client leaves.
func pausing(w http.ResponseWriter, r *http.Request) {
	io.WriteString(w, "v1.0.0\n")
	http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func TestRetries(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []http.HandlerFunc
		tries   int32
		least   time.Duration // that it takes
		most    time.Duration
		err     string
	}{
		{"at once", []http.HandlerFunc{body("v1.0.0")}, 1, 0, 0, ""},
		{"503, then well", []http.HandlerFunc{status(503, ""), body("v1.0.0")}, 2, 125 * time.Millisecond, 250 * time.Millisecond, ""},
		{"cut, then well", []http.HandlerFunc{body("v1.0.0"), cut, body("v1.0.0")}, 1, 0, 0, ""},
		{"half, then well", []http.HandlerFunc{half, body("v1.0.0")}, 2, 125 * time.Millisecond, 250 * time.Millisecond, ""},
		{"always 500", []http.HandlerFunc{status(500, "")}, 3, 375 * time.Millisecond, 750 * time.Millisecond, "http://up.test is unavailable: it answers 500 Internal Server Error"},
		{"always cut", []http.HandlerFunc{cut}, 3, 375 * time.Millisecond, 750 * time.Millisecond, "http://up.test is unavailable: EOF"},
		{"not implemented", []http.HandlerFunc{status(501, "")}, 1, 0, 0, "http://up.test is unavailable: it answers 501 Not Implemented"},
		{"429 with a wait", []http.HandlerFunc{status(429, "1"), body("v1.0.0")}, 2, time.Second, time.Second, ""},
		{"503 with a long wait", []http.HandlerFunc{status(503, "3"), body("v1.0.0")}, 1, 0, 0, "http://up.test is unavailable: it answers 503 Service Unavailable"},
		{"missing is final", []http.HandlerFunc{status(404, ""), body("v1.0.0")}, 1, 0, 0, "example.com/m: not found"},
		{"what is no answer is not tried again", []http.HandlerFunc{status(400, ""), body("v1.0.0")}, 1, 0, 0, "http://up.test is unavailable: it answers 400 Bad Request"},
		{"and a loop", []http.HandlerFunc{func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, (&protocol.LoopError{Via: "a, b"}).Error(), http.StatusBadGateway)
		}, body("v1.0.0")}, 1, 0, 0, "example.com/m: invalid: proxy loop: the servers a, b ask each other"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: c.answers}
				o, _ := wired(t, s)
				u := upstream(t, "http://up.test", o)
				begin := time.Now()
				_, err := u.Versions(t.Context(), "example.com/m")
				if c.err == "" {
					assert.NoError(t, err)
				} else {
					assert.EqualError(t, err, c.err)
				}
				assert.Equal(t, c.tries, s.asked.Load())
				assert.GreaterOrEqual(t, time.Since(begin), c.least)
				assert.LessOrEqual(t, time.Since(begin), c.most)
			})
		})
	}
}

// Once bytes of a zip have gone on, another try would write them twice.
func TestZipIsNotBegunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []http.HandlerFunc{status(503, ""), half, body("again")}}
		o, _ := wired(t, s)
		c, err := upstream(t, "http://up.test", o).Fetch(t.Context(), v1)
		require.NoError(t, err)
		var zip bytes.Buffer
		err = c.Zip(t.Context(), &zip)
		var down *athens.UnavailableError
		assert.ErrorAs(t, err, &down)
		assert.Equal(t, "v1.0.0\n", zip.String())
		assert.EqualValues(t, 2, s.asked.Load())
	})
}

func TestTimeouts(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		o      redirect.Options
		took   time.Duration
		err    string
	}{
		{"no answer", hang, redirect.Options{Tries: 1}, time.Minute, "no answer within 1m0s"},
		{"a pause", pausing, redirect.Options{Tries: 1}, 30 * time.Second, "no data within 30s"},
		{"in all", hang, redirect.Options{AnswerTimeout: time.Hour}, 2 * time.Minute, "no complete answer within 2m0s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, _ := wired(t, c.answer)
				c.o.Transport = o.Transport
				begin := time.Now()
				_, err := upstream(t, "http://up.test", &c.o).Versions(t.Context(), "example.com/m")
				assert.EqualError(t, err, "http://up.test is unavailable: "+c.err)
				assert.Equal(t, c.took, time.Since(begin))
				var down *athens.UnavailableError
				require.ErrorAs(t, err, &down)
				assert.True(t, down.Timeout())
			})
		})
	}
}

// A body that trickles is taken for as long as ZipTimeout; the time that
// whoever takes it needs does not count as a pause.
func TestSlowZip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := wired(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				time.Sleep(20 * time.Second)
				w.Write([]byte("x"))
				http.NewResponseController(w).Flush()
			}
		}))
		c, err := upstream(t, "http://up.test", o).Fetch(t.Context(), v1)
		require.NoError(t, err)
		begin := time.Now()
		err = c.Zip(t.Context(), writerFunc(func(p []byte) (int, error) {
			time.Sleep(5 * time.Minute)
			return len(p), nil
		}))
		assert.EqualError(t, err, "http://up.test is unavailable: no complete answer within 1h0m0s")
		assert.GreaterOrEqual(t, time.Since(begin), time.Hour)
	})
}

func TestCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := wired(t, http.HandlerFunc(hang))
		u := upstream(t, "http://up.test", o)
		c, err := u.Fetch(t.Context(), v1)
		require.NoError(t, err)
		calls := map[string]func(context.Context) error{
			"Zip":      func(ctx context.Context) error { return c.Zip(ctx, io.Discard) },
			"Versions": func(ctx context.Context) error { _, err := u.Versions(ctx, "example.com/m"); return err },
		}
		for name, call := range calls {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			begin := time.Now()
			err = call(ctx)
			cancel()
			assert.Equal(t, time.Second, time.Since(begin), name)
			var down *athens.UnavailableError
			if assert.ErrorAs(t, err, &down, name) {
				assert.True(t, down.Timeout(), name)
			}
			why := errors.New("had enough")
			left, leave := context.WithCancelCause(t.Context())
			leave(why)
			err = call(left)
			assert.ErrorIs(t, err, why, name)
			assert.False(t, athens.Final(err), name)
		}
		// That says nothing of the server.
		assert.NoError(t, u.Healthy(t.Context()))
	})
}

// unsteady is a server in memory that is sometimes gone.
type unsteady struct {
	*redirect.Upstream
	script *script
	dials  atomic.Int32
	gone   atomic.Bool
}

var errGone = errors.New("connection refused")

func newUnsteady(t *testing.T) *unsteady {
	s := &unsteady{script: &script{answers: []http.HandlerFunc{body("v1.0.0")}}}
	o, w := wired(t, s.script)
	transport := o.Transport.(*http.Transport)
	transport.DisableKeepAlives = true
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		assert.Equal(t, "up.test:80", addr)
		s.dials.Add(1)
		if s.gone.Load() {
			return nil, errGone
		}
		return w.dial(ctx, network, addr)
	}
	s.Upstream = upstream(t, "http://up.test", o)
	return s
}

func (s *unsteady) locate(t *testing.T) error {
	_, err := s.Location(t.Context(), "example.com/m/@v/list")
	return err
}

func TestChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newUnsteady(t)
		// Never asked: it is tried.
		assert.NoError(t, s.locate(t))
		assert.EqualValues(t, 1, s.dials.Load())
		// A sign of life holds for a while.
		time.Sleep(4 * time.Second)
		assert.NoError(t, s.locate(t))
		assert.EqualValues(t, 1, s.dials.Load())
		// Then it is tried again, once however many want to know.
		time.Sleep(2 * time.Second)
		s.gone.Store(true)
		results := make(chan error, 10)
		for range cap(results) {
			go func() { results <- s.locate(t) }()
		}
		for range cap(results) {
			var down *athens.UnavailableError
			assert.ErrorAs(t, <-results, &down)
		}
		assert.EqualValues(t, 2, s.dials.Load())
		// Down for a while, without another try.
		time.Sleep(3 * time.Second)
		var down *athens.UnavailableError
		require.ErrorAs(t, s.locate(t), &down)
		assert.Equal(t, 2*time.Second, down.RetryAfter)
		assert.EqualError(t, down, "http://up.test is unavailable: connection refused")
		assert.EqualValues(t, 2, s.dials.Load())
		assert.Zero(t, s.script.asked.Load(), "the checks asked nothing")
	})
}

// Requests tell of the server's health, too.
func TestRequestsTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newUnsteady(t)
		s.gone.Store(true)
		assert.Error(t, s.locate(t))
		// One that is answered ends the outage at once.
		s.gone.Store(false)
		_, err := s.Versions(t.Context(), "example.com/m")
		assert.NoError(t, err)
		assert.NoError(t, s.locate(t))
		assert.EqualValues(t, 2, s.dials.Load())
		// One that finds nobody begins it at once.
		s.gone.Store(true)
		time.Sleep(time.Second)
		_, err = s.Versions(t.Context(), "example.com/m")
		assert.ErrorIs(t, err, errGone)
		assert.Error(t, s.locate(t))
		// It is back, and a check finds out.
		s.gone.Store(false)
		time.Sleep(5 * time.Second)
		assert.NoError(t, s.locate(t))
	})
}

// An answer is a sign of life, whatever it says: a registry's 503 is about one
// module, and the client that is sent there reads why.
func TestRefusalsAreSignsOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := wired(t, status(503, "60"))
		o.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("not needed") }
		u := upstream(t, "http://up.test", o)
		_, err := u.Versions(t.Context(), "example.com/m")
		assert.Error(t, err)
		assert.NoError(t, u.Healthy(t.Context()))
	})
}

// One slow module is no silence, but nothing at all is.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := wired(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/example.com/slow/@v/list" {
				hang(w, r)
			}
			fmt.Fprintln(w, "v1.0.0")
		}))
		o.Tries = 1
		u := upstream(t, "http://up.test", o)
		done := make(chan error)
		go func() {
			_, err := u.Versions(t.Context(), "example.com/slow")
			done <- err
		}()
		time.Sleep(59 * time.Second)
		_, err := u.Versions(t.Context(), "example.com/m")
		assert.NoError(t, err)
		assert.Error(t, <-done)
		assert.NoError(t, u.Healthy(t.Context()))

		_, err = u.Versions(t.Context(), "example.com/slow")
		assert.Error(t, err)
		assert.ErrorContains(t, u.Healthy(t.Context()), "no answer within 1m0s")
		time.Sleep(5 * time.Second)
		assert.NoError(t, u.Healthy(t.Context()), "a connection can be made")
	})
}

func TestCheckTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := wired(t, http.NotFoundHandler())
		o.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
		u := upstream(t, "https://up.test", o)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		assert.ErrorIs(t, u.Healthy(ctx), context.DeadlineExceeded)
		begin := time.Now()
		err := u.Healthy(t.Context())
		var down *athens.UnavailableError
		require.ErrorAs(t, err, &down)
		assert.True(t, down.Timeout())
		assert.LessOrEqual(t, time.Since(begin), time.Second)
	})
}

// A server that says nothing is waited for once: then only one question in five
// seconds finds out whether it still is so, whatever it is about.
func TestSilenceIsRemembered(t *testing.T) {
	for name, dial := range map[string]func(context.Context, string, string) (net.Conn, error){
		"accepts and says nothing": nil,
		"takes no connection": func(ctx context.Context, _, _ string) (net.Conn, error) {
			ctx, cancel := context.WithDeadline(ctx, time.Now()) // a connection attempt that ran out of time
			defer cancel()
			return new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:1")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mended atomic.Bool
				o, w := wired(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if !mended.Load() {
						hang(w, r)
					}
					fmt.Fprintln(w, "v1.0.0")
				}))
				if dial != nil {
					o.Transport = &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
						if mended.Load() {
							return w.dial(ctx, network, addr)
						}
						time.Sleep(5 * time.Second)
						return dial(ctx, network, addr)
					}}
				}
				u := upstream(t, "http://up.test", o)
				ask := func(path string) (time.Duration, error) {
					begin := time.Now()
					_, err := u.Versions(t.Context(), path)
					return time.Since(begin), err
				}
				took, err := ask("example.com/m")
				assert.Error(t, err)
				assert.LessOrEqual(t, took, 2*time.Minute)
				took, err = ask("example.com/second")
				var down *athens.UnavailableError
				require.ErrorAs(t, err, &down)
				assert.Zero(t, took)
				assert.True(t, down.Timeout())
				assert.LessOrEqual(t, down.RetryAfter, 5*time.Second)
				mended.Store(true)
				time.Sleep(6 * time.Second)
				for range 2 {
					took, err = ask("example.com/third")
					assert.NoError(t, err)
					assert.Zero(t, took)
				}
			})
		})
	}
}

// What a server says of when to ask again is heeded, and said to others: for all
// questions where it is busy or refuses the login, otherwise for the one that was asked.
func TestOutagesAreRemembered(t *testing.T) {
	for _, c := range []struct {
		answer http.HandlerFunc
		other  bool          // another question is asked
		wait   time.Duration // until the same one is
	}{
		{status(429, "120"), false, 2 * time.Minute},
		{status(503, "120"), true, 2 * time.Minute},
		{status(403, "120"), true, 0},
		{status(401, ""), false, 5 * time.Second},
		{status(429, ""), false, 5 * time.Second},
		{status(429, "86400"), false, time.Hour},
		{status(503, ""), true, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{answers: []http.HandlerFunc{c.answer}}
			o, _ := wired(t, s)
			o.Tries = 1
			u := upstream(t, "http://up.test", o)
			_, err := u.Versions(t.Context(), "example.com/m")
			require.Error(t, err)
			if c.wait > 0 {
				time.Sleep(c.wait - time.Second)
				_, err = u.Versions(t.Context(), "example.com/m")
				var down *athens.UnavailableError
				require.ErrorAs(t, err, &down)
				assert.Equal(t, time.Second, down.RetryAfter)
				assert.EqualValues(t, 1, s.asked.Load())
			}
			asked := s.asked.Load()
			_, _ = u.Versions(t.Context(), "example.com/other")
			assert.Equal(t, c.other, s.asked.Load() > asked)
			time.Sleep(2 * time.Second)
			asked = s.asked.Load()
			_, _ = u.Versions(t.Context(), "example.com/m")
			assert.Greater(t, s.asked.Load(), asked)
		})
	}
}
