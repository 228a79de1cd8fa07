package server

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/athens-go/athens"
)

// defaultGrace is how long a server that is told to stop lets requests, fills and
// fetches go on.
const defaultGrace = 20 * time.Second

// Main runs a server until SIGINT or SIGTERM and exits with 1 if it fails, with
// 2 if its flags are wrong. A second signal ends it at once.
func Main(run func(ctx context.Context, args []string, stdout, stderr io.Writer) error) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		signal.Stop(signals) // the next one does what it does by itself
		stop()
	}()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
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

// ParseArgs reads the command line; flags are all there is.
func (f *Flags) ParseArgs(args []string, stderr io.Writer) error {
	f.SetOutput(stderr)
	err := f.Parse(args)
	if err == nil && f.NArg() > 0 {
		err = fmt.Errorf("%s takes flags only, not %q", f.Name, f.Arg(0))
		fmt.Fprintln(stderr, err)
	}
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return err
	}
	return &UsageError{err}
}

// Serve serves root, which is handler or what it is mounted in, until ctx is
// done. The first line it prints is what paste makes of its address. In the end
// it lets come to their end first the requests, then the fills, then the fetches,
// and closes the parts.
func (p *Parts) Serve(ctx context.Context, handler *athens.Handler, root http.Handler, stdout io.Writer, paste func(net.Addr) string) error {
	defer p.close()
	listener, err := net.Listen("tcp", p.Flags.Addr)
	if err != nil {
		return err
	}
	servers := []*http.Server{newServer(root, p.Log)}
	failed := make(chan error, 2)
	if p.Flags.Ops != "" {
		opsListener, err := net.Listen("tcp", p.Flags.Ops)
		if err != nil {
			return errors.Join(err, listener.Close())
		}
		p.Log.Info("operators", "addr", opsListener.Addr().String())
		servers = append(servers, newServer(ops(ctx, p.Store, p.Fills, handler), p.Log))
		go func() { failed <- servers[1].Serve(opsListener) }()
	}
	fmt.Fprintln(stdout, paste(listener.Addr()))
	p.announce()
	go func() {
		if p.CertFile != "" {
			failed <- servers[0].ServeTLS(listener, p.CertFile, p.KeyFile)
		} else {
			failed <- servers[0].Serve(listener)
		}
	}()

	fillCtx, stopFills := context.WithCancel(context.WithoutCancel(ctx))
	defer stopFills()
	filled := make(chan error, 1)
	go func() { filled <- p.Fills.Run(fillCtx, handler.Fill) }()

	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	err = errors.Join(err, p.stop(ctx, servers, func() error { stopFills(); return <-filled }, handler))
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("what was under way after %v was cut off", p.Grace)
	}
	return err
}

// stop lets what is under way come to its end, and cuts it off when the grace
// period is over. The fills need not have ended then: what they wait for has.
func (p *Parts) stop(ctx context.Context, servers []*http.Server, endFills func() error, handler *athens.Handler) error {
	if p.Grace <= 0 {
		p.Grace = defaultGrace
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.Grace)
	defer cancel()
	var all error
	for _, server := range servers {
		if err := server.Shutdown(grace); err != nil {
			all = errors.Join(all, err, server.Close())
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- endFills() }()
	select {
	case err := <-ended:
		all = errors.Join(all, err, handler.Shutdown(grace))
	case <-grace.Done():
		all = errors.Join(all, handler.Shutdown(grace), <-ended)
	}
	return all
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

// newServer returns a server with the limits that a public one needs. There is no
// ReadTimeout, which would also end requests that wait for version control; the
// athens.Handler bounds bodies, and gives large answers their time.
func newServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    128 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}
