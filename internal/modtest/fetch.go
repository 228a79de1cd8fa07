package modtest

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"

	"github.com/athens-go/athens"
)

// Files are the three files of a version, as a Fetcher gave them.
type Files struct {
	Info   *athens.Info
	Mod    []byte
	Sum    string   // h1 of the zip
	ModSum string   // h1 of Mod
	Names  []string // in the zip, below the folder that is called path@version
}

// FetchAll fetches the three files of a version, and hashes its zip.
func FetchAll(t testing.TB, f athens.Fetcher, path, version string) (Files, error) {
	t.Helper()
	return Fetch(t.Context(), f, path, version)
}

// Fetch is [FetchAll] for processes that are not a test.
func Fetch(ctx context.Context, f athens.Fetcher, path, version string) (got Files, err error) {
	c, err := f.Fetch(ctx, module.Version{Path: path, Version: version})
	if err != nil {
		return got, err
	}
	if got.Info, err = c.Info(ctx); err != nil {
		return got, err
	}
	if got.Mod, err = c.Mod(ctx); err != nil {
		return got, err
	}
	got.ModSum, err = dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(got.Mod)), nil
	})
	if err != nil {
		return got, err
	}
	var packed bytes.Buffer
	if err := c.Zip(ctx, &packed); err != nil {
		return got, err
	}
	unpacked, err := zip.NewReader(bytes.NewReader(packed.Bytes()), int64(packed.Len()))
	if err != nil {
		return got, fmt.Errorf("%s@%s: not a zip: %w", path, version, err)
	}
	folder := len(path + "@" + version + "/")
	var names []string
	for _, f := range unpacked.File {
		names = append(names, f.Name)
		got.Names = append(got.Names, f.Name[min(folder, len(f.Name)):])
	}
	got.Sum, err = dirhash.Hash1(names, func(name string) (io.ReadCloser, error) { return unpacked.Open(name) })
	return got, err
}

// JSON writes v as the .info files are written, but indented.
func JSON(t testing.TB, v any) string {
	t.Helper()
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
