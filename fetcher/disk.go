package fetcher

import (
	"io/fs"
	"os"
)

// disk is the operating system's file system, for internal/durable.
type disk struct{}

func (disk) OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	return os.OpenFile(name, flag, perm)
}
func (disk) Mkdir(name string, perm fs.FileMode) error { return os.Mkdir(name, perm) }
func (disk) Rename(from, to string) error              { return os.Rename(from, to) }
func (disk) Remove(name string) error                  { return os.Remove(name) }
func (disk) Stat(name string) (fs.FileInfo, error)     { return os.Stat(name) }
