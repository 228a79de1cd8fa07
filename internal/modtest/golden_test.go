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

// TestGolden downloads everything that the ready repositories offer. Commits,
// versions and hashes are pinned: tests elsewhere may rely on them.
func TestGolden(t *testing.T) {
	var got strings.Builder
	repos := modtest.Ready(t, modtest.ReadyNames()...)
	g := modtest.NewGo(t, modtest.NewInternet(t, repos...))
	for i, r := range repos {
		require.NotEmpty(t, r.Purpose)
		if len(r.Offers) == 0 {
			fmt.Fprintln(&got, modtest.ReadyNames()[i])
			continue
		}
		fmt.Fprintf(&got, "%s %s\n", modtest.ReadyNames()[i], r.Hash("HEAD"))
		for j, d := range g.Download(r.Offers...) {
			if !assert.Empty(t, d.Error, r.Offers[j]) {
				continue
			}
			require.Equal(t, d.Version, d.Stored.Version)
			fmt.Fprintf(&got, "\t%s %s %s %s %s\n", r.Offers[j], d.Version, d.Stored.Time.Format(time.RFC3339), d.Sum, d.GoModSum)
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
