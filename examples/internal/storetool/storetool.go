// Package storetool is what the tools for stores share: examples/store, for those in a folder,
// and "replica store" of examples/cluster, for those in a bucket. It lists what a store holds,
// and takes versions back, in the store itself or by the orders of a server.
package storetool

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/athens-go/athens"
)

// Store is what the tool works with.
type Store interface {
	athens.Storage
	athens.Lister
	athens.Remover
	// AllMarks walks over the marks of all modules.
	AllMarks(ctx context.Context) iter.Seq2[athens.BlockedError, error]
	// ModuleBytes returns how many bytes a module's versions take.
	ModuleBytes(ctx context.Context, path string) (int64, error)
}

// Tool is a tool for the stores that Open opens.
type Tool struct {
	// Open opens the store that -dir names, and returns what closes it.
	Open func(ctx context.Context, dir string) (Store, func() error, error)
	// Place is what -dir names, for the help, with the name of its value in backquotes.
	Place string
}

// Command is one thing that a tool does. Its error is shown after its name.
type Command struct {
	Run   func(ctx context.Context, flags *flag.FlagSet, args []string, stdout io.Writer) error
	Usage string // of its arguments
}

// Commands returns what every tool can do.
func (t *Tool) Commands() map[string]Command {
	return map[string]Command{
		"ls":      {t.list, "[MODULE …]"},
		"du":      {t.diskUsage, ""},
		"rm":      {t.takeBack("rm"), "MODULE@VERSION …"},
		"hide":    {t.takeBack("hide"), "MODULE@VERSION …"},
		"restore": {t.takeBack("restore"), "MODULE@VERSION …"},
	}
}

// Run runs the command that the first argument names.
func Run(ctx context.Context, name string, all map[string]Command, args []string, stdout, stderr io.Writer) error {
	names := strings.Join(slices.Sorted(maps.Keys(all)), ", ")
	if len(args) == 0 {
		return fmt.Errorf("give a command: %s", names)
	}
	c, ok := all[args[0]]
	if !ok {
		return fmt.Errorf("unknown command %q; the commands are: %s", args[0], names)
	}
	flags := flag.NewFlagSet(name+" "+args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintf(stderr, "usage: %s %s [flags] %s\n", name, args[0], c.Usage)
		flags.PrintDefaults()
	}
	err := c.Run(ctx, flags, args[1:], stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		err = fmt.Errorf("%s: %w", args[0], err)
	}
	return err
}

// dirFlag adds -dir to a command that needs it.
func (t *Tool) dirFlag(flags *flag.FlagSet) *string {
	return flags.String("dir", "", "the store's "+t.Place+"; empty is an error")
}

// with opens a store, and closes it after do.
func (t *Tool) with(ctx context.Context, dir string, do func(Store) error) error {
	if dir == "" {
		return errors.New("-dir is missing")
	}
	store, end, err := t.Open(ctx, dir)
	if err != nil {
		return err
	}
	return errors.Join(do(store), end())
}
