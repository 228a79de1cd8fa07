package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"strings"

	"github.com/athens-go/athens/examples/internal/storetool"
	"github.com/athens-go/athens/storage"
)

// commands are what the tool can do.
func commands() map[string]storetool.Command {
	all := map[string]storetool.Command{
		"verify": {Run: verify},
		"rules":  {Run: explainRules, Usage: "FILE MODULE[@VERSION]"},
		"token":  {Run: makeToken},
	}
	folders := storetool.Tool{
		Place: "`folder`",
		Open:  func(_ context.Context, dir string) (storetool.Store, func() error, error) { return open(dir, true) },
		Make:  func(_ context.Context, dir string) (storetool.Store, func() error, error) { return open(dir, false) },
	}
	maps.Copy(all, folders.Commands())
	return all
}

// open opens the store in a folder, which must be there, or is made.
func open(dir string, must bool) (storetool.Store, func() error, error) {
	info, err := os.Stat(dir)
	switch {
	case strings.Contains(dir, "://"):
		err = fmt.Errorf("%s is no folder; for a bucket, run in examples/cluster: go run ./replica store COMMAND -dir %s", dir, dir)
	case !must && errors.Is(err, fs.ErrNotExist):
		err = nil
	case err == nil && !info.IsDir():
		err = fmt.Errorf("%s is not a folder", dir)
	}
	if err != nil {
		return nil, nil, err
	}
	// The tool reads each file once: nothing is gained by keeping them in memory.
	store, err := storage.NewDisk(dir, &storage.Options{FileCacheBytes: -1})
	if err != nil {
		return nil, nil, err
	}
	return store, func() error { return nil }, nil
}
