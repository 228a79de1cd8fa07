// Command store is the tool for the files that a server works with. Its first argument
// says what to do:
//
//	store ls -dir DIR [MODULE …]          lists what a store holds, and what was taken back
//	store du -dir DIR                     says how many bytes each module takes
//	store rm -dir DIR -reason TEXT MODULE@VERSION …      removes versions: 410 with the reason
//	store hide -dir DIR -reason TEXT MODULE@VERSION …    takes versions out of lists
//	store restore -dir DIR MODULE@VERSION …              undoes either
//	store rules FILE MODULE[@VERSION]     explains which rules decide about a version
//	store token -file FILE -name NAME     adds a token to a server's -tokens file
//
// rm, hide and restore work beside servers that run. With -server URL in place of -dir they
// ask a server, which may keep its store in a bucket.
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

// command is one thing that the tool does. Its error is shown after its name.
type command struct {
	run   func(ctx context.Context, flags *flag.FlagSet, args []string, stdout io.Writer) error
	usage string // of its arguments
}

// commands are what the tool can do.
func commands() map[string]command {
	return map[string]command{
		"ls":      {list, "[MODULE …]"},
		"du":      {diskUsage, ""},
		"rm":      {takeBack("rm"), "MODULE@VERSION …"},
		"hide":    {takeBack("hide"), "MODULE@VERSION …"},
		"restore": {takeBack("restore"), "MODULE@VERSION …"},
		"rules":   {explainRules, "FILE MODULE[@VERSION]"},
		"token":   {makeToken, ""},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
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
