// Package storetool is what the tools for stores share: examples/store, for those in a folder,
// and "replica store" of examples/cluster, for those in a bucket. It lists what a store holds,
// takes versions back, in the store itself or by the orders of a server, fills a store before it
// is needed, and carries it to another one.
package storetool

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
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
	// Writable returns why nothing can be stored now, nil if something can.
	Writable(ctx context.Context) error
	// ModuleBytes returns how many bytes a module's versions take.
	ModuleBytes(ctx context.Context, path string) (int64, error)
}

// Tool is a tool for the stores that Open opens.
type Tool struct {
	// Open opens the store that -dir names, and returns what closes it.
	Open func(ctx context.Context, dir string) (Store, func() error, error)
	// Make is Open for a store that is to be filled, and makes it if there is none. Nil means Open.
	Make func(ctx context.Context, dir string) (Store, func() error, error)
	// Folder opens what another program has stored at a URL, such as that of a bucket, and returns
	// what closes it. Nil means that import reads only local folders.
	Folder func(ctx context.Context, url string) (fs.FS, func() error, error)
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
		"fill":    {t.fill, "FILE|FOLDER …"},
		"export":  {t.export, "OUT"},
		"import":  {t.importAny, "FILE|FOLDER|URL LIST …"},
	}
}

// ErrDamaged says that a command has done what it could, and has reported what is damaged or
// lacking.
var ErrDamaged = errors.New("something is damaged")

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
	return use(ctx, t.Open, dir, do)
}

// into opens a store, which is made if there is none, and closes it after do.
func (t *Tool) into(ctx context.Context, dir string, do func(Store) error) error {
	return use(ctx, t.make(), dir, do)
}

// make returns what opens a store that is to be filled.
func (t *Tool) make() func(ctx context.Context, dir string) (Store, func() error, error) {
	if t.Make != nil {
		return t.Make
	}
	return t.Open
}

func use(ctx context.Context, open func(context.Context, string) (Store, func() error, error), dir string, do func(Store) error) error {
	store, end, err := open(ctx, dir)
	if err != nil {
		return err
	}
	return errors.Join(do(store), end())
}
