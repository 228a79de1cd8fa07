package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What GOSUMDB takes, -sumdb takes: a database by its name, if the go command knows its
// key. The names come from the go command of this machine.
func TestSumDBByName(t *testing.T) {
	goEnviron(t)
	known, err := knownSumDBs()
	require.NoError(t, err)
	require.NotEmpty(t, known)
	second := false
	for name, full := range known {
		got, err := withKey(name)
		require.NoError(t, err)
		assert.Equal(t, full, got)
		words := strings.Fields(full)
		assert.Regexp(t, `^[^+]+\+[0-9a-f]{8}\+.{40,}$`, words[0])
		second = second || len(words) == 2

		got, err = withKey(name + " http://127.0.0.1:9")
		require.NoError(t, err)
		assert.Equal(t, words[0]+" http://127.0.0.1:9", got)
		f, _ := parsed(t, "-sumdb", name)
		sums, err := f.Checksums(nil)
		require.NoError(t, err)
		assert.NotNil(t, sums)
	}
	assert.True(t, second, "the go command knows a database under a second name")

	for _, as := range []string{"sum.test+01234567+AAAA", "sum.test+01234567+AAAA http://127.0.0.1:9", "", "a b c"} {
		got, err := withKey(as)
		require.NoError(t, err)
		assert.Equal(t, as, got)
	}
	_, err = withKey("sum.test")
	assert.ErrorContains(t, err, "-sumdb sum.test: the key is not NAME+HASH+KEY, and the go command knows one only for ")
}

// Without a go command, or without its source, the error says what to give instead.
func TestSumDBWithoutGoCommand(t *testing.T) {
	goEnviron(t)
	bin := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "go"), []byte("#!/bin/sh\necho '{\"GOROOT\": \"/nosuch\"}'\n"), 0o755))
	for _, path := range []string{t.TempDir(), bin} {
		t.Setenv("PATH", path)
		_, err := withKey("sum.test")
		assert.ErrorContains(t, err, "give 'NAME+HASH+KEY [URL]'")
	}
}
