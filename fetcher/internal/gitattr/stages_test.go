package gitattr

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/fetcher/internal/budget"
)

// Large files are converted as they are read, whatever they become.
func TestConversionsStream(t *testing.T) {
	const size = 1 << 20
	for name, c := range map[string]struct {
		conversion Conversion
		text       string
		times      int
	}{
		"ident":                  {Conversion{ident: true}, "$Id$", 11},
		"ident that ends late":   {Conversion{ident: true}, "$Id: a b", 1},
		"dollars":                {Conversion{ident: true}, "$", 1},
		"line ends":              {Conversion{crlf: true}, "\n", 2},
		"encoding":               {Conversion{encoding: "UTF-32"}, "a", 4},
		"encoding of ident":      {Conversion{ident: true, encoding: "UTF-32BE"}, "$Id$", 46},
		"all of them":            {Conversion{ident: true, crlf: true, auto: true, encoding: "UTF-32"}, "$Id$\n", 39},
		"text that does not fit": {Conversion{encoding: "ASCII"}, "é", 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := budget.New(4<<20, 1<<40)
			job := b.Start(t.Context())
			defer job.End()
			block := strings.Repeat(c.text, (64<<10)/len(c.text))
			open := func() (io.ReadCloser, error) {
				return io.NopCloser(io.LimitReader(&repeated{text: block}, size)), nil
			}
			before := liveHeap()
			rd, err := c.conversion.Open(job, open, strings.Repeat("0", 40))
			require.NoError(t, err)
			var out measured
			_, err = io.Copy(&out, rd)
			require.NoError(t, err)
			assert.GreaterOrEqual(t, out.bytes, int64(size*c.times))
			assert.Less(t, out.heap-before, int64(size/2))
		})
	}
}

// measured counts what is written to it and, every 512 KiB, looks at the heap.
type measured struct{ bytes, looked, heap int64 }

func (m *measured) Write(p []byte) (int, error) {
	m.bytes += int64(len(p))
	if m.bytes-m.looked >= 512<<10 {
		m.looked, m.heap = m.bytes, max(m.heap, liveHeap())
	}
	return len(p), nil
}

// liveHeap returns the bytes on the heap that are still reachable.
func liveHeap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

type repeated struct {
	text string
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.text[r.at:])
	r.at = (r.at + n) % len(r.text)
	return n, nil
}

// What a "$Id:" without an end needs is bounded, too.
func TestIdentWithoutEnd(t *testing.T) {
	job := budget.New(4<<20, 1<<40).Start(t.Context())
	defer job.End()
	open := func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader("$Id:"), io.LimitReader(&repeated{text: strings.Repeat("a", 4<<10)}, 64<<20))), nil
	}
	rd, err := Conversion{ident: true}.Open(job, open, "")
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, rd)
	var limit *budget.LimitError
	assert.ErrorAs(t, err, &limit)
}

// Matching ends after a job's steps, whatever the patterns are, and folders that
// share one file share what is kept of it.
func TestMatchingIsBounded(t *testing.T) {
	var evil strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&evil, "%s%d x\n", strings.Repeat("*a", 20), i)
	}
	b := budget.New(64<<20, 1<<28)
	job := b.Start(t.Context())
	defer job.End()
	a := New(job)
	for i := range 300 {
		folder := fmt.Sprint(i)
		require.NoError(t, a.Add(folder, "same", func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(evil.String())), nil }))
	}
	var err error
	for i := 0; err == nil; i++ {
		_, err = a.Conversion(fmt.Sprintf("%d/%s", i%300, strings.Repeat("a", 200)))
	}
	assert.ErrorContains(t, err, "MaxWorkSteps")
	for i := 0; i < 1000 && err != nil; i++ {
		err = a.Add(fmt.Sprint("x", i), fmt.Sprint("other", i), func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(evil.String())), nil })
	}
	assert.Error(t, err)
}
