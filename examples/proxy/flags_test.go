package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The table of docs/proxy.md has the flags that -h shows, and no others.
func TestFlagsAreDocumented(t *testing.T) {
	var help bytes.Buffer
	require.Error(t, run(context.Background(), []string{"-h"}, io.Discard, &help))
	page, err := os.ReadFile("../../docs/proxy.md")
	require.NoError(t, err)
	names := func(pattern string, text []byte) (all []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
			all = append(all, string(m[1]))
		}
		return all
	}
	assert.ElementsMatch(t, names(`(?m)^  -([a-z-]+)`, help.Bytes()), names("(?m)^\\| `-([a-z-]+)` \\|", page))
}
