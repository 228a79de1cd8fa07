// Command cluster runs several proxies behind one name, on one bucket and one
// queue, all on this machine, to be watched while parts of it are killed:
//
//	go run ./examples/cluster
//	curl http://127.0.0.1:3009/                     # who is there
//	curl -X POST http://127.0.0.1:3009/kill/proxy-2 # kill -9; it is started again
//
// What comes after the flags goes to each proxy: "-- -miss fetch". The bucket is that
// of an S3 server which is built for it, unless -bucket names one. In earnest the
// proxies, command replica, run on machines of their own: see the folder deploy.
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

	"github.com/athens-go/athens/examples/internal/server"
)

func main() { server.Main(run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o options
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:3000", "serve on this `address` what the proxies have")
	ops := flags.String("ops", "127.0.0.1:3009", "list and kill processes on this `address`; empty means nowhere")
	flags.IntVar(&o.proxies, "proxies", 3, "run so `many` proxies")
	flags.StringVar(&o.dir, "dir", "", "keep everything in this `folder`; empty means one in the user's cache folder")
	flags.StringVar(&o.bucket, "bucket", "", "keep modules in the bucket of this `URL`; empty means one of an S3 server on this machine")
	flags.StringVar(&o.queue, "nats", "", "share fills through the JetStream server at this `URL`; empty means one on this machine")
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
	fmt.Fprintln(stdout, c.paste(listener.Addr()))
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	for _, s := range servers {
		_ = s.Close() // it is on this machine, for a look
	}
	return err
}
