// Package serve runs an [athens.Handler] as a service: it has what each service
// around a handler needs and none should write again. [Run] is all of it:
//
//	ctx, stop := serve.NotifyContext(context.Background())
//	defer stop()
//	err := serve.Run(ctx, handler, &serve.Options{
//		Addr:    "127.0.0.1:3000",
//		OpsAddr: "127.0.0.1:3009",
//		Fills:   fills,
//		Ready:   store.Writable,
//	})
//
// Run listens, works off the fills and, when ctx is done, drains in the order that
// loses nothing:
//
//  1. /readyz answers 503, and the servers finish the requests that are running;
//  2. the fills that are running finish, and no further one starts;
//  3. the handler finishes the fetches that requests and fills have left behind.
//
// What is still running after [Options.DrainTimeout] is canceled.
//
// A service that has its own mux mounts the handler there and sets [Options.Root].
// One that has its own server takes the parts one by one:
//
//   - [NewServer] has the timeouts that a server on a network needs;
//   - [NewHealth] answers /healthz and /readyz, [NewOps] also /fills, /metrics and profiles;
//   - package metrics counts what the handler does;
//   - [NewPage] tells a browser what the server is and how to use it, and package web shows
//     what it holds and does;
//   - [Front] puts page and probes before a handler, and package operate takes orders there;
//   - [PasteLine] is what a user pastes into a shell to use the server;
//   - [NewLogger] writes log lines in batches;
//   - [NotifyContext] ends with SIGINT and SIGTERM, and [OnHangup] reloads on SIGHUP.
//
// This package depends on the contracts, on package fill and on the standard
// library, not on a store, on git or on an upstream.
package serve

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve/metrics"
)

// Options says where and how [Run] serves. The zero Options serves the handler on a
// free port of 127.0.0.1, without fills and without an operator's address.
type Options struct {
	// Addresses

	// Addr is where clients are served: as host:port, or as unix:PATH, a socket file for a
	// reverse proxy on this machine. Empty means a free port of 127.0.0.1; port 0 means
	// any free one. A socket file that a killed server has left is replaced.
	Addr string
	// SocketMode is the mode of the socket file, which says who may connect. Zero means
	// 0660.
	SocketMode fs.FileMode
	// Prefix is the path below which everything is served at Addr, such as /go. The
	// probes answer without it as well. Empty means the root.
	Prefix string
	// OpsAddr is where operators are served (see [NewOps]), as host:port or unix:PATH. There is
	// no login and /fills names private modules, so it should not be an address that
	// clients reach. Empty means nowhere.
	OpsAddr string
	// CertFile and KeyFile make Addr serve TLS, and HTTP/2. They are read again when
	// they change. Both empty means plain HTTP.
	CertFile, KeyFile string
	// Listening is called once Addr and OpsAddr listen, with the address of Addr, and
	// before the first request is answered. It may be nil.
	Listening func(addr net.Addr)

	// What is served

	// Root is what clients reach at Addr: a mux in which the handler is mounted, or
	// middleware around it. If it is nil, they reach the handler behind a [Front] of
	// the probes and Page.
	Root http.Handler
	// Page answers GET / and what is below /-/ when Root is nil. If it is nil too, a [NewPage] without
	// options does.
	Page http.Handler
	// Health answers the probes, and is told when the drain begins. If it is nil, a
	// [NewHealth] of Ready does.
	Health *Health
	// Ready returns why the service should get no requests now, such as a store's
	// Writable. If it is nil, the service is ready until it drains. Health
	// takes its place.
	Ready func(ctx context.Context) error
	// Fills is the FillScheduler of the handler. Run calls its Run; closing it stays
	// with the caller. If it is nil, no fills are run.
	Fills athens.FillScheduler

	// Limits

	// DrainTimeout is how long requests, fills and fetches together may go on when
	// the service is told to stop. Zero means 20 seconds.
	DrainTimeout time.Duration

	// Reports

	// Metrics are what OpsAddr serves as /metrics. Run tells them of the handler, the
	// fills and the requests that are being answered; Watch is for the caller to call,
	// before NewHandler. If it is nil, nothing is counted.
	Metrics *metrics.Metrics
	// Followers is what OpsAddr serves as /followers, such as the list of a feed of package
	// serve/events. If it is nil, there is no such page.
	Followers http.Handler
	// Logger receives the operator's address, when and why the service stops, when
	// it becomes unready, and what net/http complains about. If it is nil, nothing
	// is logged.
	Logger *slog.Logger
}

// ErrCanceled is in the error of [Run] when requests, fills or fetches were canceled
// because they were still running after [Options.DrainTimeout].
var ErrCanceled = errors.New("serve: requests, fills or fetches were still running and were canceled")

// errFillsEnded says that fills are no longer run although the service serves.
var errFillsEnded = errors.New("serve: Fills.Run returned before the server stopped")

// withDefaults returns a checked copy of o with each zero made explicit.
func (o *Options) withDefaults(handler *athens.Handler) (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	if handler == nil {
		return c, errors.New("serve: Run needs a Handler")
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return c, errors.New("serve: TLS needs both CertFile and KeyFile")
	}
	var err error
	if c.Prefix, err = cleanPrefix(c.Prefix); err != nil {
		return c, err
	}
	if c.SocketMode = cmp.Or(c.SocketMode, 0o660); c.SocketMode&^fs.ModePerm != 0 {
		return c, fmt.Errorf("serve: SocketMode %v has bits other than permissions", c.SocketMode)
	}
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	if c.DrainTimeout < 0 {
		return c, errors.New("serve: DrainTimeout is negative")
	}
	c.DrainTimeout = cmp.Or(c.DrainTimeout, 20*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Health == nil {
		c.Health = NewHealth(&HealthOptions{Ready: c.Ready, Logger: c.Logger})
	}
	if c.Page == nil {
		c.Page = NewPage(nil)
	}
	if c.Root == nil {
		c.Root = Front(handler, c.Health, c.Page)
	}
	if c.Prefix != "" {
		c.Root = underPrefix(c.Prefix, c.Root, c.Health)
	}
	if c.Metrics != nil {
		c.Metrics.Track(handler, c.Fills)
		c.Root = c.Metrics.Requests(c.Root)
	}
	return c, nil
}

// Run serves handler until ctx is done, a server fails or the fills end, and then
// drains. It returns nil after a drain that was asked for by ctx and canceled nothing.
func Run(ctx context.Context, handler *athens.Handler, opts *Options) error {
	o, err := opts.withDefaults(handler)
	if err != nil {
		return err
	}
	s := &service{Options: o, handler: handler}
	if err := s.listen(); err != nil {
		return err
	}
	failed := s.start()
	fillCtx, stopFills := context.WithCancel(context.WithoutCancel(ctx))
	defer stopFills()
	filled := make(chan error, 1)
	go func() { filled <- s.runFills(fillCtx) }()
	endFills := func() error { stopFills(); return <-filled }

	var reason error
	select {
	case err = <-failed:
		reason = err
	case err = <-filled:
		err = errors.Join(errFillsEnded, err)
		reason, endFills = err, func() error { return nil }
	case <-ctx.Done():
		reason = context.Cause(ctx)
	}
	began := time.Now()
	o.Logger.Info("stopping", "reason", reason, "drain", o.DrainTimeout)
	err = errors.Join(err, s.drain(ctx, endFills))
	o.Logger.Info("stopped", "seconds", time.Since(began).Seconds())
	return err
}

// service is one call of Run.
type service struct {
	Options
	handler   *athens.Handler
	servers   []*http.Server
	listeners []net.Listener // one for each server
}

// listen opens the addresses. If one fails, none is left open.
func (s *service) listen() error {
	add := func(addr string, handler http.Handler) error {
		l, err := listen(addr, s.SocketMode)
		if err != nil {
			return err
		}
		s.listeners = append(s.listeners, l)
		s.servers = append(s.servers, NewServer(handler, s.Logger))
		return nil
	}
	err := add(s.Addr, s.Root)
	if err == nil && s.CertFile != "" {
		var cert *certificate
		if cert, err = newCertificate(s.CertFile, s.KeyFile, s.Logger); err == nil {
			s.servers[0].TLSConfig = &tls.Config{GetCertificate: cert.get}
		}
	}
	if err == nil && s.OpsAddr != "" {
		err = add(s.OpsAddr, NewOps(s.handler, &OpsOptions{Health: s.Health, Fills: s.Fills, Metrics: s.Metrics, Followers: s.Followers}))
	}
	if err != nil {
		for _, l := range s.listeners {
			err = errors.Join(err, l.Close())
		}
	}
	return err
}

// start serves. The channel gets the error of each server that ends.
func (s *service) start() <-chan error {
	failed := make(chan error, len(s.servers))
	if len(s.servers) > 1 {
		s.Logger.Info("operators", "addr", s.listeners[1].Addr().String())
	}
	if s.Listening != nil {
		s.Listening(s.listeners[0].Addr())
	}
	for i, server := range s.servers {
		go func() {
			if i == 0 && s.CertFile != "" {
				failed <- server.ServeTLS(s.listeners[i], "", "") // with its certificate
			} else {
				failed <- server.Serve(s.listeners[i])
			}
		}()
	}
	return failed
}

// runFills works off the fills until ctx is done. A panic of the scheduler is not
// recovered.
func (s *service) runFills(ctx context.Context) error {
	if s.Fills == nil {
		<-ctx.Done()
		return nil
	}
	return s.Fills.Run(ctx, s.handler.Fill)
}

// drain lets what is running finish, and cancels it after DrainTimeout. The fills
// can't have ended then: what they wait for is canceled with the handler.
func (s *service) drain(ctx context.Context, endFills func() error) error {
	s.Health.Stop()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.DrainTimeout)
	defer cancel()
	var all error
	for _, server := range s.servers {
		if err := server.Shutdown(grace); err != nil {
			all = errors.Join(all, err, server.Close())
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- endFills() }()
	select {
	case err := <-ended:
		all = errors.Join(all, err, s.handler.Shutdown(grace))
	case <-grace.Done():
		all = errors.Join(all, s.handler.Shutdown(grace), <-ended)
	}
	if errors.Is(all, context.DeadlineExceeded) {
		return fmt.Errorf("%w (DrainTimeout is %v)", ErrCanceled, s.DrainTimeout)
	}
	return all
}
