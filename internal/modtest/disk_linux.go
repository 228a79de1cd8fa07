package modtest

import (
	"errors"
	"os"
	"syscall"
	"testing"
)

// SmallDisk returns a folder that is a file system of its own, with room for
// size bytes ("4m"). Where that can't be had the test is skipped.
func SmallDisk(t testing.TB, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("skipped, no disk is really full: a tmpfs can't be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("modtest: %v", err)
		}
	})
	return dir
}

// TakeRoom takes all the room there is on a disk, by a file of that name.
func TakeRoom(t testing.TB, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}
