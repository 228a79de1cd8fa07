package athens

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"golang.org/x/mod/module"
)

func TestPrintable(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"plain":                {"not found", "not found"},
		"lines":                {"a\r\nb\tc\u2028d", "a b c d"},
		"blanks":               {"  a   b ", "a b"},
		"escapes":              {"\x1b[31mred\x1b[0m\x7f", "[31mred [0m"},
		"directions":           {"a\u202eb\u200bc", "a b c"},
		"no UTF-8":             {"a\xffb", "a b"},
		"letters":              {"größe 世界", "größe 世界"},
		"user and password":    {"Get https://user:s3cret@host/x: no", "Get https://host/x: no"},
		"token":                {"https://s3cret@host", "https://host"},
		"mail address as user": {"https://me@corp:s3cret@host/", "https://host/"},
		"two URLs":             {"https://s3cret@a, ssh://git:s3cret@b", "https://a, ssh://b"},
		"a module, no user":    {"https://host/example.com/m/@v/v1.0.0.info", "https://host/example.com/m/@v/v1.0.0.info"},
		"behind very much":     {strings.Repeat(" ", 400) + "https://user:s3cret" + strings.Repeat("x", 400) + "@host", "https://host"},
		"cut":                  {strings.Repeat("ab", 99), strings.Repeat("ab", 48) + "a…"},
		"cut in a letter":      {strings.Repeat("世", 99), strings.Repeat("世", 32) + "…"},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, c.want, printable(c.in, 100)) })
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("https://user:pw@host/ \x00\n", 40)
	f.Add(strings.Repeat("é", 99), 10)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = 4 + limit&0x3ff
		got := printable(s, limit)
		if len(got) > limit || !utf8.ValidString(got) {
			t.Fatalf("%q", got)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q has %q", got, r)
			}
		}
	})
}

func TestStatus(t *testing.T) {
	missing := &MissingError{Path: "m"}
	for name, c := range map[string]struct {
		err    error
		status int
		retry  time.Duration
	}{
		"missing":                   {missing, 404, 0},
		"missing, wrapped":          {fmt.Errorf("list: %w", missing), 404, 0},
		"missing and more":          {errors.Join(missing, errors.New("x")), 502, defaultRetry},
		"not exist":                 {fs.ErrNotExist, 502, defaultRetry},
		"not exist, of a file":      {&os.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}, 502, defaultRetry},
		"blocked":                   {&BlockedError{}, 403, 0},
		"invalid":                   {&InvalidError{Err: missing}, 502, 0},
		"conflict":                  {&ConflictError{}, 502, 0},
		"loop":                      {&LoopError{}, 502, 0},
		"down":                      {&UnavailableError{Err: errors.New("x")}, 503, defaultRetry},
		"down, by something absent": {&UnavailableError{Err: missing}, 503, defaultRetry},
		"busy":                      {&UnavailableError{Err: errors.New("x"), RetryAfter: time.Hour}, 503, time.Hour},
		"slow":                      {&UnavailableError{Err: context.DeadlineExceeded}, 504, defaultRetry},
		"slow, in the network":      {&UnavailableError{Err: os.ErrDeadlineExceeded}, 504, defaultRetry},
		"out of time":               {context.DeadlineExceeded, 504, defaultRetry},
		"cut off":                   {context.Canceled, 503, defaultRetry},
		"store failed":              {&storeError{errors.New("x")}, 503, defaultRetry},
		"store lost a file":         {&storeError{fs.ErrNotExist}, 503, defaultRetry},
		"store full":                {&storeError{fmt.Errorf("write: %w", syscall.ENOSPC)}, 507, time.Minute},
		"quota used up":             {&storeError{syscall.EDQUOT}, 507, time.Minute},
		"disk of a source full":     {&UnavailableError{Err: syscall.ENOSPC}, 507, time.Minute},
		"own":                       {&requestError{http.StatusTeapot, missing}, 418, 0},
	} {
		t.Run(name, func(t *testing.T) {
			status, retry := Status(c.err)
			assert.Equal(t, c.status, status)
			assert.Equal(t, c.retry, retry)
		})
	}
}

func TestFinal(t *testing.T) {
	for _, err := range []error{
		&MissingError{}, &BlockedError{}, &InvalidError{Err: errors.New("x")}, &ConflictError{}, &LoopError{},
		fmt.Errorf("fill: %w", &MissingError{Err: &UnavailableError{Err: errors.New("x")}}),
	} {
		assert.True(t, Final(err), "%T", err)
	}
	for _, err := range []error{
		nil, errors.New("x"), fs.ErrNotExist, context.Canceled, &UnavailableError{Err: &MissingError{}}, &storeError{&MissingError{}},
		errors.Join(&MissingError{}, errors.New("x")),
	} {
		assert.False(t, Final(err), "%T", err)
	}
}

func TestErrorsSayWhat(t *testing.T) {
	m := module.Version{Path: "example.com/m", Version: "v1.0.0"}
	for _, c := range []struct {
		err  error
		want string
	}{
		{&MissingError{Path: m.Path, Query: m.Version, Err: errors.New("no such tag")}, "example.com/m@v1.0.0: not found: no such tag"},
		{&MissingError{Path: m.Path}, "example.com/m: not found"},
		{&BlockedError{m.Path, m.Version, "CVE-1"}, "example.com/m@v1.0.0: blocked: CVE-1"},
		{&BlockedError{Path: m.Path}, "example.com/m: blocked"},
		{&InvalidError{m.Path, m.Version, errors.New("bad zip")}, "example.com/m@v1.0.0: invalid: bad zip"},
		{&ConflictError{m, ZipFile, "h1:a", "h1:b"}, "example.com/m@v1.0.0: conflict: the .zip held is h1:a, the source now has h1:b"},
		{&LoopError{"1.1 a, 1.1 b"}, "proxy loop: the servers 1.1 a, 1.1 b ask each other"},
		{&UnavailableError{Source: "git.test", Err: errors.New("refused")}, "git.test is unavailable: refused"},
	} {
		assert.EqualError(t, c.err, c.want)
	}
	assert.ErrorIs(t, &MissingError{}, fs.ErrNotExist)
	assert.NotErrorIs(t, &UnavailableError{Err: errors.New("x")}, fs.ErrNotExist)
}
