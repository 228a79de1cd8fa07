//go:build unix

package homefile_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/homefile"
)

// A file that can't be read is reported and is otherwise absent.
func TestOptional(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, []byte("12345"), 0o600))
	loop := filepath.Join(dir, "loop")
	require.NoError(t, os.Symlink(loop, loop))
	pipe := filepath.Join(dir, "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	for name, c := range map[string]struct {
		file string
		max  int64
		want string
		err  string
	}{
		"read":           {file: file, max: 5, want: "12345"},
		"absent":         {file: filepath.Join(dir, "absent"), max: 5},
		"device":         {file: os.DevNull, max: 5},
		"too long":       {file: file, max: 4, err: "longer than 4 bytes"},
		"folder":         {file: dir, max: 5, err: "is a directory"},
		"through a file": {file: filepath.Join(file, "x"), max: 5, err: "not a directory"},
		"loop":           {file: loop, max: 5, err: "too many"},
		"long name":      {file: filepath.Join(dir, strings.Repeat("x", 300)), max: 5, err: "too long"},
		"pipe":           {file: pipe, max: 5, err: "not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			var said []string
			got := homefile.Optional(c.file, c.max, func(name string, err error) {
				assert.Equal(t, c.file, name)
				said = append(said, err.Error())
			})
			assert.Equal(t, c.want, string(got))
			if c.err == "" {
				assert.Empty(t, said)
				return
			}
			require.Len(t, said, 1)
			assert.Contains(t, said[0], c.err)
			_, err := homefile.Read(c.file, c.max)
			assert.ErrorContains(t, err, c.err)
			assert.NotErrorIs(t, err, fs.ErrNotExist)
			assert.Nil(t, homefile.Optional(c.file, c.max, nil))
		})
	}
}
