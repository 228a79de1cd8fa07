package flock_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/flock"
)

func TestLock(t *testing.T) {
	if !flock.Supported {
		t.Skip("this system has no flock")
	}
	name := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666)
		require.NoError(t, err)
		t.Cleanup(func() { f.Close() })
		return f
	}
	try := func(f *os.File) bool {
		ok, err := flock.Try(f)
		require.NoError(t, err)
		return ok
	}
	a, b := open(), open()
	assert.True(t, try(a))
	assert.False(t, try(b), "another has it")
	flock.Release(a)
	assert.True(t, try(b), "released")
	require.NoError(t, b.Close())
	assert.True(t, try(open()), "closed")

	_, err := flock.Try(b)
	assert.Error(t, err, "closed")
	flock.Release(b)
}

func Example() {
	f, err := os.CreateTemp("", "lock")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.Remove(f.Name())
	mine, err := flock.Try(f)
	fmt.Println(mine, err)
	flock.Release(f)
	// Output: true <nil>
}
