// Command cluster runs several proxies behind one address, with one bucket and one queue, all
// on this machine. Parts of it can be killed to see what clients notice:
//
//	go run ./examples/cluster
//	curl http://127.0.0.1:3009/                     # lists the processes
//	curl -X POST http://127.0.0.1:3009/kill/proxy-2 # kill -9; the cluster starts it again
//
// Arguments after "--" are passed to each proxy: "-- -miss fetch". The bucket is on an S3
// server that the command builds, unless -bucket names another. In production the proxies
// (command replica) run on separate machines: see the folder deploy.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/athens-go/athens/examples/internal/command"
)

func main() { command.Main(run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o options
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:3000", "serve modules on this `address`, through the proxies")
	ops := flags.String("ops", "127.0.0.1:3009", "list and kill processes at this `address`; empty means nowhere")
	flags.IntVar(&o.proxies, "proxies", 3, "run this `number` of proxies")
	flags.StringVar(&o.dir, "dir", "", "keep everything in this `folder`; empty means one in the user's cache folder")
	flags.StringVar(&o.bucket, "bucket", "", "keep modules in the bucket at this `URL`; empty means a bucket on an S3 server that the cluster runs")
	flags.StringVar(&o.queue, "nats", "", "share fills through the JetStream server at this `URL`; empty means one that the cluster runs")
	flags.StringVar(&o.ledger, "ledger", "", "let the proxies share a signed log of what they serve, a checksum database of this `name`; empty means none")
	if err := flags.Parse(args); err != nil {
		return err
	}
	o.args = flags.Args()
	if o.dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("no default for -dir: %w", err)
		}
		o.dir = filepath.Join(cache, "athens", "cluster")
	}

	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	defer listener.Close()
	c, err := start(ctx, &o, stderr)
	if err != nil {
		return err
	}
	defer c.stop()
	servers := []*http.Server{{Handler: newFront(c.proxies)}, {Addr: *ops, Handler: killSwitch(c)}}
	failed := make(chan error, len(servers))
	go func() { failed <- servers[0].Serve(listener) }()
	if *ops != "" {
		go func() { failed <- servers[1].ListenAndServe() }()
	}
	if *ops != "" {
		fmt.Fprintf(stderr, "cluster: all processes are running; http://%s/ lists them\n", *ops)
	}
	fmt.Fprintln(stdout, c.paste(listener.Addr()))
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	for _, s := range servers {
		_ = s.Close() // a demonstration need not drain
	}
	return err
}
