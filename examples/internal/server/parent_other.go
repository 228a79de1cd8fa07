//go:build !unix

package server

import "context"

// withGoRun is for systems on which a process has no parent to lose.
func withGoRun(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}
