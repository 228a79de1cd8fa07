package serve

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// NotifyContext returns a copy of ctx that is done at the first SIGINT or SIGTERM, with
// the signal as its cause. The second signal has its usual effect and ends the process at
// once. The function it returns releases the signals.
func NotifyContext(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		defer signal.Stop(signals)
		select {
		case s := <-signals:
			signal.Stop(signals) // before ctx is done
			cancel(fmt.Errorf("signal: %v", s))
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// OnHangup calls reload for each SIGHUP until ctx is done: the usual way to have a
// service read its files again. Without it a SIGHUP ends the process.
func OnHangup(ctx context.Context, reload func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	defer signal.Stop(signals)
	for {
		select {
		case <-signals:
			reload()
		case <-ctx.Done():
			return
		}
	}
}
