// Command queue is a NATS server with JetStream, for a cluster that has none: package embedded
// with a port.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"

	"github.com/athens-go/athens/backends/nats/embedded"
	"github.com/athens-go/athens/examples/internal/command"
)

func main() { command.Main(run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("queue", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:4222", "serve on this `address`; it needs no login, so clients must not reach it")
	dir := flags.String("dir", "", "keep the streams in this `folder`; required")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s, err := embedded.New(*dir, &embedded.Options{Addr: *addr, Logger: slog.New(slog.NewTextHandler(stderr, nil))})
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, "nats://"+*addr)
	<-ctx.Done()
	return s.Close()
}
