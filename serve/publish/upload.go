package publish

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/athens-go/athens/serve/internal/refusal"
)

// The time for an upload.
const (
	leastTime  = 30 * time.Second // for the first byte, and beside the next
	eachBytes  = 64 << 10         // that bring a second more
	mostTime   = 30 * time.Minute
	checkTime  = 10 * time.Minute // to check and store it
	answerTime = time.Minute      // to answer
	dropTime   = 10 * time.Second // for the rest of an upload that is refused
)

// upload is a request's body whose deadline moves as it arrives, and that knows why it could
// not be read.
type upload struct {
	body    io.Reader
	control *http.ResponseController
	size    int64 // bytes, as the request declares them; less than 0 if it does not
	start   time.Time
	until   time.Time // the deadline that is set
	read    int64     // bytes
	err     error     // a refusal
}

// newUpload returns the body of a request.
func newUpload(w http.ResponseWriter, r *http.Request) *upload {
	u := &upload{body: r.Body, control: http.NewResponseController(w), size: r.ContentLength, start: time.Now()}
	// The server's deadline for answers is that of a request without a body.
	_ = u.control.SetWriteDeadline(u.start.Add(mostTime + checkTime))
	return u
}

// deadline returns until when the next bytes have to arrive.
func (u *upload) deadline() time.Time {
	return u.start.Add(min(mostTime, leastTime+time.Duration(u.read/eachBytes)*time.Second))
}

// Size returns how many bytes the upload will have: more than are allowed are refused unread.
func (u *upload) Size() int64 { return u.size }

// Read reads the body until its deadline.
func (u *upload) Read(p []byte) (int, error) {
	if until := u.deadline(); until != u.until {
		u.until = until
		_ = u.control.SetReadDeadline(until) // a server of another kind may have none
	}
	n, err := u.body.Read(p)
	u.read += int64(n)
	switch {
	case err == nil:
	case err == io.EOF:
		_ = u.control.SetReadDeadline(time.Time{}) // otherwise it would end the request
	case errors.Is(err, os.ErrDeadlineExceeded):
		u.err = &refusal.Error{Status: http.StatusRequestTimeout, Err: fmt.Errorf("the upload was too slow: %d bytes arrived in %v", u.read, time.Since(u.start).Round(time.Second))}
	default:
		u.err = &refusal.Error{Status: http.StatusBadRequest, Err: fmt.Errorf("the upload broke off after %d bytes: %w", u.read, err)}
	}
	return n, err
}

// end gives the answer its time.
func (u *upload) end() { _ = u.control.SetWriteDeadline(time.Now().Add(answerTime)) }
