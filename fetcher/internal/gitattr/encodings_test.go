package gitattr

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEncodingsAsGit compares what becomes of text in each encoding, by each of
// its names and some that are none, with what git makes of it.
func TestEncodingsAsGit(t *testing.T) {
	names := []string{"UTF-8", "utf8", "UTF-8-BOM", "UTF-16-BOM", "UTF16LE-BOM", "UTF16BE-BOM", "UTF-16BE-BOM", "utf-16le-bom", "UTF-32LE-BOM", "UTF-32-BOM", "LATIN1-BOM", "ASCII-BOM"}
	for name := range encodings {
		names = append(names, name)
	}
	texts := []string{"", "plain\n", "café\n", "世界 😀\r\n", "\ufeffmarked\n", "\xff\xfe broken\n", "é\x00\x01\n"}
	files := make(map[string]string)
	for i, name := range names {
		files[fmt.Sprintf("d%03d/.gitattributes", i)] = "*.txt working-tree-encoding=" + name + "\n"
		for j, text := range texts {
			files[fmt.Sprintf("d%03d/%d.txt", i, j)] = text
		}
	}
	want := archived(t, commitFiles(t, files))
	for i, name := range names {
		for j, text := range texts {
			a := New(nil)
			require.NoError(t, addText(a, "", files[fmt.Sprintf("d%03d/.gitattributes", i)]))
			got, err := convert(t, nil, a, "x.txt", text, "")
			if errors.Is(err, errors.ErrUnsupported) {
				continue
			}
			require.NoError(t, err)
			assert.Equal(t, want[fmt.Sprintf("d%03d/%d.txt", i, j)], got, "%s: %q", name, text)
		}
	}
}
