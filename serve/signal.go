package serve

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// NotifyContext returns a copy of ctx that is done at the first SIGINT or SIGTERM, with
// the signal as its cause. The second signal has its usual effect and ends the process at
// once. The function it returns releases the signals.
func NotifyContext(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
