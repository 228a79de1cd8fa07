// Package limit bounds what others make this process do: how many bytes it reads and
// writes, and how many things it does at once.
//
// A [Budget] is a number of bytes that one or several readers and writers may use up.
// [NewReader], [NewWriter] and [ReadAll] are for one stream with a budget of its own. In
// contrast to [io.LimitReader], what exceeds the limit is an error, an [*Error], and
// never looks like the end.
//
// A [Semaphore] bounds how much runs at once; a [Keyed] one does so for each key (such as
// a host) and for all together. Who waits for a slot stops waiting when its context is
// done.
package limit

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

// Error says that there are more bytes than the limit allows.
type Error struct {
	Limit int64 // in bytes
}

func (e *Error) Error() string { return fmt.Sprintf("more than %d bytes", e.Limit) }

// Budget is a number of bytes that can be used up. It is safe for concurrent use, by
// any number of readers and writers. Make one with [NewBudget].
type Budget struct {
	limit int64
	used  atomic.Int64
}

// NewBudget returns a budget of n bytes. A negative n is zero.
func NewBudget(n int64) *Budget { return &Budget{limit: max(n, 0)} }

// Take uses n bytes, or fails with an [*Error] and uses none if fewer are left.
func (b *Budget) Take(n int64) error {
	if b.take(n, n) < n {
		return &Error{b.limit}
	}
	return nil
}

// Return gives back n bytes that were taken.
func (b *Budget) Return(n int64) { b.used.Add(-n) }

// Used returns how many bytes are taken.
func (b *Budget) Used() int64 { return b.used.Load() }

// Left returns how many bytes are not.
func (b *Budget) Left() int64 { return b.limit - b.used.Load() }

// take uses up to n bytes, but none if fewer than least are left. It returns how many.
func (b *Budget) take(n, least int64) int64 {
	for {
		used := b.used.Load()
		took := min(n, b.limit-used)
		if took < least {
			return 0
		}
		if b.used.CompareAndSwap(used, used+took) {
			return took
		}
	}
}

// Reader returns a reader of r that takes what it reads from the budget, and fails with
// an [*Error] once there is more than that.
func (b *Budget) Reader(r io.Reader) io.Reader { return &reader{r: r, budget: b} }

// Writer returns a writer to w that takes what it writes from the budget. A call that
// exceeds it writes nothing and fails with an [*Error].
func (b *Budget) Writer(w io.Writer) *Writer { return &Writer{w: w, budget: b} }

// NewReader returns a reader of r that fails with an [*Error] when there are more than n
// bytes. The first n bytes are read all the same.
func NewReader(r io.Reader, n int64) io.Reader { return NewBudget(n).Reader(r) }

// NewWriter returns a writer to w of at most n bytes. A call that exceeds them writes
// nothing and fails with an [*Error].
func NewWriter(w io.Writer, n int64) *Writer { return NewBudget(n).Writer(w) }

// ReadAll reads r to its end. If there are more than n bytes, the error is an [*Error].
func ReadAll(r io.Reader, n int64) ([]byte, error) { return io.ReadAll(NewReader(r, n)) }

type reader struct {
	r      io.Reader
	budget *Budget
	err    error // of the limit; it stays
}

func (l *reader) Read(p []byte) (int, error) {
	if l.err != nil {
		return 0, l.err
	}
	// One byte more than is left shows whether there is more.
	if left := max(l.budget.Left(), 0); int64(len(p)) > left+1 {
		p = p[:left+1]
	}
	n, err := l.r.Read(p)
	if took := l.budget.take(int64(n), 0); took < int64(n) {
		l.err = &Error{l.budget.limit}
		return int(took), l.err
	}
	return n, err
}

// Writer is a writer with a limit. It remembers why a write failed, because the code that
// writes may be in another library and report a different error. It is not safe for
// concurrent use.
type Writer struct {
	w        io.Writer
	budget   *Budget
	written  int64
	exceeded bool
	err      error
}

// Write writes p, or nothing if that exceeds the limit.
func (l *Writer) Write(p []byte) (int, error) {
	if err := l.budget.Take(int64(len(p))); err != nil {
		l.exceeded = true
		return 0, err
	}
	n, err := l.w.Write(p)
	l.budget.Return(int64(len(p) - n))
	l.written += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil && l.err == nil {
		l.err = err
	}
	return n, err
}

// Written returns how many bytes were written.
func (l *Writer) Written() int64 { return l.written }

// Exceeded reports whether a call exceeded the limit.
func (l *Writer) Exceeded() bool { return l.exceeded }

// Err returns the first error of the underlying writer.
func (l *Writer) Err() error { return l.err }

// Exceeded reports whether err says that a limit of this package was exceeded.
func Exceeded(err error) bool {
	var e *Error
	return errors.As(err, &e)
}
