// Command verify checks each version in a store's folder against what was recorded when it was
// stored. On request it moves damaged files out of the way and repairs them from a GOPROXY server.
// Servers may use the folder meanwhile. It exits with 0 if all is well, or well again, with 1 if
// something is damaged, and with 2 if something could not be checked or the flags are wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/athens-go/athens/examples/internal/command"
	"github.com/athens-go/athens/examples/internal/server"
	"github.com/athens-go/athens/storage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	damaged, err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp), errors.Is(err, command.ErrVersion):
	case err != nil:
		fmt.Fprintln(os.Stderr, "verify:", err)
		os.Exit(2)
	case damaged:
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (damaged bool, err error) {
	f := &server.Flags{FlagSet: flag.NewFlagSet("verify", flag.ContinueOnError), Name: "verify"}
	var o storage.VerifyOptions
	f.StringVar(&f.Dir, "dir", "", "check the store in this `folder`; required")
	f.BoolVar(&o.Quarantine, "quarantine", false, "move damaged files to .athens/quarantine in the folder; not set means that nothing is changed")
	f.BoolVar(&o.Record, "record", false, "write a record for each version that has none and passes all other checks, as in an adopted module cache")
	repair := f.String("repair", "", "repair what is damaged from this `URL` of a GOPROXY server, which implies -quarantine; empty means that nobody is asked")
	f.StringVar(&f.Private, "private", "", "don't tell -repair of modules that match these `patterns` (as in GOPRIVATE);\nempty means none, not given means GOPRIVATE and GONOPROXY of the environment")
	f.StringVar(&f.Rules, "rules", "", "read more of what is private from this `file` of a server's; empty means no rules")
	f.IntVar(&o.Workers, "workers", 0, "look at so `many` versions at once; 0 means 2")
	f.Int64Var(&o.Rate, "rate", 0, "read at most so many `bytes` a second; 0 means without bound")
	newAuditor := ledgerFlags(f)
	if err := f.ParseArgs(args, stdout, stderr); err != nil {
		return false, err
	}
	if info, err := os.Stat(f.Dir); err != nil || !info.IsDir() { // opening a store would make one
		return false, fmt.Errorf("-dir: %q is not a folder", f.Dir)
	}
	store, err := storage.NewDisk(f.Dir, nil)
	if err != nil {
		return false, err
	}
	if *repair != "" {
		if o.Source, err = repairFrom(ctx, *repair, f, stderr); err != nil {
			return false, err
		}
	}
	audit, err := newAuditor(store)
	if err != nil {
		return false, err
	}
	r := report{stdout: stdout, stderr: stderr}
	r.ledger(audit.history(ctx))
	for c, err := range store.Verify(ctx, &o) {
		r.add(c, err)
		if m := c.Module; m.Version != "" && err == nil {
			r.ledger(audit.check(ctx, m))
		}
	}
	return r.end()
}
