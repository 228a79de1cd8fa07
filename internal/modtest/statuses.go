package modtest

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/athens-go/athens"
)

// SignIn is a page as hosts answer it, often with 200, to those that are not
// signed in.
const SignIn = `<!DOCTYPE html><html><head><title>Sign in</title></head><body><form action="/login"></form></body></html>`

// Statuses asks one question of a source for every status that it may answer with,
// and requires that only 404 and 410 are a definite "no", where definite says that
// they may be one; all others must be outages, 200 with [SignIn] as its body among
// them. ask makes a source that answers so and returns what became of the question.
// An ordinary run asks for those that have a name and for some of the others, and a
// [Full] one for all.
func Statuses(t *testing.T, definite bool, ask func(t *testing.T, status int) error) {
	t.Helper()
	for status := 100; status <= 599; status++ {
		named, some := http.StatusText(status) != "", status%100 == 99 || status%100 == 50
		if !named && !some && !Full() {
			continue
		}
		err := ask(t, status)
		want := "an outage"
		if definite && (status == 404 || status == 410) {
			want = "missing"
		}
		if got := kind(err); got != want {
			t.Errorf("%d is %s, not %s: %v", status, got, want, err)
		}
	}
}

// kind names what an error says.
func kind(err error) string {
	for e := err; e != nil; e = errors.Unwrap(e) {
		switch e.(type) {
		case *athens.MissingError:
			return "missing"
		case *athens.UnavailableError:
			return "an outage"
		case *athens.InvalidError:
			return "invalid"
		}
	}
	return fmt.Sprintf("%T", err)
}
