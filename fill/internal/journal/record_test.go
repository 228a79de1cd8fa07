package journal

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/backoff"
)

func version(n int) module.Version {
	return module.Version{Path: fmt.Sprintf("example.com/mod%d", n), Version: "v1.0.0"}
}

// line returns a line of a journal about version n.
func line(t testing.TB, state State, n int, reason string) string {
	t.Helper()
	m := version(n)
	b, err := appendLine(nil, &Record{
		State: state, Path: m.Path, Version: m.Version, Zip: n%2 == 0, Attempts: n, Scheduled: time.Unix(int64(n), 0).UTC(), Reason: reason,
	})
	require.NoError(t, err)
	return string(b)
}

// numbers reads a journal, and returns the numbers of the versions that are pending and
// of those that failed.
func numbers(t *testing.T, text string, limit int) (pending, failed string, c *Contents) {
	t.Helper()
	c, err := read(strings.NewReader(text), limit, 3)
	require.NoError(t, err)
	for n := range 20 {
		if _, ok := c.Pending[version(n)]; ok {
			pending += fmt.Sprint(n)
		}
		for _, e := range c.Failed {
			if e.Path == version(n).Path {
				failed += fmt.Sprint(n)
			}
		}
	}
	return pending, failed, c
}

func TestReadJournal(t *testing.T) {
	p := func(n int) string { return line(t, Pending, n, "") }
	forged := func(s string) string { return fmt.Sprintf("%08x %s\n", 0, s) }
	sealed := func(s string) string { return fmt.Sprintf("%08x %s\n", crc32.Checksum([]byte(s), castagnoli), s) }
	damaged := []byte(p(2))
	damaged[20] ^= 1
	for name, c := range map[string]struct {
		text            string
		pending, failed string
		bad, over       int
	}{
		"nothing":            {"", "", "", 0, 0},
		"pending":            {p(1) + p(2) + p(1), "12", "", 0, 0},
		"done":               {p(1) + p(2) + line(t, Done, 1, ""), "2", "", 0, 0},
		"done, and anew":     {p(1) + line(t, Done, 1, "") + p(1), "1", "", 0, 0},
		"failed":             {p(1) + line(t, Failed, 1, "no"), "", "1", 0, 0},
		"failed, then done":  {line(t, Failed, 1, "no") + line(t, Done, 1, ""), "", "", 0, 0},
		"failed, and anew":   {line(t, Failed, 1, "no") + p(1), "1", "1", 0, 0},
		"many failed":        {line(t, Failed, 1, "") + line(t, Failed, 2, "") + line(t, Failed, 3, "") + line(t, Failed, 4, ""), "", "234", 0, 0},
		"torn":               {p(1) + p(2)[:30], "1", "", 1, 0},
		"torn and continued": {p(1) + p(2)[:30] + p(3) + p(4), "14", "", 1, 0},
		"without its end":    {p(1) + strings.TrimSuffix(p(2), "\n"), "1", "", 1, 0},
		"damaged":            {p(1) + string(damaged) + p(3), "13", "", 1, 0},
		"empty lines":        {"\n\n" + p(1) + "\n", "1", "", 3, 0},
		"zeros":              {p(1) + strings.Repeat("\x00", 5000) + "\n" + p(2), "12", "", 1, 0},
		"a long line":        {p(1) + strings.Repeat("x", 3*maxLine) + "\n" + p(2), "12", "", 1, 0},
		"a long torn line":   {p(1) + strings.Repeat("x", 3*maxLine), "1", "", 1, 0},
		"no checksum":        {forged(`{"state":"pending","module":"a","version":"v1.0.0"}`), "", "", 1, 0},
		"no JSON":            {p(1) + sealed("pending") + p(2), "12", "", 1, 0},
		"another state":      {line(t, "eaten", 1, "") + p(2), "2", "", 1, 0},
		"no name":            {p(1) + sealed(`{"state":"pending"}`), "1", "", 1, 0},
		"a long reason":      {line(t, Pending, 1, strings.Repeat("x", 600)), "", "", 1, 0},
		"over the limit":     {p(1) + p(2) + p(3) + p(4) + p(5) + p(6) + p(1), "1234", "", 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			pending, failed, got := numbers(t, c.text, 4)
			assert.Equal(t, []any{c.pending, c.failed, c.bad, c.over}, []any{pending, failed, got.ignored, got.over})
		})
	}
}

func TestLinesKeepEverything(t *testing.T) {
	at := time.Date(2024, 2, 3, 4, 5, 6, 7, time.UTC)
	r := Record{
		State: Pending, First: at, Path: "example.com/mod", Version: "v1.0.0", Zip: true, Attempts: 3,
		Scheduled: at.Add(1), Due: at.Add(2), Started: at.Add(3), Ended: at.Add(4), Reason: "line\nbreaks, \"quotes\" <and> \x01",
	}
	b, err := appendLine(nil, &r)
	require.NoError(t, err)
	got, err := parseLine(bytes.TrimSuffix(b, []byte{'\n'}))
	require.NoError(t, err)
	assert.Equal(t, r, got)
}

// The longest line that is written is read.
func TestLongestLine(t *testing.T) {
	r := Record{
		State: Pending, Path: strings.Repeat("\x01", MaxName-1), Version: "v",
		Reason: backoff.Reason(errors.New(strings.Repeat("\x01", 2*backoff.MaxReason))),
	}
	b, err := appendLine(nil, &r)
	require.NoError(t, err)
	require.LessOrEqual(t, len(b), maxLine)
	c, err := read(bytes.NewReader(b), 1, 1)
	require.NoError(t, err)
	assert.Len(t, c.Pending, 1)
}

func TestJournalThatCannotBeRead(t *testing.T) {
	_, err := read(iotest.ErrReader(errors.New("I/O error")), 1, 1)
	assert.EqualError(t, err, "I/O error")
}

// Whatever a journal has, it is read within bounds, and what follows counts.
func FuzzReadJournal(f *testing.F) {
	all := line(f, Pending, 1, "") + line(f, Pending, 2, "a reason") + line(f, Done, 1, "") + line(f, Failed, 3, "no")
	f.Add([]byte(all))
	f.Add([]byte(all[:len(all)-20]))
	f.Add([]byte(strings.ToUpper(all)))
	f.Add([]byte("00000000 \n"))
	f.Add([]byte(`{"state":"pending","module":"m","version":"v","attempts":-1,"due":"9999-12-31T23:59:59Z"}`))
	f.Add(bytes.Repeat([]byte{0}, 100))
	after := line(f, Pending, 7, "")
	f.Fuzz(func(t *testing.T, text []byte) {
		const limit, recent = 3, 2
		text = fmt.Appendf(text, "\n%08x %s\n", crc32.Checksum(text, castagnoli), text) // otherwise hardly a line passes the checksum
		c, err := read(bytes.NewReader(text), limit, recent)
		require.NoError(t, err)
		assert.LessOrEqual(t, len(c.Pending), limit)
		assert.LessOrEqual(t, len(c.Failed), recent)
		for m, r := range c.Pending {
			assert.LessOrEqual(t, len(m.Path)+len(m.Version), MaxName)
			assert.LessOrEqual(t, len(r.Reason), backoff.MaxReason+len(backoff.Cut))
			assert.GreaterOrEqual(t, r.Attempts, 0)
			_, err := appendLine(nil, &r)
			require.NoError(t, err, "what was read can be written")
		}
		c, err = read(strings.NewReader(string(text)+"\n"+after), limit, recent)
		require.NoError(t, err)
		_, held := c.Pending[version(7)]
		assert.True(t, held || c.over > 0)
	})
}
