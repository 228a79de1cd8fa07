package osv

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/athens-go/athens/internal/limit"
)

// Limits of a database.
const (
	maxRecords = 200_000
	maxBytes   = 1 << 30 // of all records, unpacked
)

// Open reads a database: a folder, or a zip. It is an error if a record can't be read, or
// if there is none about a Go module; more than 200,000 records, 1 GiB in all, or 4 MiB in
// one, are errors too.
func Open(name string) (*DB, error) {
	at, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("advisories: %w", err)
	}
	var tree fs.FS
	if at.IsDir() {
		tree = os.DirFS(name)
	} else {
		z, err := zip.OpenReader(name)
		if err != nil {
			return nil, fmt.Errorf("advisories: %s is neither a folder nor a zip: %w", name, err)
		}
		defer z.Close()
		tree = &z.Reader
	}
	db, err := Read(tree)
	if err != nil {
		return nil, fmt.Errorf("advisories: %s: %w", name, err)
	}
	return db, nil
}

// Read is Open for a tree of files. Each .json outside of the index of a Go vulnerability
// database is a record.
func Read(tree fs.FS) (*DB, error) {
	all := &reading{modules: make(map[string][]affected)}
	budget, files := limit.NewBudget(maxBytes), 0
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (name == "index" || name != "." && strings.HasPrefix(entry.Name(), ".")):
			return fs.SkipDir
		case entry.IsDir() || path.Ext(name) != ".json":
			return nil
		}
		if files++; files > maxRecords {
			return fmt.Errorf("more than %d records", maxRecords)
		}
		data, err := readFile(tree, name, budget)
		if err == nil {
			err = all.add(data)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	if err == nil && all.records == 0 {
		err = errors.New("no advisory about a Go module is in it")
	}
	if err != nil {
		return nil, err
	}
	return all.pack(), nil
}

func readFile(tree fs.FS, name string, budget *limit.Budget) ([]byte, error) {
	f, err := tree.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return limit.ReadAll(budget.Reader(io.Reader(f)), maxRecordBytes)
}
