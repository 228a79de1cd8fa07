package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/athens-go/athens/ledger"
)

// ledgerArgs returns the arguments of proxies that share a ledger of a name. Its private key
// is in a file in dir, which the first start makes.
func ledgerArgs(dir, name string) ([]string, error) {
	if name == "" {
		return nil, nil
	}
	file := filepath.Join(dir, "ledger.key")
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		key, err := ledger.NewKey(name)
		if err != nil {
			return nil, err
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
			return nil, fmt.Errorf("the key of the ledger: %w", err)
		}
	}
	return []string{"-ledger", name, "-ledger-key", file}, nil
}
