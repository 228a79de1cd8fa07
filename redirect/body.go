package redirect

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/athens-go/athens/internal/limit"
)

// slowError says that nothing came in time.
type slowError struct {
	what string
	in   time.Duration
}

func (e slowError) Error() string { return fmt.Sprintf("%s within %v", e.what, e.in) }

// Timeout makes it a timeout, see [athens.UnavailableError].
func (e slowError) Timeout() bool { return true }

// writeError is an error of the writer, not of the server.
type writeError struct{ err error }

func (e writeError) Error() string { return e.err.Error() }

// idleReader cancels a request whose body pauses for too long. The time that
// the reader's caller takes between two reads does not count.
type idleReader struct {
	r      io.Reader
	idle   time.Duration
	cancel func(error)
	timer  *time.Timer
}

func (b *idleReader) Read(p []byte) (int, error) {
	if b.timer == nil {
		b.timer = time.AfterFunc(b.idle, func() { b.cancel(slowError{"no data", b.idle}) })
	} else {
		b.timer.Reset(b.idle)
	}
	n, err := b.r.Read(p)
	b.timer.Stop()
	return n, err
}

// copyBody copies a body of length bytes (unknown if negative) and at most
// most; if there is more, the error is a [*limit.Error]. Not more than that is written.
func copyBody(w io.Writer, r io.Reader, length, most int64) error {
	if length > most {
		return &limit.Error{Limit: most}
	}
	r = limit.NewReader(r, most)
	var (
		buf  = make([]byte, bufferSize(length))
		done int64
	)
	for {
		n, err := r.Read(buf)
		done += int64(n)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return writeError{werr}
			}
		}
		switch {
		case err == io.EOF && length >= 0 && done != length:
			return fmt.Errorf("%d of %d bytes: %w", done, length, io.ErrUnexpectedEOF)
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// An answer of more than smallAnswer bytes is read while only largeAnswers-1 others are, so
// that MaxConns of the largest at once don't add up.
const (
	smallAnswer  = 256 << 10
	largeAnswers = 2
)

// answerBuffer keeps an answer in memory, and waits for a slot when it becomes large.
type answerBuffer struct {
	bytes.Buffer
	ctx   context.Context
	large *limit.Semaphore
	wait  time.Duration // for a slot, at most
	slot  bool
}

// busyError says that other large answers took too long.
type busyError struct{ err error }

func (e busyError) Error() string {
	return "other large answers are being read or used: " + e.err.Error()
}
func (e busyError) Unwrap() error { return e.err }

func (b *answerBuffer) Write(p []byte) (int, error) {
	if !b.slot && b.Len()+len(p) > smallAnswer {
		if err := b.large.AcquireWithin(b.ctx, b.wait); err != nil {
			return 0, busyError{err}
		}
		b.slot = true
	}
	return b.Buffer.Write(p)
}

// count waits until there is room for a large answer, which counts until it is collected:
// a .mod goes on to clients and to the store. It has its slot until then, so that few wait.
func (b *answerBuffer) count(mods *limit.Weighted) error {
	if b.Len() <= smallAnswer {
		return nil
	}
	release, err := mods.AcquireBytes(b.ctx, int64(b.Cap()), b.wait)
	if err != nil {
		return busyError{err}
	}
	limit.ReleaseWith(b.Bytes(), release)
	return nil
}

// release gives the slot back.
func (b *answerBuffer) release() {
	if b.slot {
		b.large.Release()
	}
}

// bufferSize returns the size of a buffer for a body of length bytes.
func bufferSize(length int64) int64 {
	const least, most = 512, 64 << 10
	if length < 0 {
		return most
	}
	return min(max(length+1, least), most)
}

// untrusted reports whether err says that the server's certificate is not good:
// it will not be so in a second either.
func untrusted(err error) bool {
	var cert *tls.CertificateVerificationError
	return errors.As(err, &cert)
}

// unreachable reports whether no connection could be made in time.
func unreachable(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" && op.Timeout()
}
