package web

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The steps lead from one text to the other, and there are no fewer.
func TestDiff(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	text := func() string {
		var b strings.Builder
		for range random.IntN(12) {
			b.WriteString(string(rune('a'+random.IntN(3))) + "\n")
		}
		return b.String()
	}
	for range 5000 {
		before, after := text(), text()
		a, b := splitLines(before), splitLines(after)
		numbers := map[string]int32{}
		steps, ok := edits(numbered(a, numbers), numbered(b, numbers))
		require.True(t, ok)
		var from, to []string
		i, j, kept := 0, 0, 0
		for _, s := range steps {
			if s != '+' {
				from, i = append(from, a[i]), i+1
			}
			if s != '-' {
				to, j = append(to, b[j]), j+1
			}
			if s == '=' {
				require.Equal(t, a[i-1], b[j-1])
				kept++
			}
		}
		require.Equal(t, a, from)
		require.Equal(t, b, to)
		require.Equal(t, common(a, b), kept)
		lines, ok := diff(before, after)
		require.True(t, ok)
		if before == after {
			require.LessOrEqual(t, len(lines), 1)
		}
	}
	_, ok := diff(strings.Repeat("a\nb\n", 2000), strings.Repeat("c\nd\n", 2000))
	assert.False(t, ok)
	lines, ok := diff("", strings.Repeat("c\nd\n", 2000))
	assert.True(t, ok)
	assert.Len(t, lines, 4000)
}

// common is the length of the longest common subsequence.
func common(a, b []string) int {
	row := make([]int, len(b)+1)
	for _, x := range a {
		diagonal := 0
		for j, y := range b {
			above := row[j+1]
			if x == y {
				row[j+1] = diagonal + 1
			} else {
				row[j+1] = max(above, row[j])
			}
			diagonal = above
		}
	}
	return row[len(b)]
}
