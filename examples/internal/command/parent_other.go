//go:build !unix

package command

import "context"

// withGoRun returns ctx: on this system a process does not learn that its parent has ended.
func withGoRun(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}
