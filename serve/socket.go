package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/athens-go/athens/internal/flock"
)

// socketLockTimeout bounds the wait for another process that listens in the same folder just
// now.
const socketLockTimeout = 5 * time.Second

// listen listens on host:port, or on the socket file of unix:PATH, with that mode.
func listen(addr string, mode fs.FileMode) (net.Listener, error) {
	path, isFile := strings.CutPrefix(addr, "unix:")
	if !isFile {
		return net.Listen("tcp", addr)
	}
	if err := checkSocketPath(path); err != nil {
		return nil, err
	}
	unlock, err := lockFolder(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// checkSocketPath refuses what no socket file can have as its path.
func checkSocketPath(path string) error {
	most := 103 // bytes: of sun_path, without the zero byte at its end
	if runtime.GOOS == "linux" || runtime.GOOS == "windows" {
		most = 107
	}
	switch {
	case path == "":
		return errors.New("serve: unix: has no path; give unix:PATH")
	case path[0] == '@':
		return fmt.Errorf("serve: unix:%s is an abstract socket, which everybody on the machine could use; give the path of a file", path)
	case len(path) > most:
		return fmt.Errorf("serve: the path of a socket has at most %d bytes on this system, but %s has %d; choose a shorter one", most, path, len(path))
	}
	return nil
}

// lockFolder keeps other servers from listening in a folder, so that no two of them take a
// socket file for stale at once. Where folders can't be locked, nothing is.
func lockFolder(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("serve: the folder of the socket: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), socketLockTimeout)
	defer cancel()
	for {
		locked, err := flock.Try(f)
		if locked || err != nil {
			return func() { _ = f.Close() }, nil // with it the lock ends
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("serve: another process holds a lock on %s", dir)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// removeStale removes the socket file that a killed server has left. One on which somebody
// listens, and what is no socket, is an error.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("serve: %s exists and is not a socket; remove it or choose another path", path)
	}
	conn, err := net.Dial("unix", path)
	switch {
	case err == nil:
		_ = conn.Close()
		return fmt.Errorf("serve: another process listens on %s", path)
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("serve: can't tell whether another process listens on %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("serve: the socket of a server that has ended: %w", err)
	}
	return nil
}
