package modtest

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"testing"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	modzip "golang.org/x/mod/zip"
)

// Version is a module version made of text; the same text makes the same bytes.
type Version struct {
	module.Version
	Info     []byte // .info
	Mod      []byte // .mod
	Zip      []byte // .zip
	Sum      string // h1 of Zip, as in go.sum
	GoModSum string // h1 of Mod
}

// NewVersion makes a valid version from its files, given by their
// slash-separated names in the module. Without a go.mod among them, Mod is the
// one that the go command makes up. The time in Info is that of a
// pseudo-version, otherwise the beginning of 2020.
func NewVersion(t testing.TB, modulePath, version string, files map[string]string) *Version {
	t.Helper()
	v := &Version{Version: module.Version{Path: modulePath, Version: version}}
	if err := v.make(files); err != nil {
		t.Fatalf("modtest: %s: %v", v, err)
	}
	return v
}

func (v *Version) make(files map[string]string) error {
	info := Info{Version: v.Version.Version, Time: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)}
	if module.IsPseudoVersion(info.Version) {
		var err error
		if info.Time, err = module.PseudoVersionTime(info.Version); err != nil {
			return err
		}
	}
	v.Info, _ = json.Marshal(info)
	v.Mod = []byte("module " + modfile.AutoQuote(v.Path) + "\n")
	if mod, ok := files["go.mod"]; ok {
		v.Mod = []byte(mod)
	}
	var list []modzip.File
	for _, name := range slices.Sorted(maps.Keys(files)) {
		list = append(list, zipFile{name, files[name]})
	}
	var packed bytes.Buffer
	if err := modzip.Create(&packed, v.Version, list); err != nil {
		return err
	}
	v.Zip = packed.Bytes()
	unpacked, err := zip.NewReader(bytes.NewReader(v.Zip), int64(len(v.Zip)))
	if err != nil {
		return err
	}
	var names []string
	for _, f := range unpacked.File {
		names = append(names, f.Name)
	}
	v.Sum, err = dirhash.Hash1(names, func(name string) (io.ReadCloser, error) { return unpacked.Open(name) })
	if err != nil {
		return err
	}
	v.GoModSum, err = dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(v.Mod)), nil
	})
	return err
}

// zipFile is a regular file in memory, for the module zip's packer.
type zipFile struct{ name, content string }

func (f zipFile) Path() string                { return f.name }
func (f zipFile) Lstat() (fs.FileInfo, error) { return fileInfo{f}, nil }
func (f zipFile) Open() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader([]byte(f.content))), nil
}

// fileInfo is a zipFile's description.
type fileInfo struct{ f zipFile }

func (i fileInfo) Name() string       { return path.Base(i.f.name) }
func (i fileInfo) Size() int64        { return int64(len(i.f.content)) }
func (i fileInfo) Mode() fs.FileMode  { return 0o644 }
func (i fileInfo) ModTime() time.Time { return time.Time{} }
func (i fileInfo) IsDir() bool        { return false }
func (i fileInfo) Sys() any           { return nil }
