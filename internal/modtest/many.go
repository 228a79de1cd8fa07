package modtest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// The shape of a tree that [ManyVersions] makes.
const (
	ManyHost    = "many.test"
	ManyLargest = ManyHost + "/largest" // a module with ManyInLargest versions
	// ManyInLargest is how many versions that module has, v1.0.0 to v1.0.999.
	ManyInLargest = 1000

	inModule = 25  // versions of each other module
	inOwner  = 400 // modules of each owner
)

// ManyVersions makes a GOPROXY tree in dir with so many versions, at least
// [ManyInLargest], without their zips: those of [ManyLargest], and of modules
// many.test/owner/module with a few each. The files are hard links to a few,
// which takes a tenth of the time and next to no room.
func ManyVersions(t testing.TB, dir string, versions int) {
	t.Helper()
	first, err := firstFiles(filepath.Join(dir, ".first"))
	if err == nil {
		err = manyModule(dir, "largest", first, ManyInLargest)
	}
	if err != nil {
		t.Fatal(err)
	}
	rest := versions - ManyInLargest
	errs := make(chan error, runtime.NumCPU())
	var next sync.Mutex
	for range cap(errs) {
		go func() {
			for {
				next.Lock()
				n := min(rest, inModule)
				at := (versions - rest) / inModule
				rest -= n
				next.Unlock()
				if n <= 0 {
					errs <- nil
					return
				}
				if err := manyModule(dir, fmt.Sprintf("owner%d/module%d", at/inOwner, at), first, n); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, ".first")); err != nil || t.Failed() {
		t.FailNow()
	}
}

// firstFiles makes the .info files that all modules share, and returns their
// names without extension.
func firstFiles(dir string) ([]string, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	var first []string
	for i := range ManyInLargest {
		version := fmt.Sprintf("v1.0.%d", i)
		info := fmt.Sprintf(`{"Version":%q,"Time":"2020-01-01T00:00:00Z"}`, version)
		first = append(first, filepath.Join(dir, version))
		if err := os.WriteFile(first[i]+".info", []byte(info), 0o666); err != nil {
			return nil, err
		}
	}
	return first, nil
}

// manyModule makes a module with the first n versions.
func manyModule(dir, name string, first []string, n int) error {
	folder := filepath.Join(dir, ManyHost, filepath.FromSlash(name), "@v")
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	mod := ""
	for _, from := range first[:n] {
		to := filepath.Join(folder, filepath.Base(from))
		if err := os.Link(from+".info", to+".info"); err != nil {
			return err
		}
		if mod == "" {
			mod = to + ".mod"
			if err := os.WriteFile(mod, []byte("module "+ManyHost+"/"+name+"\n"), 0o666); err != nil {
				return err
			}
		} else if err := os.Link(mod, to+".mod"); err != nil {
			return err
		}
	}
	return nil
}
