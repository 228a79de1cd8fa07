package modtest

import (
	"bytes"
	"crypto/subtle"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// Fault is something that goes wrong between a client and a handler, as a
// handler around that handler. See [Tap.Break].
//
// Each way to fail has two halves: the request had no effect ([Cut], [Status]), or it had
// its effect and failed all the same ([Truncate], [After]).
type Fault func(next http.Handler) http.Handler

// instead is a fault that answers in place of the handler.
func instead(f http.HandlerFunc) Fault {
	return func(http.Handler) http.Handler { return f }
}

// Cut closes the connection without an answer. A client in Go asks again by
// itself if the connection had served another request before, so more requests
// may be counted than were made.
func Cut() Fault {
	return instead(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

// Status answers with that status and a line of text.
func Status(code int) Fault {
	return instead(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "fault: "+http.StatusText(code), code)
	})
}

// Body answers 200 with that body, whatever was asked for.
func Body(body string) Fault {
	return instead(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = io.WriteString(w, body)
	})
}

// Hang holds requests back until release is closed, and then lets them pass.
// A nil channel is never closed. A client that goes away, and the end of the
// test, end a hanging request by cutting its connection.
func Hang(release <-chan struct{}) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
				next.ServeHTTP(w, r)
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
		})
	}
}

// Delay holds each request back for d.
func Delay(d time.Duration) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			wait(r.Context(), d)
			next.ServeHTTP(w, r)
		})
	}
}

// BasicAuth answers 401 to requests that don't name that user and password.
func BasicAuth(user, password string) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			u, p, _ := r.BasicAuth()
			if subtle.ConstantTimeCompare([]byte(u+"\n"+p), []byte(user+"\n"+password)) == 0 {
				w.Header().Set("WWW-Authenticate", `Basic realm="modtest"`)
				http.Error(w, "fault: no or wrong credentials", http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Truncate lets the answer begin, and cuts the connection after n bytes of its
// body. An answer of no more than n bytes is whole.
func Truncate(n int64) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&truncated{ResponseWriter: w, left: n}, r)
		})
	}
}

type truncated struct {
	http.ResponseWriter
	left int64
}

func (w *truncated) Write(b []byte) (int, error) {
	if int64(len(b)) <= w.left {
		w.left -= int64(len(b))
		return w.ResponseWriter.Write(b)
	}
	_, _ = w.ResponseWriter.Write(b[:w.left])
	_ = http.NewResponseController(w.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}

func (w *truncated) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// After lets the handler do all of its work, drops its answer, and then answers with the
// fault.
func After(f Fault) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&discarded{header: http.Header{}}, r)
			f(next).ServeHTTP(w, r)
		})
	}
}

type discarded struct{ header http.Header }

func (w *discarded) Header() http.Header         { return w.header }
func (w *discarded) Write(b []byte) (int, error) { return len(b), nil }
func (w *discarded) WriteHeader(int)             {}

// Length claims delta more bytes of body than there are (fewer, if negative),
// if the handler sends a Content-Length. With more, the client's connection is cut; with
// fewer, the body ends cleanly before its end.
func Length(delta int64) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&mislength{ResponseWriter: w, delta: delta}, r)
		})
	}
}

type mislength struct {
	http.ResponseWriter
	delta int64
	begun bool
	left  int64 // what may still be written; -1: anything
}

func (w *mislength) WriteHeader(status int) {
	if !w.begun {
		w.begun, w.left = true, -1
		if n, err := strconv.ParseInt(w.Header().Get("Content-Length"), 10, 64); err == nil {
			w.left = max(0, n+w.delta)
			w.Header().Set("Content-Length", strconv.FormatInt(w.left, 10))
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *mislength) Write(b []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	// The server refuses a write beyond the length as a whole.
	some := b
	if w.left >= 0 {
		some = b[:min(int64(len(b)), w.left)]
		w.left -= int64(len(some))
	}
	if n, err := w.ResponseWriter.Write(some); err != nil {
		return n, err
	}
	return len(b), nil
}

func (w *mislength) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Oversize answers 200 with n zero bytes, without saying how many they are.
func Oversize(n int64) Fault {
	return instead(func(w http.ResponseWriter, _ *http.Request) {
		zeros := make([]byte, 32<<10)
		for n := n; n > 0; n -= int64(len(zeros)) {
			if _, err := w.Write(zeros[:min(n, int64(len(zeros)))]); err != nil {
				return
			}
		}
	})
}

// Swap answers with the content of another path, with its leading slash: the zip of
// another version, for example.
func Swap(path string) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r = r.Clone(r.Context())
			r.URL.Path, r.URL.RawPath = path, ""
			next.ServeHTTP(w, r)
		})
	}
}

// First makes only the next n requests meet the fault.
func First(n int64, f Fault) Fault {
	var seen atomic.Int64
	return Only(func(*http.Request) bool { return seen.Add(1) <= n }, f)
}

// Only makes only the requests for which which returns true meet the fault.
func Only(which func(*http.Request) bool, f Fault) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if which(r) {
				f(next).ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// AtPack makes only the requests for a pack meet the fault, and none for references,
// which in version 2 of git's protocol go to the same path.
func AtPack(f Fault) Fault {
	return Only(func(r *http.Request) bool {
		body, err := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		return err != nil || !bytes.Contains(body, []byte("command=ls-refs"))
	}, f)
}

// OldGit is the fault of a server that knows only version 0 of git's protocol.
func OldGit() Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r = r.Clone(r.Context())
			r.Header.Del("Git-Protocol")
			next.ServeHTTP(w, r)
		})
	}
}
