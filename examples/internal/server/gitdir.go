package server

import (
	"context"
	"fmt"
	"os"
)

// gitDir makes the folder for repositories. If the store can't be written, as on a full disk or in
// another program's module cache, the stored versions are still served: the repositories are then
// in a temporary folder.
func (p *Parts) gitDir() (string, error) {
	dir, err := p.Flags.GitDir()
	if err != nil {
		return "", err
	}
	if err = os.MkdirAll(dir, 0o777); err == nil {
		return dir, nil
	}
	if p.Store.Writable(context.Background()) == nil {
		return "", fmt.Errorf("repositories: %w", err)
	}
	p.Log.Warn("can't write to the store: fetched modules are served, but not stored", "error", err)
	if dir, err = os.MkdirTemp("", "athens-git-"); err != nil {
		return "", fmt.Errorf("repositories: %w", err)
	}
	p.closers = append(p.closers, func() {
		if err := os.RemoveAll(dir); err != nil {
			p.Log.Warn("closing", "error", err)
		}
	})
	return dir, nil
}
