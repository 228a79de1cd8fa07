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
