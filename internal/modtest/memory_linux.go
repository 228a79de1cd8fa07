package modtest

import (
	"os"
	"syscall"
)

// memoryRoom is how much room a file system in memory must have for tests, in bytes.
const memoryRoom = 4 << 30

// memoryDir makes a folder on the machine's file system in memory, if there is one that has
// room and from which programs may be run. Otherwise it returns "".
func memoryDir() string {
	const (
		root     = "/dev/shm"
		tmpfs    = 0x01021994
		noExec   = 0x8
		readOnly = 0x1
	)
	var fs syscall.Statfs_t
	if err := syscall.Statfs(root, &fs); err != nil || fs.Type != tmpfs || fs.Flags&(noExec|readOnly) != 0 ||
		fs.Bavail*uint64(fs.Bsize) < memoryRoom {
		return ""
	}
	dir, err := os.MkdirTemp(root, "modtest-")
	if err != nil {
		return ""
	}
	return dir
}
