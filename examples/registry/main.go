// Command registry is a module registry, a source of truth: what it does not hold
// it fetches from version control, once, and never changes afterwards. With -follow it
// is the copy of another registry, which can take its place.
package main

import (
	"context"
	"io"

	"github.com/athens-go/athens/examples/internal/command"
	"github.com/athens-go/athens/examples/internal/server"
)

func main() { command.Main(run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := server.NewFlags("registry", "127.0.0.1:3001")
	tells := flags.EventsFlag()
	ledger := flags.LedgerFlags()
	flags.FollowFlags()
	flags.PublishFlag()
	flags.ServeFlags()
	if err := flags.ParseArgs(args, stdout, stderr); err != nil {
		return err
	}
	log, flush := flags.NewLogger(stderr)
	defer flush()
	parts, err := server.Open(flags, log)
	if err != nil {
		return err
	}
	if err := parts.UseLedger(ledger); err != nil {
		return err
	}
	if err := parts.UseEvents(*tells); err != nil {
		return err
	}
	handler, err := parts.Handler()
	if err != nil {
		return err
	}
	return parts.Serve(ctx, handler, nil, stdout, parts.PasteAt)
}
