package storagetest_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"strings"

	"golang.org/x/mod/module"
)

func (t *toy) sumKey(name string) string {
	switch t.bug {
	case "sumdb folds case":
		return strings.ReplaceAll(name, "!", "")
	case "sumdb takes a partial tile for a full one":
		name, _, _ = strings.Cut(name, ".p/")
	}
	return name
}

// GetSumDB is broken in the way of the toy's bug.
func (t *toy) GetSumDB(ctx context.Context, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil && t.bug != "sumdb-canceled Get" {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.looks++
	if !fs.ValidPath(name) || name == "." {
		return nil, errors.New("malformed name")
	}
	data, ok := t.sums[t.sumKey(name)]
	switch {
	case !ok && t.bug == "sumdb missing is another error":
		return nil, errors.New("not here")
	case !ok:
		return nil, fs.ErrNotExist
	case t.bug == "sumdb-copies Get":
		return data, nil
	case t.bug == "sumdb is text":
		return bytes.ToValidUTF8(data, nil), nil
	}
	return bytes.Clone(data), nil
}

// PutSumDB is, too.
func (t *toy) PutSumDB(ctx context.Context, name string, data []byte) error {
	if err := ctx.Err(); err != nil && t.bug != "sumdb-canceled Put" {
		return err
	}
	if bad := !fs.ValidPath(name) || name == "."; bad && t.bug != "sumdb takes any name" {
		return errors.New("malformed name")
	}
	if bad := len(data) == 0 || len(data) > 1<<20; bad && t.bug != "sumdb takes any size" {
		return errors.New("bad size")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	key := t.sumKey(name)
	if t.sums == nil {
		t.sums = map[string][]byte{}
	}
	_, held := t.sums[key]
	switch {
	case held && t.bug == "sumdb never replaces":
		return nil
	case held && t.bug == "sumdb same again is an error":
		return errors.New("exists")
	case held && t.bug == "sumdb-replace in two steps":
		t.sums[key] = data[:len(data)/2]
		t.seen()
	case t.bug == "sumdb-copies Put":
		t.sums[key] = data
		return nil
	case t.bug == "sumdb is listed":
		m := module.Version{Path: "sum.example.com", Version: "v1.0.0"}
		t.versions[m] = &entry{mod: data}
	}
	t.sums[key] = bytes.Clone(data)
	return nil
}
