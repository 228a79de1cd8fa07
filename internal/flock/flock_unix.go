//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package flock

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Supported says whether this system has locks on files.
const Supported = true

// Try takes the exclusive lock on an open file if no other open file has it, and reports
// whether it did. The lock ends when f is closed, or with the process.
func Try(f *os.File) (bool, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	var lockErr error
	err = conn.Control(func(fd uintptr) {
		for {
			lockErr = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB)
			if !errors.Is(lockErr, syscall.EINTR) {
				return
			}
		}
	})
	switch {
	case err != nil:
		return false, err
	case errors.Is(lockErr, syscall.EWOULDBLOCK):
		return false, nil
	case lockErr != nil:
		return false, fmt.Errorf("lock %s: %w", f.Name(), lockErr)
	}
	return true, nil
}

// Release gives the lock on f back and closes it. Closing alone would leave the
// lock to a child process that another goroutine has just forked, until that
// runs its program, and to this one if the close failed.
func Release(f *os.File) {
	if conn, err := f.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { _ = syscall.Flock(int(fd), syscall.LOCK_UN) })
	}
	f.Close()
}
