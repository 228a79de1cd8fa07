package storage

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage/storagetest"
	"github.com/spf13/afero"
	"golang.org/x/mod/module"
)

// FuzzInfo serves whatever bytes an adopted .info has as they are, or not.
func FuzzInfo(f *testing.F) {
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	for _, seed := range []string{
		"", "{}", "null", "[]", `{"Version":"v1.0.0","Time":"2021-02-03T04:05:00Z"}`, `{"version":"v1.0.0"}`,
		`{"Version":"v1.0.1"}`, `{"Version":"v1.0.0","Origin":null}`, `{"Version":"v1.0.0","Origin":{"Hash":7}}`, `{"Version":"v1.0.0"} `,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fsys := afero.NewMemMapFs()
		for ext, content := range map[string][]byte{".info": data, ".mod": a.Mod} {
			if err := afero.WriteFile(fsys, "/example.com/mod/@v/v1.0.0"+ext, content, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		s, err := New(fsys, "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			obj, err := s.Open(t.Context(), a.Module, athens.InfoFile)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(obj.Body)
			var info athens.Info
			if err != nil || !bytes.Equal(got, data) || json.Unmarshal(got, &info) != nil || info.Version != "v1.0.0" {
				t.Errorf("served %q, %v for %q", got, err, data)
			}
		}
		var conflict *athens.ConflictError
		if err := a.Put(t.Context(), s); err != nil && !errors.As(err, &conflict) {
			t.Errorf("Put beside %q: %v", data, err)
		}
	})
}

// FuzzNames takes for a version only what the store would name so itself.
func FuzzNames(f *testing.F) {
	for _, seed := range []string{"v1.0.0.mod", "v1.0.0-!r!c1.mod", "v2.0.0+incompatible.mod", "v1.mod", ".mod", "!!.mod", "v1.0.0-\xff.mod", "list"} {
		f.Add("example.com/mod", seed)
	}
	f.Add("gopkg.in/yaml.v2", "v2.0.0.mod")
	s := NewMemory()
	f.Fuzz(func(t *testing.T, path, name string) {
		v, ok := versionOf(path, name, ".mod")
		if !ok || module.CheckPath(path) != nil {
			return
		}
		base, err := s.base(module.Version{Path: path, Version: v})
		if err != nil || filepath.Base(base)+".mod" != name {
			t.Errorf("%q is version %q, whose file is %q, %v", name, v, base, err)
		}
	})
}

// FuzzBase keeps every name inside the tree and out of the hidden folder.
func FuzzBase(f *testing.F) {
	f.Add("example.com/mod", "v1.0.0")
	f.Add("../up", "v1.0.0")
	f.Add("example.com/./mod/../..", "v1.0.0")
	f.Add(".athens/stage", "v1.0.0-../../x")
	f.Add("example.com\\mod", "v1.0.0\x00")
	s := NewMemory()
	f.Fuzz(func(t *testing.T, path, version string) {
		base, err := s.base(module.Version{Path: path, Version: version})
		if err != nil {
			return
		}
		rel, err := filepath.Rel(s.dir, base)
		first, _, _ := strings.Cut(filepath.ToSlash(rel), "/")
		if err != nil || first == ".." || first == hidden || filepath.Base(filepath.Dir(base)) != "@v" {
			t.Errorf("%q %q has the files %q", path, version, base)
		}
		if v, ok := versionOf(path, filepath.Base(base)+".mod", ".mod"); !ok || v != version {
			t.Errorf("%q has the file %q, which is version %q", version, base, v)
		}
	})
}

// FuzzHashFile takes a .ziphash for a hash only if it is one.
func FuzzHashFile(f *testing.F) {
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	for _, seed := range []string{"", "h1:", a.H1, a.H1 + "\n", a.H1[:40], strings.Repeat("\x00", 47), "h2:" + a.H1[3:]} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fsys := afero.NewMemMapFs()
		if err := afero.WriteFile(fsys, "/v.ziphash", data, 0o666); err != nil {
			t.Fatal(err)
		}
		s := &Store{fs: fsys, dir: "/"}
		h1, err := s.readHash("/v.ziphash")
		if err != nil || h1 != "" && (!isHash(h1) || strings.TrimSpace(string(data)) != h1) {
			t.Errorf("read %q, %v from %q", h1, err, data)
		}
	})
}

// FuzzZipHash reads an adopted zip, whatever it is.
func FuzzZipHash(f *testing.F) {
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	f.Add(a.Zip)
	f.Add(a.Zip[:len(a.Zip)/2])
	f.Add([]byte("PK\x05\x06" + strings.Repeat("\x00", 18)))
	var twice bytes.Buffer
	w := zip.NewWriter(&twice)
	for range 2 {
		if _, err := w.Create("same/name"); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(twice.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		h1, err := zipHash(t.Context(), bytes.NewReader(data), int64(len(data)), 1<<20)
		if err == nil && !isHash(h1) {
			t.Errorf("the hash of %q is %q", data, h1)
		}
	})
}

// FuzzSumDBName keeps under any name, or refuses: no file comes to be outside of
// the folder for it, and what is under a name is what was put under it.
func FuzzSumDBName(f *testing.F) {
	for _, name := range []string{
		"sum.test/head", "sum.test/tile/8/0/x001/234", "sum.test/lookup/example.com/!m@v1.0.0", "", ".", "..", "../x", "a/../../x", "/etc/passwd", "a//b",
		"a/", "a\x00b", `a\..\..\b`, "C:/x", "sum.test:8443/head", strings.Repeat("a/", 3000) + "b",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		fsys := afero.NewMemMapFs()
		s, err := New(fsys, "/store", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.PutSumDB(t.Context(), name, []byte(name)); err == nil {
			got, err := s.GetSumDB(t.Context(), name)
			if err != nil || string(got) != name {
				t.Errorf("under %q is %q, %v", name, got, err)
			}
		} else if _, err := s.GetSumDB(t.Context(), name); err == nil {
			t.Errorf("%q was refused, and is there", name)
		}
		err = afero.Walk(fsys, "/", func(file string, info fs.FileInfo, err error) error {
			if err == nil && !info.IsDir() && !strings.HasPrefix(file, "/store/sumdb/") {
				t.Errorf("%q became %s", name, file)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
