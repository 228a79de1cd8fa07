package main

import (
	"context"
	"errors"
	"fmt"
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
		"fill":   {Run: fill, Usage: "FILE|FOLDER …"},
		"export": {Run: export, Usage: "OUT"},
		"import": {Run: importAny, Usage: "FILE|FOLDER|URL LIST …"},
	}
	folders := storetool.Tool{Place: "`folder`", Open: func(_ context.Context, dir string) (storetool.Store, func() error, error) {
		store, err := openStore(dir)
		return store, func() error { return nil }, err
	}}
	maps.Copy(all, folders.Commands())
	return all
}

// openStore opens a store that is there.
func openStore(dir string) (*storage.Store, error) {
	switch info, err := os.Stat(dir); {
	case dir == "":
		return nil, errors.New("-dir is missing")
	case strings.Contains(dir, "://"):
		return nil, fmt.Errorf("%s is no folder; for a bucket, run in examples/cluster: go run ./replica store COMMAND -dir %s", dir, dir)
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fmt.Errorf("%s is not a folder", dir)
	}
	return storage.NewDisk(dir, nil)
}
