// Package embedded runs a NATS server with JetStream inside this process, for the
// queue of github.com/athens-go/athens/backends/nats: one binary, one folder and,
// by default, no port:
//
//	server, err := embedded.New(dir, nil)
//	…
//	defer server.Close()
//	js, err := jetstream.New(server.Conn())
//	…
//	fills, err := nats.New(ctx, js, nil)
//
// If the server moves out of the process later, the queue stays as it is: the
// connection then comes from nats.Connect, and the build no longer includes this
// package and the server.
//
// Durability: the server accepts a message after it has written and synced it, unless
// [Options.SyncInterval] is set. So neither a killed process nor a power failure loses
// an accepted message.
//
// With [Options.Addr], other processes connect to this server; with
// [Options.Cluster], several servers keep the streams together.
package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Options configures [New]. The zero value suits one process.
type Options struct {
	// Addresses

	// Name is the name by which a cluster recognizes the server. Empty means
	// "athens"; in a cluster each server needs a name of its own.
	Name string
	// Addr is the address for other processes, as host:port. They need no
	// password, so use a loopback or private address. Empty means that the
	// server opens no port, or one on loopback with a Cluster, which needs one.
	Addr string
	// Cluster names the other servers. Nil means none.
	Cluster *Cluster

	// Disk

	// SyncInterval is how often the server syncs its files. Zero means at each
	// write, before the server acknowledges it. Otherwise a power failure, but
	// not a killed process, may lose the messages of that time.
	SyncInterval time.Duration
	// MaxBytes is the most disk space that the streams may use, in bytes. Zero
	// means 1 GiB.
	MaxBytes int64

	// Timeouts

	// StartTimeout is the longest that New waits for the server. Zero means
	// 10 seconds.
	StartTimeout time.Duration

	// Reports

	// Logger receives the server's log. If nil, nothing is logged.
	Logger *slog.Logger
}

// Cluster tells a server about the cluster that it belongs to.
type Cluster struct {
	// Name is the name of the cluster.
	Name string
	// Addr is the address for the other servers, as host:port.
	Addr string
	// Peers lists the Addr of other servers; one of them must be up.
	Peers []string
}

// Server is a running server, with a connection to it.
type Server struct {
	server *server.Server
	conn   *nats.Conn
	unlock func() error
}

// New starts a server that keeps its streams in dir, and waits until the server
// accepts connections. It creates dir if necessary. A server of a cluster does not wait
// for the others. New returns an error if an option is invalid, if dir can't be used, or
// if another process has the folder or the port.
func New(dir string, opts *Options) (*Server, error) {
	if dir == "" {
		return nil, errors.New("embedded: New needs a folder; dir is empty")
	}
	var o Options
	if opts != nil {
		o = *opts
	}
	config, err := o.config(dir)
	if err != nil {
		return nil, err
	}
	unlock, err := lock(dir)
	if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	s := &Server{unlock: unlock}
	if err := s.start(config, o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// start starts the server and connects to it.
func (s *Server) start(config *server.Options, o Options) error {
	ns, err := server.NewServer(config)
	if err != nil {
		return fmt.Errorf("embedded: %w", err)
	}
	s.server = ns
	said := &logger{log: o.Logger}
	ns.SetLoggerV2(said, false, false, false)
	wait := o.StartTimeout
	if wait == 0 {
		wait = 10 * time.Second
	}
	ns.Start()
	if !ready(ns, said, wait) {
		return fmt.Errorf("embedded: the server did not start: %s", said.worst())
	}
	s.conn, err = nats.Connect("", nats.InProcessServer(ns), nats.Name("athens"), nats.MaxReconnects(-1))
	if err != nil {
		return fmt.Errorf("embedded: %w", err)
	}
	return nil
}

// ready waits until the server accepts connections. It reports false if the server does
// not within wait, or has given up.
func ready(ns *server.Server, said *logger, wait time.Duration) bool {
	for deadline := time.Now().Add(wait); !ns.ReadyForConnections(100 * time.Millisecond); {
		if said.gaveUp() || time.Now().After(deadline) {
			return false
		}
	}
	return ns.JetStreamEnabled()
}

// Conn returns the connection to the server, inside this process. Close closes
// it.
func (s *Server) Conn() *nats.Conn { return s.conn }

// Addr returns the address for other processes, or "" if there is none.
func (s *Server) Addr() string {
	if a, ok := s.server.Addr().(*net.TCPAddr); ok && a != nil {
		return a.String()
	}
	return ""
}

// Close closes the connection and stops the server, which first stores what it has
// received. Call it after the queue's Run has returned. A second Close does nothing.
func (s *Server) Close() error {
	if s.conn != nil {
		s.conn.Close()
	}
	if s.server != nil {
		s.server.Shutdown()
		s.server.WaitForShutdown()
	}
	return s.unlock()
}

// config returns the server's own options.
func (o *Options) config(dir string) (*server.Options, error) {
	if o.Name == "" {
		o.Name = "athens"
	}
	if o.SyncInterval < 0 || o.MaxBytes < 0 || o.StartTimeout < 0 {
		return nil, errors.New("embedded: Options.SyncInterval, MaxBytes and StartTimeout must not be negative")
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 30
	}
	c := &server.Options{
		ServerName:         o.Name,
		NoSigs:             true,
		NoLog:              o.Logger == nil,
		JetStream:          true,
		StoreDir:           dir,
		JetStreamMaxMemory: 1 << 20, // the queue keeps nothing in memory
		JetStreamMaxStore:  o.MaxBytes,
		SyncAlways:         o.SyncInterval == 0,
		SyncInterval:       o.SyncInterval,
	}
	if o.SyncInterval == 0 {
		c.SyncInterval = time.Minute // for files that are not written message by message
	}
	if o.Cluster != nil && o.Addr == "" {
		o.Addr = "127.0.0.1:0" // otherwise the server waits forever, even in Shutdown
	}
	c.DontListen = o.Addr == ""
	var err error
	if o.Addr != "" {
		if c.Host, c.Port, err = hostPort(o.Addr); err != nil {
			return nil, err
		}
	}
	if o.Cluster == nil {
		return c, nil
	}
	c.Cluster.Name = o.Cluster.Name
	c.Cluster.NoAdvertise = true // only processes that are given an Addr use it
	if c.Cluster.Host, c.Cluster.Port, err = hostPort(o.Cluster.Addr); err != nil {
		return nil, err
	}
	for _, peer := range o.Cluster.Peers {
		c.Routes = append(c.Routes, &url.URL{Scheme: "nats", Host: peer})
	}
	return c, nil
}

// hostPort splits an address; port 0 means any free port.
func hostPort(addr string) (string, int, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("embedded: %w", err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("embedded: %q has no valid port; write it as host:port", addr)
	}
	if n == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, int(n), nil
}
