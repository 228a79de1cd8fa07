package gitattr

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPatternsAsGit compares which files random lines of a .gitattributes are for
// with what "git check-attr" says. Each line gives an attribute of its own.
func TestPatternsAsGit(t *testing.T) {
	const lines = 1500
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	pieces := []string{"a", "b", "ab", "/", "/", "*", "*", "**", "**", "?", "[ab]", "[!a]", "[^b]", "[a-c]", "[]a]", "[a", "[[:alpha:]]", "[[:x:]]", "[a-", "[-a]", `\a`, `\*`, `\/`, `\`, "x", "[/]", "[a/]", "***", "**/", "/**", "!", "#", `"`, "[b-a]", `[\a]`, `[a\]`, "[a-\\c]", "]", "-", "[[:digit:]a]"}
	name := func() string {
		var b strings.Builder
		for range 1 + rnd.IntN(6) {
			b.WriteString(pieces[rnd.IntN(len(pieces))])
		}
		return b.String()
	}
	var text strings.Builder
	patterns := make([]string, lines)
	for i := range patterns {
		patterns[i] = name()
		fmt.Fprintf(&text, "%s p%d\n", patterns[i], i)
	}
	var files []string
	letters := []string{"a", "b", "ab", "aab", "x", "c", "ax", "xb", "*", "[", "]", "-", "!", "#", "aaa", "bab"}
	for range 80 {
		var parts []string
		for range 1 + rnd.IntN(4) {
			parts = append(parts, letters[rnd.IntN(len(letters))])
		}
		files = append(files, strings.Join(parts, "/"))
	}
	dir := t.TempDir()
	runGit(t, dir, "init", "-q")
	require.NoError(t, os.WriteFile(filepath.Join(dir, File), []byte(text.String()), 0o600))
	cmd := exec.Command("git", "-C", dir, "check-attr", "-a", "--stdin")
	cmd.Stdin = strings.NewReader(strings.Join(files, "\n") + "\n")
	out, err := cmd.Output()
	require.NoError(t, err)
	want := make(map[string]bool)
	for line := range strings.Lines(string(out)) {
		words := strings.Split(strings.TrimSpace(line), ": ")
		want[words[0]+" "+words[1]] = words[2] == "set"
	}
	a := New(nil)
	require.NoError(t, addText(a, "", text.String()))
	names := make([]string, lines)
	for i := range names {
		names[i] = fmt.Sprintf("p%d", i)
	}
	for _, file := range files {
		got, err := a.of(file, names...)
		require.NoError(t, err)
		for i, pattern := range patterns {
			if !assert.Equal(t, want[file+" "+names[i]], got[names[i]].state == '+', "pattern %s, file %s", pattern, file) {
				return
			}
		}
	}
}
