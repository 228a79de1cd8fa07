package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/athens-go/athens/examples/internal/server"
	"github.com/athens-go/athens/examples/internal/storetool"
	"github.com/athens-go/athens/storage"
)

// verify checks each version in a store's folder against what was recorded when it was stored.
// On request it moves damaged files out of the way and repairs them from a GOPROXY server.
// Servers may use the folder meanwhile.
func verify(ctx context.Context, flags *flag.FlagSet, args []string, stdout io.Writer) error {
	f := &server.Flags{FlagSet: flags, Name: "verify"}
	stderr := flags.Output()
	var o storage.VerifyOptions
	f.StringVar(&f.Dir, "dir", "", "check the store in this `folder`; required")
	f.BoolVar(&o.Quarantine, "quarantine", false, "move damaged files to .athens/quarantine in the folder; not set means that nothing is changed")
	f.BoolVar(&o.Record, "record", false, "write a record for each version that has none and passes all other checks, as in an adopted module cache")
	repair := f.String("repair", "", "repair what is damaged from this `URL` of a GOPROXY server, which implies -quarantine; empty means that nobody is asked")
	f.StringVar(&f.Private, "private", "", "don't tell -repair of modules that match these `patterns` (as in GOPRIVATE);\nempty means none, not given means GOPRIVATE and GONOPROXY of the environment")
	f.StringVar(&f.Rules, "rules", "", "read more of what is private from this `file` of a server's; empty means no rules")
	f.IntVar(&o.Workers, "workers", 0, "look at so `many` versions at once; 0 means 2")
	f.Int64Var(&o.BytesPerSecond, "rate", 0, "read at most this many `bytes` per second; 0 means no limit")
	newAuditor := ledgerFlags(f)
	if err := f.ParseArgs(args, stdout, stderr); err != nil {
		return err
	}
	if info, err := os.Stat(f.Dir); err != nil || !info.IsDir() { // opening a store would make one
		return fmt.Errorf("-dir: %q is not a folder", f.Dir)
	}
	store, err := storage.NewDisk(f.Dir, nil)
	if err != nil {
		return err
	}
	if *repair != "" {
		if o.Source, err = repairFrom(ctx, *repair, f, stderr); err != nil {
			return err
		}
	}
	audit, err := newAuditor(store)
	if err != nil {
		return err
	}
	r := report{stdout: stdout, stderr: stderr}
	r.ledger(audit.history(ctx))
	for c, err := range store.Verify(ctx, &o) {
		r.add(c, err)
		if m := c.Module; m.Version != "" && err == nil {
			r.ledger(audit.check(ctx, m))
		}
	}
	damaged, err := r.end()
	if err == nil && damaged {
		err = storetool.ErrDamaged
	}
	return err
}
