package storage_test

import (
	"fmt"
	"testing"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/storagetest"
)

func stores(b *testing.B) map[string]*storage.Store {
	return map[string]*storage.Store{"disk": newDisk(b, b.TempDir()), "memory": storage.NewMemory()}
}

// BenchmarkPut puts versions of a hundred modules in turn.
func BenchmarkPut(b *testing.B) {
	for name, s := range stores(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				a := storagetest.NewSample(fmt.Sprintf("example.com/%s%d", name, i%100), fmt.Sprintf("v1.0.%d", i/100), "")
				if err := a.Put(b.Context(), s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpenWarm opens what was opened before.
func BenchmarkOpenWarm(b *testing.B) {
	a := storagetest.NewSample("example.com/Some/mod", "v1.0.0", "")
	for name, s := range stores(b) {
		if err := a.Store(b.Context(), s); err != nil {
			b.Fatal(err)
		}
		for _, f := range []athens.File{athens.InfoFile, athens.ModFile, athens.ZipFile} {
			b.Run(name+"/"+f.String(), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					obj, err := s.Open(b.Context(), a.Module, f)
					if err != nil {
						b.Fatal(err)
					}
					if err := obj.Body.Close(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkVersions lists a module with 300 versions.
func BenchmarkVersions(b *testing.B) {
	for name, s := range stores(b) {
		for i := range 300 {
			if err := storagetest.NewSample("example.com/mod", fmt.Sprintf("v1.0.%d", i), "").Put(b.Context(), s); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				list, err := s.Versions(b.Context(), "example.com/mod")
				if err != nil || len(list) != 300 {
					b.Fatal(len(list), err)
				}
			}
		})
	}
}
