package server

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/examples/internal/command"
	"github.com/athens-go/athens/serve"
)

// ParseArgs reads the command line; flags are all there is. Help and what is wrong go to
// stderr, -version to stdout.
func (f *Flags) ParseArgs(args []string, stdout, stderr io.Writer) error {
	f.SetOutput(stderr)
	err := f.Parse(args)
	if err == nil && f.version {
		fmt.Fprintln(stdout, version(f.Name))
		return command.ErrVersion
	}
	if err == nil {
		if err = f.check(); err != nil {
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
	return &command.UsageError{Err: err}
}

// Serve serves root until ctx is done, and closes the parts in the end. A nil root is
// the handler with the probes and a page for browsers before it. The first line it
// prints is what paste makes of its address.
func (p *Parts) Serve(ctx context.Context, handler *athens.Handler, root http.Handler, stdout io.Writer, paste func(net.Addr) string) error {
	defer p.close()
	if root == nil {
		var err error
		if root, err = p.Front(handler, p.Health); err != nil {
			return err
		}
	}
	defer p.startBackground(ctx)()
	serve.LimitMemory()
	return serve.Run(ctx, handler, &serve.Options{
		Addr:       p.Flags.Addr,
		SocketMode: p.Flags.socketMode,
		Prefix:     p.Flags.prefix,
		OpsAddr:    p.Flags.Ops,
		CertFile:   p.CertFile,
		KeyFile:    p.KeyFile,
		Listening: func(addr net.Addr) {
			fmt.Fprintln(stdout, paste(addr))
			p.announce()
		},
		Root:         p.traced(p.Flags.clients.proxies.Clients(root)),
		Health:       p.Health,
		Fills:        p.Fills,
		DrainTimeout: p.Grace,
		Metrics:      p.metrics,
		Followers:    p.followers(),
		Logger:       p.Log,
	})
}

// startBackground starts what runs while the server does, and returns a function that
// ends it.
func (p *Parts) startBackground(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	for _, run := range p.background {
		running.Go(func() { run(ctx) })
	}
	if len(p.reloads) > 0 {
		running.Go(func() {
			serve.OnHangup(ctx, func() {
				for _, reload := range p.reloads {
					_ = reload() // the log has it
				}
			})
		})
	}
	return func() { cancel(); running.Wait() }
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
