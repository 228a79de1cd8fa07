package athens

import (
	"io"
	"net/http"
	"time"
)

// recorder notes what is sent for the log.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
	err    error // why a file was not copied to its end, or not at all
	late   bool  // the 200 goes out with the first byte of the body

	request  *http.Request
	start    time.Time
	patience time.Duration // with a client, for each part of a body
	paced    bool          // a deadline was set
	part     io.LimitedReader
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) WriteHeader(status int) {
	if status == http.StatusRequestedRangeNotSatisfiable && w.err == nil {
		w.err = &requestError{status, errRange} // net/http's words name no module
		return
	}
	if w.status == 0 && status >= 200 {
		w.begin(status)
	}
	// A file that can't be read at all is then found out before the client has
	// been told that it comes.
	if w.late = status == http.StatusOK; !w.late {
		w.ResponseWriter.WriteHeader(status)
	}
}

// sendLate sends what WriteHeader has held back.
func (w *recorder) sendLate() {
	if w.late {
		w.late = false
		w.ResponseWriter.WriteHeader(http.StatusOK)
	}
}

// answered reports whether the client may have been told something already. What it
// has not been told is forgotten.
func (w *recorder) answered() bool {
	if w.late {
		w.late, w.status, w.err = false, 0, nil
	}
	return w.status != 0
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 && w.err != nil {
		return len(p), nil // of an answer that is refused
	}
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	if w.bytes > 0 {
		w.extend() // a body that comes piece by piece
	}
	w.sendLate()
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// ReadFrom hands files down to net/http, which lets the kernel copy them.
func (w *recorder) ReadFrom(r io.Reader) (n int64, err error) {
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	if to, ok := w.ResponseWriter.(io.ReaderFrom); ok {
		n, err = w.copyParts(to, r)
	} else {
		n, err = io.Copy(pacedWriter{w}, r)
	}
	w.bytes += n
	w.late = w.late && n == 0 // the first byte brings a 200 along
	if part, ok := r.(*io.LimitedReader); ok && err == nil && part.N > 0 {
		err = io.ErrUnexpectedEOF
	}
	w.err = err
	return n, err
}

// portion is how much of a body a client has Options.WriteTimeout for, in bytes.
const portion = 256 << 10

// bodyTimeout is how long a client may take to send a body, which no request of the
// protocol has: net/http reads it before it answers.
const bodyTimeout = 5 * time.Second

// expectBody sees to it that a client that announces a body and sends none holds
// nothing, and that what comes behind a body is not taken for a request: a proxy in
// front may see its end elsewhere.
func (x *exchange) expectBody() {
	if x.r.ContentLength == 0 {
		return
	}
	_ = http.NewResponseController(&x.w).SetReadDeadline(time.Now().Add(bodyTimeout)) // not every server can
	if x.r.ProtoMajor == 1 {
		x.w.Header().Set("Connection", "close")
	}
}

// serverTimeout is the WriteTimeout of the server. It counts from when a request was
// read, so what took long to get would have no time left.
func (w *recorder) serverTimeout() time.Duration {
	if server, ok := w.request.Context().Value(http.ServerContextKey).(*http.Server); ok {
		return server.WriteTimeout
	}
	return 0
}

// begin gives an answer that took long to come by its time.
func (w *recorder) begin(status int) {
	w.status = status
	if w.patience > 0 && time.Since(w.start) > time.Second && w.serverTimeout() > 0 {
		w.extend()
	}
}

// inTime reports whether the server has given the client about the time that one
// part of a body has: setting a deadline again costs more than it is worth for a
// small zip.
func (w *recorder) inTime() bool {
	d := w.serverTimeout()
	return !w.paced && d >= w.patience && d <= 2*w.patience && time.Since(w.start) < w.patience/8
}

// extend gives the client time for the next part of a body. Without it, one that does
// not read would hold a file or a stage for ever.
func (w *recorder) extend() {
	if w.patience > 0 {
		w.paced = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(w.patience)) == nil
	}
}

// settle sends the header of an answer without a body, and ends what extend began,
// for the next request on the connection: what is still buffered is sent in the time
// there is.
func (w *recorder) settle() {
	w.sendLate()
	if !w.paced {
		return
	}
	control := http.NewResponseController(w.ResponseWriter)
	var next time.Time
	if d := w.serverTimeout(); d > 0 {
		next = time.Now().Add(d)
	} else if control.Flush() != nil {
		return // the client has gone, or was too slow
	}
	_ = control.SetWriteDeadline(next) // it could be set before
}

// copyParts copies src part by part, so that each has its time.
func (w *recorder) copyParts(to io.ReaderFrom, src io.Reader) (n int64, err error) {
	limit, bounded := src.(*io.LimitedReader)
	if !bounded || w.patience <= 0 {
		return to.ReadFrom(src)
	}
	if limit.N <= portion && w.inTime() {
		return to.ReadFrom(src)
	}
	for limit.N > 0 {
		// Of the file itself, or the kernel could not copy it.
		w.part = io.LimitedReader{R: limit.R, N: min(limit.N, portion)}
		want := w.part.N
		w.extend()
		m, err := to.ReadFrom(&w.part)
		n += m
		limit.N -= m
		if err != nil || m < want {
			return n, err
		}
	}
	return n, nil
}

// pacedWriter gives each write its time.
type pacedWriter struct{ w *recorder }

// Write writes past what the recorder notes.
func (p pacedWriter) Write(b []byte) (int, error) {
	p.w.extend()
	p.w.sendLate()
	return p.w.ResponseWriter.Write(b)
}
