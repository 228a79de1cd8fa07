// Command store is the tool for the files that a server works with. Its first argument
// says what to do:
//
//	store ls -dir DIR [MODULE …]          lists what a store holds, and what was taken back
//	store du -dir DIR                     says how many bytes each module takes
//	store rm -dir DIR -reason TEXT MODULE@VERSION …      removes versions: 410 with the reason
//	store hide -dir DIR -reason TEXT MODULE@VERSION …    takes versions out of lists
//	store restore -dir DIR MODULE@VERSION …              undoes either
//	store verify -dir DIR                 looks for damaged versions, and repairs them
//	store fill -dir DIR -upstream URL FILE …             stores what go.sum, go.mod … files need
//	store export -dir DIR OUT             writes all to one file, for a place without a network
//	store import -dir DIR FILE            verifies such a file and stores what it carries
//	store import -dir DIR FOLDER          does so with the folder of another proxy, or a module cache
//	store rules FILE MODULE[@VERSION]     explains which rules decide about a version
//	store token -file FILE -name NAME     adds a token to a server's -tokens file
//
// rm, hide and restore work beside servers that run. With -server URL in place of -dir they
// ask a server on another machine. For a store in a bucket, examples/cluster/replica has the
// same commands but for rules and token: replica store ls -dir s3://BUCKET. The tool exits with 0 if all is well, or
// well again, with 1 if verify, export or import found damage or fill lacks something, and with 2 if something
// failed or the flags are wrong.
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

	"github.com/athens-go/athens/examples/internal/storetool"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, storetool.ErrDamaged):
		os.Exit(1) // the report has said what
	default:
		fmt.Fprintln(os.Stderr, "store:", err)
		os.Exit(2)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	return storetool.Run(ctx, "store", commands(), args, stdout, stderr)
}
