// Command store is the tool for the files that a server works with. Its first argument
// says what to do:
//
//	store ls -dir DIR [MODULE …]          lists what a store holds, and what was taken back
//	store du -dir DIR                     says how many bytes each module takes
//	store rm -dir DIR -reason TEXT MODULE@VERSION …      removes versions: 410 with the reason
//	store hide -dir DIR -reason TEXT MODULE@VERSION …    takes versions out of lists
//	store restore -dir DIR MODULE@VERSION …              undoes either
//	store verify -dir DIR                 looks for damaged versions, and repairs them
//	store rules FILE MODULE[@VERSION]     explains which rules decide about a version
//	store token -file FILE -name NAME     adds a token to a server's -tokens file
//
// rm, hide and restore work beside servers that run. With -server URL in place of -dir they
// ask a server on another machine. The tool exits with 0 if all is well, or
// well again, with 1 if verify found damage, and with 2 if something failed or the flags are wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errDamaged):
		os.Exit(1) // the report has said what
	default:
		fmt.Fprintln(os.Stderr, "store:", err)
		os.Exit(2)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	all := commands()
	names := strings.Join(slices.Sorted(maps.Keys(all)), ", ")
	if len(args) == 0 {
		return fmt.Errorf("what to do is missing: %s", names)
	}
	c, ok := all[args[0]]
	if !ok {
		return fmt.Errorf("%q is nothing that can be done; these can: %s", args[0], names)
	}
	flags := flag.NewFlagSet("store "+args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintf(stderr, "usage: store %s [flags] %s\n", args[0], c.usage)
		flags.PrintDefaults()
	}
	err := c.run(ctx, flags, args[1:], stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		err = fmt.Errorf("%s: %w", args[0], err)
	}
	return err
}
