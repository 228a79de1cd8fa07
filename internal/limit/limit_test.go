package limit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func ExampleReadAll() {
	_, err := ReadAll(strings.NewReader("a page without end"), 6)
	fmt.Println(err)
	// Output: more than 6 bytes
}

func ExampleBudget() {
	b := NewBudget(10) // for all files together
	for _, file := range []string{"first", "second"} {
		_, err := io.Copy(io.Discard, b.Reader(strings.NewReader(file)))
		fmt.Println(b.Used(), err)
	}
	// Output:
	// 5 <nil>
	// 10 more than 10 bytes
}

// Up to the limit everything is read, and more never looks like the end.
func TestReader(t *testing.T) {
	for limit := range 8 {
		for size := range 8 {
			for name, wrap := range map[string]func(io.Reader) io.Reader{
				"plain": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader, "end": iotest.DataErrReader,
			} {
				data, err := ReadAll(wrap(strings.NewReader("12345678"[:size])), int64(limit))
				assert.Equal(t, "12345678"[:min(size, limit)], string(data), name)
				if size <= limit {
					assert.NoError(t, err)
					continue
				}
				assert.Equal(t, &Error{int64(limit)}, err)
				assert.True(t, Exceeded(fmt.Errorf("wrapped: %w", err)))
			}
		}
	}
	r := NewReader(strings.NewReader("12"), -1)
	for range 2 {
		n, err := r.Read(make([]byte, 5))
		assert.Zero(t, n)
		assert.Equal(t, &Error{0}, err, "the error stays")
	}
}

// It is the source's own error that is reported, when it comes before the limit.
func TestReaderPassesErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	data, err := ReadAll(io.MultiReader(strings.NewReader("12"), iotest.ErrReader(broken)), 2)
	assert.Equal(t, "12", string(data))
	assert.Equal(t, broken, err)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestWriter(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b, 5)
	_, err := w.Write([]byte("123"))
	require.NoError(t, err)
	n, err := w.Write([]byte("456"))
	assert.Zero(t, n)
	assert.Equal(t, &Error{5}, err)
	assert.True(t, w.Exceeded())
	assert.NoError(t, w.Err(), "the underlying writer did not fail")
	_, err = w.Write([]byte("45"))
	assert.NoError(t, err)
	assert.Equal(t, "12345", b.String())
	assert.EqualValues(t, 5, w.Written())
}

// What the underlying writer did not take does not count, and its first error is kept.
func TestWriterKeepsErrors(t *testing.T) {
	full := errors.New("disk full")
	w := NewWriter(writerFunc(func(p []byte) (int, error) { return 1, full }), 5)
	for range 3 {
		n, err := w.Write([]byte("123"))
		assert.Equal(t, 1, n)
		assert.Equal(t, full, err)
	}
	assert.EqualValues(t, 3, w.Written())
	assert.Equal(t, full, w.Err())
	assert.False(t, w.Exceeded())

	short := NewWriter(writerFunc(func(p []byte) (int, error) { return 0, nil }), 5)
	_, err := short.Write([]byte("123"))
	assert.Equal(t, io.ErrShortWrite, err)
}

// However many share a budget, they get what it has and not a byte more.
func TestBudgetIsShared(t *testing.T) {
	const size = 100_000
	b := NewBudget(size)
	var done sync.WaitGroup
	var mu sync.Mutex
	var read int64
	for range 8 {
		done.Go(func() {
			n, err := io.CopyBuffer(io.Discard, b.Reader(iotest.OneByteReader(strings.NewReader(strings.Repeat("x", size/4)))), make([]byte, 100))
			mu.Lock()
			defer mu.Unlock()
			read += n
			assert.True(t, err == nil || Exceeded(err))
		})
	}
	done.Wait()
	assert.EqualValues(t, size, read)
	assert.Zero(t, b.Left())
	assert.Error(t, b.Take(1))
	b.Return(10)
	assert.NoError(t, b.Take(10))
}

// Whatever is read and written in whatever pieces, the limit holds.
func FuzzLimits(f *testing.F) {
	f.Add([]byte("some text"), 4, 3)
	f.Fuzz(func(t *testing.T, data []byte, limit, piece int) {
		limit, piece = limit&0xffff, piece&0xff+1
		var b bytes.Buffer
		_, err := io.CopyBuffer(struct{ io.Writer }{&b}, NewReader(bytes.NewReader(data), int64(limit)), make([]byte, piece))
		assert.Equal(t, string(data[:min(len(data), limit)]), b.String())
		assert.Equal(t, len(data) > limit, Exceeded(err))

		b.Reset()
		w := NewWriter(&b, int64(limit))
		_, err = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{bytes.NewReader(data)}, make([]byte, piece))
		assert.LessOrEqual(t, b.Len(), limit)
		assert.EqualValues(t, b.Len(), w.Written())
		assert.Equal(t, len(data) > limit, Exceeded(err))
		assert.Equal(t, len(data) > limit, w.Exceeded())
	})
}
