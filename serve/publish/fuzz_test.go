package publish_test

import (
	"archive/zip"
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/afero"
	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/serve/publish"
	"github.com/athens-go/athens/storage"
)

// FuzzUpload uploads anything: it is refused as a fault of the publisher, and nothing of it is
// shown; or it is a zip of that version, which is served as it came.
func FuzzUpload(f *testing.F) {
	m := module.Version{Path: "corp.example/x", Version: "v1.0.0"}
	whole := modtest.NewVersion(f, m.Path, m.Version, map[string]string{"go.mod": "module corp.example/x\n", "x.go": "package x\n"}).Zip
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(whole[1:])
	f.Add(append([]byte("#!/bin/sh\n"), whole...))
	f.Add(append(bytes.Clone(whole), whole...))
	f.Add([]byte{})
	for _, name := range []string{"corp.example/x@v1.0.0/go.mod", "corp.example/x@v1.0.0/../go.mod", "corp.example/x@v1.0.0/GO.MOD", "corp.example/y@v1.0.0/go.mod"} {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		if file, err := w.Create(name); err == nil {
			_, _ = file.Write([]byte("module corp.example/x\n"))
		}
		_ = w.Close()
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		store, err := storage.New(afero.NewMemMapFs(), "/store", nil)
		if err != nil {
			t.Fatal(err)
		}
		handler, err := athens.NewHandler(store, &athens.Options{Private: "none", Published: "corp.example", MaxZipBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = handler.Shutdown(context.Background()) }() // nothing runs
		api, err := publish.New(handler, &publish.Options{Publish: func(*http.Request, string) (string, error) { return "ci", nil }})
		if err != nil {
			t.Fatal(err)
		}
		root := api.Front(handler)
		put, got := ask(root, "PUT", path, data), ask(root, "GET", path, nil)
		switch put.Code {
		case http.StatusCreated:
			if got.Code != http.StatusOK || !bytes.Equal(got.Body.Bytes(), data) {
				t.Fatalf("what was taken is not what is served: %d", got.Code)
			}
			if again := ask(root, "PUT", path, data); again.Code != http.StatusOK {
				t.Fatalf("the same again: %d %s", again.Code, again.Body)
			}
			checkZip(t, data, m)
		case http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
			held, err := store.Versions(t.Context(), m.Path)
			if err != nil || len(held) > 0 || got.Code != http.StatusNotFound {
				t.Fatalf("something of what was refused is there: %v %v %d", held, err, got.Code)
			}
		default:
			t.Fatalf("%d %s", put.Code, put.Body)
		}
	})
}

// checkZip wants the go command to accept a zip.
func checkZip(t *testing.T, data []byte, m module.Version) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "zip")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	checked, err := modzip.CheckZip(m, file)
	if err == nil {
		err = checked.Err()
	}
	if err != nil {
		t.Fatalf("the go command refuses it: %v", err)
	}
}
