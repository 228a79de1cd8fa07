//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package embedded

import "os"

// lock makes the folder. Here nothing keeps two servers from having it.
func lock(dir string) (unlock func() error, err error) {
	return func() error { return nil }, os.MkdirAll(dir, 0o700)
}
