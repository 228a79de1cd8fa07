//go:build unix

package command

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

// parentInterval is how often a server checks that the "go run" that started it still runs.
const parentInterval = 250 * time.Millisecond

// withGoRun returns a context that is also done when the "go run" that started this process has
// ended: "go run" does not pass SIGTERM on, and the server would otherwise keep its port. A
// server that was started in any other way ignores its parent.
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

// isGoRun reports whether the process is "go run". On a system without /proc it judges by the
// path of this program, which is then in one of the go command's build folders.
func isGoRun(pid int) bool {
	if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil {
		args := strings.Split(string(line), "\x00")
		return strings.TrimSuffix(filepath.Base(args[0]), ".exe") == "go" && slices.Contains(args[1:], "run")
	}
	file, err := os.Executable()
	return err == nil && pid > 1 && strings.Contains(filepath.ToSlash(file), "/go-build")
}
