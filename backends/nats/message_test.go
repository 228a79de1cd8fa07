package nats

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
)

// names are versions with bytes that a subject can't have.
var names = []module.Version{
	{Path: "example.com/mod", Version: "v1.0.0"},
	{Path: "example.com/a.b*>c d\r\n\x00é", Version: "v1.0.0+incompatible"},
	{Path: "\xff\xfe", Version: " "},
	{Path: ".", Version: ">"},
	{Path: strings.Repeat("p", maxName-1), Version: "v"},
}

func TestToken(t *testing.T) {
	for _, m := range names {
		s, err := token(m)
		require.NoError(t, err)
		assert.Regexp(t, `^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`, s)
		got, err := parseSubject("x.todo.", "x.todo."+s)
		require.NoError(t, err)
		assert.Equal(t, m, got)
	}
	for _, m := range []module.Version{{}, {Path: "p"}, {Version: "v"}, {Path: strings.Repeat("p", maxName), Version: "v"}} {
		_, err := token(m)
		assert.Error(t, err, "%.20q", m)
	}
}

func TestParseSubjectRefuses(t *testing.T) {
	for _, s := range []string{
		"", "x.todo.", "x.todo.YQ", "x.todo.YQ.", "x.todo..YQ", "x.todo.YQ.YQ.YQ", "x.todo.YQ==.YQ", "x.todo.YR.YQ",
		"x.todo.Y\nQ.YQ", "x.todo.*.YQ", "x.failed.YQ.YQ", "x.todo." + strings.Repeat("YWFh", 1000) + ".YQ",
	} {
		_, err := parseSubject("x.todo.", s)
		assert.Error(t, err, "%.40q", s)
	}
}

func TestStateSurvives(t *testing.T) {
	at := time.Date(2024, 5, 6, 7, 8, 9, 10, time.UTC)
	s := state{Zip: true, After: time.Minute, Scheduled: at, First: at, Attempts: 3, Reason: "down\n\"é\""}
	got, err := parseState(s.encode())
	require.NoError(t, err)
	assert.Equal(t, s, got)
	assert.Equal(t, "{}", string(state{}.encode()))
	// A clock that is far off makes no message that can't be read.
	_, err = parseState(state{First: time.Unix(math.MaxInt32*1000, 0)}.encode())
	require.NoError(t, err)
}

// The zip joins what is pending, at the earlier of two times, but hurries nothing
// that waits after an error.
func TestGrown(t *testing.T) {
	stored := time.Now().Add(-time.Second)
	in := func(s state, after time.Duration) float64 { return s.grown(stored, after).After.Seconds() }
	assert.InDelta(t, 9, in(state{After: 10 * time.Second}, time.Minute), 0.5, "the earlier is the one that waits")
	assert.InDelta(t, 2, in(state{After: 10 * time.Second}, 2*time.Second), 0.5, "the earlier is the new one")
	assert.InDelta(t, 60, in(state{}, time.Minute), 0.5, "it runs")
	assert.InDelta(t, 9, in(state{After: 10 * time.Second, Attempts: 1}, 0), 0.5, "it waits after an error")
	s := state{After: 10 * time.Second, Attempts: 2, Reason: "down"}.grown(stored, 0)
	assert.True(t, s.Zip)
	assert.Equal(t, stored, s.Scheduled)
	assert.Equal(t, "down", s.Reason)
}

func FuzzSubject(f *testing.F) {
	for _, m := range names[:4] {
		s, _ := token(m)
		f.Add("x.todo."+s, m.Path, m.Version)
	}
	f.Add("x.todo.YR.YQ", "", "")
	f.Add("x.todo.Y\nQ.YQ", "\n", ".")
	f.Fuzz(func(t *testing.T, subject, path, version string) {
		if m, err := parseSubject("x.todo.", subject); err == nil {
			s, err := token(m)
			require.NoError(t, err)
			require.Equal(t, subject, "x.todo."+s, "a version with two subjects would be pending twice")
		}
		want := module.Version{Path: path, Version: version}
		if s, err := token(want); err == nil {
			require.Less(t, len(s), 3000)
			got, err := parseSubject("x.todo.", "x.todo."+s)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add(state{Zip: true, After: time.Minute, First: time.Unix(1, 0), Attempts: 3, Reason: "down"}.encode())
	for _, s := range []string{
		"", "{", "null", "[]", "{}", `{"after":-1}`, `{"after":9223372036854775807}`, `{"after":1e300}`, `{"attempts":-5}`,
		`{"zip":true,"zip":false}`, `{"first":"9999-12-31T23:59:59+24:00"}`, `{"reason":"\ud800"}`, strings.Repeat("[", 5000),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := parseState(body)
		if err != nil {
			require.Zero(t, s)
			require.Less(t, len(err.Error()), 100, "an error repeats what it was given")
			return
		}
		j := job{state: s, stored: time.Now()}
		require.LessOrEqual(t, j.left(), maxDelay)
		if again, err := parseState(s.encode()); err == nil {
			require.Equal(t, s.Attempts, again.Attempts)
			require.Equal(t, s.After, again.After)
		}
	})
}
