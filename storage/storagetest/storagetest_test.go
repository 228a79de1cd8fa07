package storagetest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage/storagetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bugs are the toy's ways to be broken, by the case that must notice.
var bugs = map[string][]string{
	"missing":              {"missing is another error", "missing list is an error"},
	"put":                  {"put forgets", "put has a zip"},
	"put-copies":           {"put keeps the slice"},
	"same-again":           {"same-again is an error", "same-again overwrites", "same-again compares zones"},
	"conflict-mod":         {"conflict-mod", "conflict-mod is another error", "conflict-mod changes it", "conflict-mod names another version"},
	"conflict-mod-shorter": {"conflict-mod-shorter"},
	"conflict-time":        {"conflict-time"},
	"raw":                  {"raw is written anew"},
	"raw-same":             {"raw-same compares times"},
	"raw-invalid":          {"raw-invalid is stored"},
	"conflict-version":     {"conflict-version"},
	"conflict-commit":      {"conflict-commit"},
	"versions":             {"versions sort as text", "versions leave out pseudo", "versions of what lies below"},
	"names":                {"names fold case"},
	"object":               {"object has wrong size", "object has weak tag", "object can't seek"},
	"canceled":             {"canceled Open", "canceled Put", "canceled Versions", "canceled Stage", "canceled Commit"},
	"commit":               {"commit loses bytes"},
	"commit-before-put":    {"commit-before-put is another error"},
	"commit-again":         {"commit-again"},
	"commit-conflict":      {"commit-conflict", "commit-conflict changes it"},
	"discard":              {"discard keeps", "discard, second Close"},
	"close-committed":      {"close-committed"},
	"read-beside":          {"read-beside lags", "read-beside ends early"},
	"read-committed":       {"read-committed"},
	"reopen":               {"reopen"},
	"put-together":         {"put-together", "put-together, other order"},
	"put-race":             {"put-race"},
	"put-many":             {"put-many"},
	"commit-together":      {"commit-together"},
	"commit-same-race":     {"commit-same-race"},
	"commit-race":          {"commit-race"},
	"catalogue": {"catalogue forgets what lies below", "catalogue names twice", "catalogue mixes modules", "catalogue sorts as text",
		"catalogue of nothing is an error"},
	"catalogue-stop":   {"catalogue goes on", "catalogue ignores ctx", "catalogue ends without a word"},
	"catalogue-beside": {"catalogue-beside"},
	"sumdb": {"sumdb folds case", "sumdb takes a partial tile for a full one", "sumdb missing is another error", "sumdb is text",
		"sumdb same again is an error", "sumdb never replaces"},
	"sumdb-copies":   {"sumdb-copies Get", "sumdb-copies Put"},
	"sumdb-replace":  {"sumdb never replaces", "sumdb-replace in two steps"},
	"sumdb-reopen":   {"reopen"},
	"sumdb-apart":    {"sumdb is listed"},
	"sumdb-bad":      {"sumdb takes any name", "sumdb takes any size"},
	"sumdb-canceled": {"sumdb-canceled Get", "sumdb-canceled Put"},
	"sumdb-listed": {"sumdb-listed yields modules", "sumdb-listed yields the folder of a name", "sumdb-listed twice", "sumdb-listed goes on",
		"sumdb-listed ignores ctx", "sumdb folds case"},
	"zip-hash": {"zip-hash of the .mod", "zip-hash of nothing is no error", "zip-hash of what was removed"},
	"remove": {"remove forgets the reason", "remove is fs.ErrNotExist", "remove lists it", "remove of put", "remove of commit",
		"remove keeps the files", "restore forgets"},
	"remove-unheld": {"remove-unheld is an error", "remove of put"},
	"remove-reader": {"remove-reader"},
	"remove-race":   {"remove of put"},
	"hide":          {"hide removes", "hide forgets the reason", "restore forgets"},
	"evict":         {"evict marks", "evict remembers", "evict takes all", "evict of nothing is an error"},
	"remove-reopen": {"reopen"},
}

// toys opens toys with that bug on one medium.
func toys(bug string) storagetest.Open {
	m := newMedium()
	return func() (athens.Storage, error) {
		t := &toy{medium: m, bug: bug}
		if bug == "reopen" {
			m = newMedium()
		}
		return t, nil
	}
}

func TestToyPasses(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storagetest.Open { return toys("") })
}

func TestEachCaseCatchesItsBugs(t *testing.T) {
	for _, c := range storagetest.Cases() {
		require.NotEmpty(t, bugs[c.Name], "no broken store shows that the case %s works", c.Name)
		for _, bug := range bugs[c.Name] {
			t.Run(bug, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				err := c.Check(ctx, toys(bug))
				assert.Error(t, err, "the case %s did not notice: %s", c.Name, c.Promise)
				assert.NoError(t, ctx.Err(), "noticed by the clock only")
			})
		}
	}
	assert.Len(t, bugs, len(storagetest.Cases()), "a bug names no case")
}

func TestOpenFails(t *testing.T) {
	for _, c := range storagetest.Cases() {
		err := c.Check(t.Context(), func() (athens.Storage, error) { return nil, assert.AnError })
		assert.ErrorIs(t, err, assert.AnError, c.Name)
	}
}

// A backend's test is a Run and how the store is opened.
func ExampleCases() {
	for _, c := range storagetest.Cases()[:2] {
		err := c.Check(context.Background(), toys(""))
		fmt.Println(c.Name, err)
	}
	// Output:
	// missing <nil>
	// put <nil>
}
