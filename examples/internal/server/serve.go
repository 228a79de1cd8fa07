package server

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve"
)

// Main runs a server until SIGINT or SIGTERM and exits with 1 if it fails, with
// 2 if its flags are wrong. A second signal ends it at once.
func Main(run func(ctx context.Context, args []string, stdout, stderr io.Writer) error) {
	ctx, stop := serve.NotifyContext(context.Background())
	defer stop()
	ctx, forget := withGoRun(ctx)
	defer forget()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp), errors.Is(err, ErrVersion):
	case errors.As(err, new(*UsageError)):
		os.Exit(2) // the flag package has said why
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// UsageError says that the command line is wrong.
type UsageError struct{ err error }

func (e *UsageError) Error() string { return e.err.Error() }
func (e *UsageError) Unwrap() error { return e.err }

// ErrVersion says that -version was given and answered.
var ErrVersion = errors.New("the version was asked for")

// ParseArgs reads the command line; flags are all there is. Help and what is wrong go to
// stderr, -version to stdout.
func (f *Flags) ParseArgs(args []string, stdout, stderr io.Writer) error {
	f.SetOutput(stderr)
	err := f.Parse(args)
	if err == nil && f.version {
		fmt.Fprintln(stdout, version(f.Name))
		return ErrVersion
	}
	if err == nil {
		if err = f.checkTTLs(); err != nil {
			fmt.Fprintln(stderr, err)
		}
	}
	if err == nil && f.NArg() > 0 {
		err = fmt.Errorf("%s takes flags only, not %q", f.Name, f.Arg(0))
		fmt.Fprintln(stderr, err)
	}
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return err
	}
	return &UsageError{err}
}

// Serve serves root until ctx is done, and closes the parts in the end. A nil root is
// the handler with the probes and a page for browsers before it. The first line it
// prints is what paste makes of its address.
func (p *Parts) Serve(ctx context.Context, handler *athens.Handler, root http.Handler, stdout io.Writer, paste func(net.Addr) string) error {
	defer p.close()
	private, err := athens.ParsePatterns(p.Private)
	if err != nil {
		return err
	}
	return serve.Run(ctx, handler, &serve.Options{
		Addr:     p.Flags.Addr,
		OpsAddr:  p.Flags.Ops,
		CertFile: p.CertFile,
		KeyFile:  p.KeyFile,
		Listening: func(addr net.Addr) {
			fmt.Fprintln(stdout, paste(addr))
			p.announce()
		},
		Root:         root,
		Page:         serve.NewPage(&serve.PageOptions{Name: "an Athens " + p.Flags.Name, Private: private}),
		Health:       p.Health,
		Fills:        p.Fills,
		DrainTimeout: p.Grace,
		Logger:       p.Log,
	})
}

// ready says why nothing can be stored now.
func (p *Parts) ready(ctx context.Context) error {
	if err := p.Store.Writable(ctx); err != nil {
		return fmt.Errorf("the store can't be written: %w", err)
	}
	return nil
}

// announce logs what is in force, also what was taken from the environment.
func (p *Parts) announce() {
	dir, _ := p.Flags.StoreDir() // it was opened
	upstream := p.upstream
	if upstream == "" {
		upstream = Off
	}
	p.Log.Info("serving", "dir", dir, "upstream", upstream, "private", p.Private, "rules", p.Flags.Rules)
}
