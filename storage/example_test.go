package storage_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage"
	"github.com/spf13/afero"
	"golang.org/x/mod/module"
)

// A version is held once it was Put; its zip can come later.
func Example() {
	dir, err := os.MkdirTemp("", "athens-*")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := storage.NewDisk(dir, nil)
	if err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	m := module.Version{Path: "example.com/Hello", Version: "v1.0.0"}
	info := &athens.Info{Version: m.Version, Time: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)}
	if err := store.Put(ctx, m, info, []byte("module example.com/Hello\n")); err != nil {
		log.Fatal(err)
	}
	versions, err := store.Versions(ctx, m.Path)
	fmt.Println(versions, err)

	obj, err := store.Open(ctx, m, athens.InfoFile)
	if err != nil {
		log.Fatal(err)
	}
	defer obj.Body.Close()
	text, err := io.ReadAll(obj.Body)
	fmt.Println(string(text), err)

	_, err = store.Open(ctx, m, athens.ZipFile)
	fmt.Println("the zip is not held:", errors.Is(err, fs.ErrNotExist))

	err = store.Put(ctx, m, info, []byte("module example.com/Hello\n\ngo 1.26\n"))
	var conflict *athens.ConflictError
	fmt.Println("what is held stays:", errors.As(err, &conflict))

	list, err := os.ReadFile(filepath.Join(dir, "example.com", "!hello", "@v", "list"))
	fmt.Printf("%q %v\n", list, err)
	// Output:
	// [v1.0.0] <nil>
	// {"Version":"v1.0.0","Time":"2024-05-06T07:08:09Z"} <nil>
	// the zip is not held: true
	// what is held stays: true
	// "v1.0.0\n" <nil>
}

// What a disk has damaged is found, and does not come back as something else.
func ExampleStore_Verify() {
	disk, ctx := afero.NewMemMapFs(), context.Background()
	store, err := storage.New(disk, "/modules", nil)
	if err != nil {
		log.Fatal(err)
	}
	m := module.Version{Path: "example.com/hello", Version: "v1.0.0"}
	info := &athens.Info{Version: m.Version, Time: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)}
	if err := store.Put(ctx, m, info, []byte("module example.com/hello\n")); err != nil {
		log.Fatal(err)
	}
	if err := afero.WriteFile(disk, "/modules/example.com/hello/@v/v1.0.0.mod", []byte("module example.com/hallo\n"), 0o666); err != nil {
		log.Fatal(err)
	}
	for checked, err := range store.Verify(ctx, &storage.VerifyOptions{Quarantine: true}) {
		if err != nil {
			log.Fatal(err)
		}
		for _, p := range checked.Problems {
			fmt.Println(p.File, "is", p.Kind, "and now", p.Moved)
		}
	}
	err = store.Put(ctx, m, info, []byte("module example.com/hallo\n"))
	var conflict *athens.ConflictError
	fmt.Println("what was held comes back or nothing:", errors.As(err, &conflict))
	// Output:
	// v1.0.0.mod is damaged and now .athens/quarantine/example.com/hello/@v/v1.0.0.mod
	// what was held comes back or nothing: true
}
