// Command proxy is a module proxy near its users. It serves what it holds, sends
// clients on for what it does not hold yet, and catches up in the background.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/examples/internal/server"
)

func main() { server.Main(run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := server.NewFlags("proxy", "127.0.0.1:3000")
	upstream := flags.UpstreamFlag()
	miss := flags.String("miss", "redirect", "for a public module that is not held, `redirect` the client to the upstream, or 'fetch' for it")
	after := flags.Duration("fill-after", 10*time.Second, "fill the store this long after a redirect; 0 means at once")
	fills := flags.String("fill", "asked", "fill what was `asked` for, or 'whole' versions with their zips")
	if err := flags.ParseArgs(args, stderr); err != nil {
		return err
	}
	if *miss != "redirect" && *miss != "fetch" {
		return fmt.Errorf("-miss is redirect or fetch, not %q", *miss)
	}
	if *fills != "asked" && *fills != "whole" {
		return fmt.Errorf("-fill is asked or whole, not %q", *fills)
	}
	if *after < 0 {
		return fmt.Errorf("-fill-after is %v, less than zero", *after)
	}
	log, flush := server.Logger(stderr)
	defer flush()
	parts, err := server.Open(flags, log)
	if err != nil {
		return err
	}
	if err := parts.UseUpstream(*upstream); err != nil {
		return err
	}
	opts := &parts.Options
	opts.FetchThrough = opts.Upstream != nil && *miss == "fetch"
	opts.FillWhole = *fills == "whole"
	if opts.FillAfter = *after; *after == 0 {
		opts.FillAfter = -1 // zero would mean the default
	}
	handler, err := athens.NewHandler(parts.Store, opts)
	if err != nil {
		return err
	}
	return parts.Serve(ctx, handler, handler, stdout, func(addr net.Addr) string {
		return server.Paste("http://"+server.Host(addr), parts.Private)
	})
}
