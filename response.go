package athens

import (
	"io"
	"net/http"
	"time"
)

// recorder records what is sent, for the log, and sets the deadlines of the connection.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
	err    error // why a file was not copied, or only in part
	late   bool  // the 200 is sent with the first byte of the body

	request  *http.Request
	start    time.Time
	patience time.Duration // Options.WriteTimeout, for each part of a body
	paced    bool          // a deadline has been set
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
	// The first read of a file may fail: until then the client is told nothing.
	if w.late = status == http.StatusOK; !w.late {
		w.ResponseWriter.WriteHeader(status)
	}
}

// sendLate sends the header that WriteHeader has held back.
func (w *recorder) sendLate() {
	if w.late {
		w.late = false
		w.ResponseWriter.WriteHeader(http.StatusOK)
	}
}

// answered reports whether the client may have been sent a header already. A header that
// is held back is dropped.
func (w *recorder) answered() bool {
	if w.late {
		w.late, w.status, w.err = false, 0, nil
	}
	return w.status != 0
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 && w.err != nil {
		return len(p), nil // the body of an answer that fail replaces
	}
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	if w.bytes > 0 {
		w.extend() // the body comes in pieces
	}
	w.sendLate()
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// ReadFrom passes files to net/http, which lets the kernel copy them.
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
	w.late = w.late && n == 0 // net/http sends the 200 with the first byte
	if part, ok := r.(*io.LimitedReader); ok && err == nil && part.N > 0 {
		err = io.ErrUnexpectedEOF
	}
	w.err = err
	return n, err
}

// portion is the part of a body that a client must read within Options.WriteTimeout, in
// bytes.
const portion = 256 << 10

// bodyTimeout is how long a client may take to send a request body. No request of the
// protocol has one, but net/http reads it before it answers.
const bodyTimeout = 5 * time.Second

// expectBody bounds the wait for a request body that a client has announced and does not
// send. It also closes the connection after such a request: a proxy in front may disagree
// about where the body ends, and what follows must not be taken for a request.
func (x *exchange) expectBody() {
	if x.r.ContentLength == 0 {
		return
	}
	_ = http.NewResponseController(&x.w).SetReadDeadline(time.Now().Add(bodyTimeout)) // some servers have no deadlines
	if x.r.ProtoMajor == 1 {
		x.w.Header().Set("Connection", "close")
	}
}

// serverTimeout is the WriteTimeout of the server. It begins when the request has been
// read, so a file that took long to fetch would have no time left.
func (w *recorder) serverTimeout() time.Duration {
	if server, ok := w.request.Context().Value(http.ServerContextKey).(*http.Server); ok {
		return server.WriteTimeout
	}
	return 0
}

// begin notes the status. It gives an answer that took long to fetch its full time.
func (w *recorder) begin(status int) {
	w.status = status
	if w.patience > 0 && time.Since(w.start) > time.Second && w.serverTimeout() > 0 {
		w.extend()
	}
}

// inTime reports whether the server's own deadline leaves the client about as long as one
// part of a body may take. Setting it again costs more than it is worth for a small zip.
func (w *recorder) inTime() bool {
	d := w.serverTimeout()
	return !w.paced && d >= w.patience && d <= 2*w.patience && time.Since(w.start) < w.patience/8
}

// extend gives the client time for the next part of a body. Without a deadline, a client
// that does not read would keep a file or a stage open forever.
func (w *recorder) extend() {
	if w.patience > 0 {
		w.paced = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(w.patience)) == nil
	}
}

// settle sends the header of an answer without a body. It also replaces the deadline that
// extend has set, for the next request on the connection; the data that is still buffered
// is sent within the old one.
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
		return // the client has left, or was too slow
	}
	_ = control.SetWriteDeadline(next) // extend could set it, so this does not fail
}

// copyParts copies src in parts, with a deadline for each.
func (w *recorder) copyParts(to io.ReaderFrom, src io.Reader) (n int64, err error) {
	limit, bounded := src.(*io.LimitedReader)
	if !bounded || w.patience <= 0 {
		return to.ReadFrom(src)
	}
	if limit.N <= portion && w.inTime() {
		return to.ReadFrom(src)
	}
	for limit.N > 0 {
		// A reader of the file itself: the kernel copies nothing else.
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

// pacedWriter sets a deadline for each write.
type pacedWriter struct{ w *recorder }

// Write does not count bytes: ReadFrom does.
func (p pacedWriter) Write(b []byte) (int, error) {
	p.w.extend()
	p.w.sendLate()
	return p.w.ResponseWriter.Write(b)
}
