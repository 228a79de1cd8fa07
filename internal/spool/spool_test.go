package spool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/spool"
)

// file is a spool.File in memory.
type file struct {
	mu     sync.Mutex
	data   []byte
	err    error // of ReadAt
	closed bool
}

func (f *file) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.data = append(f.data, p...)
	return len(p), nil
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return 0, f.err
	}
	return bytes.NewReader(f.data).ReadAt(p, off)
}

func (f *file) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}

// Each reader gets all that is written, and the verdict; the last user closes the file.
func TestReadersFollow(t *testing.T) {
	for _, verdict := range []error{nil, errors.New("bad checksum")} {
		f := &file{}
		s := spool.New(f)
		var got [3]strings.Builder
		var errs [3]error
		var readers sync.WaitGroup
		for i := range got {
			require.True(t, s.Use())
			readers.Go(func() {
				defer s.Leave()
				errs[i] = s.CopyTo(t.Context(), &got[i], func() error { return nil })
			})
		}
		for i := range 1000 {
			_, err := fmt.Fprintln(s, i)
			require.NoError(t, err)
		}
		s.End(verdict)
		readers.Wait()
		for i := range got {
			assert.Equal(t, verdict, errs[i])
			if verdict == nil {
				assert.Equal(t, string(f.data), got[i].String())
			}
		}
		assert.False(t, f.closed, "the writer has not left")
		s.Leave()
		assert.True(t, f.closed)
		assert.False(t, s.Use(), "closed")
	}
}

func TestReaderGivesUp(t *testing.T) {
	f := &file{}
	s := spool.New(f)
	defer s.Leave()
	ctx, cancel := context.WithCancel(t.Context())
	flush := func() error { cancel(); return nil } // it is about to wait
	assert.ErrorIs(t, s.CopyTo(ctx, io.Discard, flush), context.Canceled)
	stop := errors.New("the client has gone")
	assert.Equal(t, stop, s.CopyTo(t.Context(), io.Discard, func() error { return stop }))
	_, err := s.Write([]byte("x"))
	require.NoError(t, err)
	f.err = errors.New("input/output error")
	unread, ok := errors.AsType[*spool.ReadError](s.CopyTo(t.Context(), io.Discard, func() error { return nil }))
	require.True(t, ok)
	assert.Equal(t, f.err, unread.Err)
}

func Example() {
	s := spool.New(&file{})
	s.Use() // for the reader
	go func() {
		defer s.Leave()
		fmt.Fprint(s, "one, ")
		fmt.Fprint(s, "two")
		s.End(nil)
	}()
	defer s.Leave()
	var b strings.Builder
	err := s.CopyTo(context.Background(), &b, func() error { return nil })
	fmt.Println(b.String(), err)
	// Output: one, two <nil>
}
