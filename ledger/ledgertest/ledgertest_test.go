package ledgertest_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/ledger/ledgertest"
)

// bugs are the toy's ways to be broken, by the case that must notice.
var bugs = map[string][]string{
	"empty":       {"empty has another error"},
	"add":         {"add leaves gaps", "add is signed later"},
	"same-again":  {"same-again"},
	"conflict":    {"conflict is another error", "conflict looks at the zip only", "conflict is recorded"},
	"bad":         {"bad version", "bad hash"},
	"canceled":    {"canceled Add", "canceled Signed", "canceled Since"},
	"together":    {"together"},
	"race":        {"race", "conflict is another error"},
	"records":     {"records are fewer"},
	"tiles":       {"tiles of any height", "tiles of the future are another error", "tiles are whole"},
	"since":       {"since has equal times", "since is backwards", "since is exclusive", "since goes on"},
	"copies":      {"copies"},
	"append-only": {"append-only goes back", "append-only forks"},
	"reopen":      {"reopen forgets", "reopen has another key"},
}

// toys opens toys with that bug on one medium.
func toys(bug string) ledgertest.Open {
	fresh := func() *medium {
		key, public, err := note.GenerateKey(rand.Reader, "sum.corp.example")
		if err != nil {
			panic(err)
		}
		return newMedium(key, public)
	}
	m := fresh()
	return func() (athens.Ledger, error) {
		t := &toy{medium: m, bug: bug}
		switch bug {
		case "reopen forgets":
			m = newMedium(m.key, m.public)
		case "reopen has another key":
			other := fresh()
			next := *m
			next.key, next.public = other.key, other.public
			m = &next
		}
		return t, nil
	}
}

func TestToyPasses(t *testing.T) {
	ledgertest.Run(t, func(*testing.T) ledgertest.Open { return toys("") })
}

func TestEachCaseCatchesItsBugs(t *testing.T) {
	for _, c := range ledgertest.Cases() {
		require.NotEmpty(t, bugs[c.Name], "no broken ledger shows that the case %s works", c.Name)
		for _, bug := range bugs[c.Name] {
			t.Run(c.Name+" "+bug, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				err := c.Check(ctx, toys(bug))
				assert.Error(t, err, "the case %s did not notice: %s", c.Name, c.Promise)
				assert.NoError(t, ctx.Err(), "noticed by the clock only")
			})
		}
	}
	assert.Len(t, bugs, len(ledgertest.Cases()), "a bug names no case")
}

func TestOpenFails(t *testing.T) {
	for _, c := range ledgertest.Cases() {
		err := c.Check(t.Context(), func() (athens.Ledger, error) { return nil, assert.AnError })
		assert.ErrorIs(t, err, assert.AnError, c.Name)
	}
}

// A ledger's test is a Run and how the ledger is opened.
func ExampleCases() {
	for _, c := range ledgertest.Cases()[:2] {
		err := c.Check(context.Background(), toys(""))
		fmt.Println(c.Name, err)
	}
	// Output:
	// empty <nil>
	// add <nil>
}
