package server

import (
	"context"
	"fmt"
	"os"
)

// gitDir makes the folder for repositories. Where the store can't be written, as
// a module cache that somebody else fills or a full disk, what it holds is served
// all the same: the repositories are in a temporary folder then.
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
	p.Log.Warn("the store can't be written: what it does not hold is not kept", "error", err)
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
