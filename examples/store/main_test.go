package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lines are those of an output.
func lines(out string) []string { return strings.Split(strings.TrimSuffix(out, "\n"), "\n") }

// tool runs the tool.
func tool(t *testing.T, args ...string) (stdout string, err error) {
	var out strings.Builder
	err = run(t.Context(), args, &out, io.Discard)
	return out.String(), err
}

func TestRules(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rules.txt")
	require.NoError(t, os.WriteFile(file, []byte("block example.com/mod <1.4.3 # CVE-2026-0001\n"), 0o600))
	out, err := tool(t, "rules", file, "example.com/mod@v1.4.2")
	require.NoError(t, err)
	assert.Equal(t, `example.com/mod@v1.4.2 is blocked
public: no line says otherwise
blocked: rules.txt:1: block example.com/mod <1.4.3 # CVE-2026-0001
no cooldown: no line says otherwise
`, out)
	out, err = tool(t, "rules", "-private", "example.com", file, "example.com/mod")
	require.NoError(t, err)
	assert.Contains(t, out, "example.com/mod is served\nprivate: the private patterns before the first line\n")
}

func TestToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(file, []byte("anonymous read pub.test"), 0o600)) // no newline at the end
	out, err := tool(t, "token", "-file", file, "-name", "ci", "-paths", "corp.test", "-rights", "read,publish")
	require.NoError(t, err)
	assert.Regexp(t, `^ci\.[A-Z2-7]{26}\n$`, out)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Regexp(t, `^anonymous read pub.test\n\$2a\$\S+ ci corp.test read,publish check:\S+\n$`, string(text))
	assert.NotContains(t, string(text), strings.TrimSpace(out))
	for want, args := range map[string][]string{
		"another line has the name": {"-file", file, "-name", "ci"},
		"bad name":                  {"-file", file},
		"-file is missing":          {"-name", "a"},
		"unknown right":             {"-file", file, "-name", "a", "-rights", "write"},
		"is no flag":                {"-file", file, "-name", "a", "b"},
		"token:":                    {"-file", filepath.Dir(file), "-name", "a"},
	} {
		_, err := tool(t, append([]string{"token"}, args...)...)
		assert.ErrorContains(t, err, want)
	}
	after, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, text, after)
}

func TestUsage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rules.txt")
	require.NoError(t, os.WriteFile(file, []byte("# none\n\nblck a.test\n"), 0o600))
	for want, args := range map[string][]string{
		"give a command: ":              nil,
		`unknown command "rule"`:        {"rule"},
		"rules: want a rules file":      {"rules", file},
		"no such file":                  {"rules", file + "x", "a.test@v1.0.0"},
		`:3:1: unknown rule "blck"`:     {"rules", file, "a.test@v1.0.0"},
		"flag provided but not defined": {"rules", "-x"},
		"malformed module path":         {"rules", os.DevNull, "a b@v1.0.0"},
		"v1.0 is no canonical version":  {"rules", os.DevNull, "a.test@v1.0"},
		"private pattern":               {"rules", "-private", "[", os.DevNull, "a.test@v1.0.0"},
	} {
		_, err := tool(t, args...)
		assert.ErrorContains(t, err, want)
	}
}
