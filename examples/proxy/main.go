// Command proxy is a module proxy near its users. It serves what it holds, sends
// clients on for what it does not hold yet, and catches up in the background.
package main

import (
	"context"
	"io"

	"github.com/athens-go/athens/examples/internal/command"
	"github.com/athens-go/athens/examples/internal/server"
)

func main() { command.Main(run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := server.NewFlags("proxy", "127.0.0.1:3000")
	proxy := flags.ProxyFlags()
	if err := flags.ParseArgs(args, stdout, stderr); err != nil {
		return err
	}
	if err := proxy.Check(); err != nil {
		return err
	}
	log, flush := flags.NewLogger(stderr)
	defer flush()
	parts, err := server.Open(flags, log) // a store on disk, version control, a fill queue
	if err != nil {
		return err
	}
	if err := parts.Use(proxy); err != nil { // the upstream, and when to ask it
		return err
	}
	handler, err := parts.Handler()
	if err != nil {
		return err
	}
	return parts.Serve(ctx, handler, nil, stdout, parts.PasteAt)
}
