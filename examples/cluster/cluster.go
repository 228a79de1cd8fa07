package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// options say which processes a cluster has.
type options struct {
	proxies int
	dir     string
	bucket  string // URL; empty: the cluster runs an S3 server
	queue   string // URL; empty: the cluster runs a JetStream server
	ledger  string // name of a ledger that the proxies share; empty: none
	args    []string
}

// A cluster is the processes of the cluster, which use each other.
type cluster struct {
	members []*member // the bucket and the queue first
	proxies []*member // the members that are proxies
	bucket  string    // URL

	stops []func() // in the order of the members
}

// start builds and starts all members. When it returns, all of them listen.
func start(ctx context.Context, o *options, stderr io.Writer) (*cluster, error) {
	if o.proxies < 1 {
		return nil, fmt.Errorf("-proxies is %d, less than one", o.proxies)
	}
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return nil, err
	}
	bins, err := build(ctx, filepath.Join(dir, "bin"), o, stderr)
	if err != nil {
		return nil, err
	}
	c := &cluster{}
	bucket, queue := o.bucket, o.queue
	var login []string
	if bucket == "" {
		m, url, err := s3(bins.s3, filepath.Join(dir, "bucket"))
		if err != nil {
			return nil, err
		}
		bucket, login = url, m.env
		c.members = append(c.members, m)
	}
	if queue == "" {
		m, err := newMember("queue", bins.queue, "-dir", filepath.Join(dir, "queue"))
		if err != nil {
			return nil, err
		}
		queue = "nats://" + m.addr
		c.members = append(c.members, m)
	}
	ledger, err := ledgerArgs(dir, o.ledger)
	if err != nil {
		return nil, err
	}
	args := append(ledger, o.args...)
	services := len(c.members)
	for i := range o.proxies {
		name := fmt.Sprintf("proxy-%d", i+1)
		m, err := newMember(name, bins.replica, append([]string{"-dir", filepath.Join(dir, name), "-bucket", bucket, "-nats", queue, "-trusted-proxy", "127.0.0.1"}, args...)...)
		if err != nil {
			return nil, err
		}
		m.env = login
		c.members = append(c.members, m)
	}
	c.proxies, c.bucket = c.members[services:], bucket
	return c, c.run(context.WithoutCancel(ctx), services, stderr)
}

// run starts the members: first the services, which the proxies need.
func (c *cluster) run(ctx context.Context, services int, stderr io.Writer) error {
	out := &lines{w: stderr}
	for i, m := range c.members {
		fmt.Fprintf(out, "cluster: starting %s on %s\n", m.name, m.addr)
		ctx, cancel := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			m.run(ctx, out)
		}()
		c.stops = append(c.stops, func() { cancel(); <-ended })
		if i < services {
			if err := m.ready(ctx); err != nil {
				c.stop()
				return err
			}
		}
	}
	for _, m := range c.proxies {
		if err := m.ready(ctx); err != nil {
			c.stop()
			return err
		}
	}
	return nil
}

// stop ends all members, the proxies first.
func (c *cluster) stop() {
	services := len(c.members) - len(c.proxies)
	var wg sync.WaitGroup
	for i, stop := range c.stops {
		if i >= services {
			wg.Go(stop)
		}
	}
	wg.Wait()
	for _, stop := range c.stops[:min(services, len(c.stops))] {
		stop()
	}
}

// paste returns the line that points the go command at the cluster: the line that a proxy
// printed when it started, with the cluster's address in place of its own.
func (c *cluster) paste(addr net.Addr) string {
	return strings.Replace(c.proxies[0].says.String(), c.proxies[0].addr, addr.String(), 1)
}

// newMember returns a member that runs bin with -addr and a port that is free now.
func newMember(name, bin string, args ...string) (*member, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	return &member{name: name, addr: addr, bin: bin, args: append([]string{"-addr", addr}, args...)}, nil
}

// freeAddr returns an address on loopback that no process listens on. A member gets its address
// before it starts, and keeps it when it is started again.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// s3 returns a member that serves one bucket in dir, and the bucket's URL.
func s3(bin, dir string) (*member, string, error) {
	const bucket = "modules"
	objects, metadata := filepath.Join(dir, "objects"), filepath.Join(dir, "metadata")
	for _, d := range []string{filepath.Join(objects, bucket), metadata} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, "", err
		}
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, "", err
	}
	access, secret := "cluster", rand.Text()
	m := &member{
		name: "bucket", addr: addr, bin: bin, mute: true,
		args: []string{"--port", addr, "--quiet", "posix", "--sidecar", metadata, objects},
		env: []string{ // for the server and for its clients
			"ROOT_ACCESS_KEY=" + access, "ROOT_SECRET_KEY=" + secret,
			"AWS_ACCESS_KEY_ID=" + access, "AWS_SECRET_ACCESS_KEY=" + secret, "AWS_EC2_METADATA_DISABLED=true",
		},
	}
	return m, "s3://" + bucket + "?region=us-east-1&use_path_style=true&endpoint=http://" + addr, nil
}

// lines lets several goroutines write to one writer.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
