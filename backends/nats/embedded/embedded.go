// Package embedded runs a NATS server with JetStream inside this process, for the
// queue of github.com/athens-go/athens/backends/nats: one binary, one folder and,
// unless it is asked for, no port:
//
//	server, err := embedded.New(dir, nil)
//	…
//	defer server.Close()
//	js, err := jetstream.New(server.Conn())
//	…
//	fills, err := nats.New(ctx, js, nil)
//
// The same code goes on to work when the server moves out of the process: then
// the connection is that of nats.Connect, and this package, with the whole server,
// is no longer part of the build.
//
// Durability: a message that was accepted is in the file, which has been synced,
// unless [Options.SyncEvery] allows for more. So neither a killed process nor lost
// power loses one.
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

// Options are the settings of [New]. The zero value is good for one process.
type Options struct {
	// Name is the server's, by which a cluster knows it again. Empty means
	// "athens"; in a cluster each needs its own.
	Name string
	// Addr is where other processes connect to, as host:port. They need no
	// password: it is for a loopback or private address. Empty means that no
	// port is opened, or one on loopback with a Cluster, which needs one.
	Addr string
	// Cluster says which other servers there are. Nil means none.
	Cluster *Cluster

	// SyncEvery is how often what was written is synced. Zero means at each
	// write, before it is acknowledged. More means that lost power, but no
	// killed process, may lose as much.
	SyncEvery time.Duration
	// MaxBytes is how much the streams may take on disk, in bytes. Zero means
	// 1 GiB.
	MaxBytes int64
	// StartTimeout is how long New waits for the server. Zero means 10 seconds.
	StartTimeout time.Duration
	// Logger receives the server's log. If nil, nothing is logged.
	Logger *slog.Logger
}

// Cluster is what a server of a cluster has to know of it.
type Cluster struct {
	// Name is the cluster's.
	Name string
	// Addr is where the other servers connect to, as host:port.
	Addr string
	// Peers are the Addr of the other servers; one that is up is enough.
	Peers []string
}

// Server is a running server, with a connection to it.
type Server struct {
	server *server.Server
	conn   *nats.Conn
	unlock func() error
}

// New starts a server that keeps its streams in dir, which is made if it is not
// there, and waits until it can be asked; one of a cluster is ready before the
// others are. The error is one of the options, of the folder, or says that
// another server, or another process, has the folder or the port.
func New(dir string, opts *Options) (*Server, error) {
	if dir == "" {
		return nil, errors.New("embedded: New needs a folder")
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
	if !ns.ReadyForConnections(wait) || !ns.JetStreamEnabled() {
		return fmt.Errorf("embedded: the server did not start: %s", said.worst())
	}
	s.conn, err = nats.Connect("", nats.InProcessServer(ns), nats.Name("athens"), nats.MaxReconnects(-1))
	if err != nil {
		return fmt.Errorf("embedded: %w", err)
	}
	return nil
}

// Conn returns the connection to the server, inside this process. Close closes
// it.
func (s *Server) Conn() *nats.Conn { return s.conn }

// Addr is where other processes connect to, or empty if they can't.
func (s *Server) Addr() string {
	if a, ok := s.server.Addr().(*net.TCPAddr); ok && a != nil {
		return a.String()
	}
	return ""
}

// Close ends the connection and the server, after what it has been told is
// stored. It is called after the queue's Run has returned. A second Close does
// nothing.
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
	if o.SyncEvery < 0 || o.MaxBytes < 0 || o.StartTimeout < 0 {
		return nil, errors.New("embedded: an option is less than zero")
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
		JetStreamMaxMemory: 1 << 20, // the queue has nothing there
		JetStreamMaxStore:  o.MaxBytes,
		SyncAlways:         o.SyncEvery == 0,
		SyncInterval:       o.SyncEvery,
	}
	if o.SyncEvery == 0 {
		c.SyncInterval = time.Minute // of what is not written message by message
	}
	if o.Cluster != nil && o.Addr == "" {
		o.Addr = "127.0.0.1:0" // or the server waits for ever, also when it is to end
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
	c.Cluster.NoAdvertise = true // an Addr is for who was told of it
	if c.Cluster.Host, c.Cluster.Port, err = hostPort(o.Cluster.Addr); err != nil {
		return nil, err
	}
	for _, peer := range o.Cluster.Peers {
		c.Routes = append(c.Routes, &url.URL{Scheme: "nats", Host: peer})
	}
	return c, nil
}

// hostPort splits an address; port 0 is a free one.
func hostPort(addr string) (string, int, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("embedded: %w", err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("embedded: %q has no port", addr)
	}
	if n == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, int(n), nil
}
