package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/ledger"
	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/storagetest"
)

// commandsOf returns the blocks of shell commands in a section of a page.
func commandsOf(t *testing.T, page, section string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(modtest.RootDir(t), "docs", page))
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(text), "\n## "+section+"\n")
	require.True(t, ok)
	rest, _, _ = strings.Cut(rest, "\n## ")
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(rest, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// A store and a ledger are copied, with the commands of docs/operations.md, while somebody writes.
// The copy is restored, and is sound.
func TestBackup(t *testing.T) {
	if _, err := exec.LookPath("tar"); err != nil {
		t.Skipf("skipped, the commands of docs/operations.md are not run: %v", err)
	}
	blocks := commandsOf(t, "operations.md", "Backup and restore")
	require.Len(t, blocks, 2)
	place := t.TempDir()
	dir := filepath.Join(place, "athens")
	require.NoError(t, os.Symlink(modtest.Build(t, "./examples/store"), filepath.Join(place, "store")))
	shell := func(commands string) error {
		cmd := exec.CommandContext(t.Context(), "sh", "-ec", strings.ReplaceAll(commands, "/var/lib/athens", dir))
		cmd.Dir = place
		cmd.Env = append(os.Environ(), "PATH="+place+string(os.PathListSeparator)+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		return err
	}
	store, err := storage.NewDisk(dir, nil)
	require.NoError(t, err)
	key, err := ledger.NewKey("sum.test")
	require.NoError(t, err)
	book, err := ledger.New(filepath.Join(dir, ".ledger"), key, nil)
	require.NoError(t, err)
	write := func(i int) storagetest.Sample {
		v := storagetest.NewSample(fmt.Sprintf("example.com/m%d", i%7), fmt.Sprintf("v1.%d.0", i), "")
		require.NoError(t, v.Store(t.Context(), store))
		_, err := book.Add(t.Context(), v.Module, v.H1, v.H1)
		require.NoError(t, err)
		return v
	}
	const before = 20
	var held []storagetest.Sample
	for i := range before {
		held = append(held, write(i))
	}
	copied := make(chan error, 1)
	go func() {
		err := shell(strings.ReplaceAll(blocks[0], " .\n", " . || test $? = 1\n")) // what the page says of it
		copied <- err
	}()
	for i, done := before, false; !done; i++ {
		select {
		case err := <-copied:
			require.NoError(t, err)
			done = true
		default:
			write(i)
		}
	}
	require.NoError(t, book.Close())
	require.NoError(t, os.RemoveAll(dir))

	var exit *exec.ExitError
	if err := shell(blocks[1]); err != nil { // what was cut off is moved out of the way
		require.ErrorAs(t, err, &exit)
		require.Equal(t, 1, exit.ExitCode())
	}
	out, err := tool(t, "verify", "-dir", dir)
	require.NoError(t, err, out)
	store, err = storage.NewDisk(dir, nil)
	require.NoError(t, err)
	book, err = ledger.New(filepath.Join(dir, ".ledger"), key, nil)
	require.NoError(t, err)
	defer func() { assert.NoError(t, book.Close()) }()
	require.NoError(t, book.Check(t.Context()))
	for _, v := range held {
		require.NoError(t, v.Whole(t.Context(), store))
		_, err := book.Lookup(t.Context(), v.Module)
		require.NoError(t, err)
	}
	// Whatever was copied in part can be stored again.
	for m, err := range store.All(t.Context()) {
		require.NoError(t, err)
		v := storagetest.NewSample(m.Path, m.Version, "")
		require.NoError(t, errors.Join(v.Store(t.Context(), store), v.Whole(context.WithoutCancel(t.Context()), store)))
	}
}
