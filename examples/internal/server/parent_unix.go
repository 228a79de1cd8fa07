//go:build unix

package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// parentInterval is how often a server that "go run" has started looks for it.
const parentInterval = 250 * time.Millisecond

// withGoRun returns a context that is also done when the "go run" that has started this
// process is gone: SIGTERM ends "go run" and is not passed on, and the server would keep
// its port. A server that was started in any other way never looks.
func withGoRun(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	parent := os.Getppid()
	if isGoRun(parent) {
		go func() {
			tick := time.NewTicker(parentInterval)
			defer tick.Stop()
			for os.Getppid() == parent {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
			cancel(errors.New("'go run' has ended"))
		}()
	}
	return ctx, func() { cancel(nil) }
}

// isGoRun reports whether the process is "go run". Where a process can't be looked at, it
// tells by this program's file, which is then one of the go command's build folders.
func isGoRun(pid int) bool {
	if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil {
		args := strings.Split(string(line), "\x00")
		return strings.TrimSuffix(filepath.Base(args[0]), ".exe") == "go" && slices.Contains(args[1:], "run")
	}
	file, err := os.Executable()
	return err == nil && pid > 1 && strings.Contains(filepath.ToSlash(file), "/go-build")
}
