package modtest_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

var update = flag.Bool("update", false, "write testdata/golden.txt anew")

// TestGolden makes all ready repositories, and puts down what the go command makes of
// all that they offer. Commits, versions and hashes are pinned: tests elsewhere may
// rely on them. The go command's answers are recorded by the fetcher's TestInterop,
// which asks for all of them again when the environment has ATHENS_FULL=1.
func TestGolden(t *testing.T) {
	var got strings.Builder
	repos := modtest.Ready(t, modtest.ReadyNames()...)
	g := modtest.NewGo(t, modtest.NewInternet(t, repos...))
	for i, r := range repos {
		name := modtest.ReadyNames()[i]
		require.NotEmpty(t, r.Purpose)
		if len(r.Offers) == 0 {
			fmt.Fprintln(&got, name)
			continue
		}
		fmt.Fprintf(&got, "%s %s\n", name, r.Hash("HEAD"))
		for _, a := range modtest.NewRecorded(t, "modtest-"+name, r.State()).Get(r.Offers, func(refs []string) []modtest.Answer {
			var answers []modtest.Answer
			for _, ref := range refs {
				g.Clean() // what is there can change what it says
				answers = append(answers, g.Download(ref)[0].Answer(ref))
			}
			return answers
		}) {
			if assert.False(t, a.Refused, a.Ref) {
				fmt.Fprintf(&got, "\t%s %s %s %s %s\n", a.Ref, a.Version, a.Time.Format(time.RFC3339), a.Sum, a.GoModSum)
			}
		}
	}
	const file = "testdata/golden.txt"
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got.String()), 0o666))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), got.String())
}
