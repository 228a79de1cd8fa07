// Command server is a server for modtest's own tests: it greets, and keeps the
// contract of the servers in examples/ for its first line and its end.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:3000", "address to listen at")
	fail := flag.Bool("fail", false, "exit with status 3 on SIGTERM")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("export GOPROXY=http://%s GONOPROXY=none GONOSUMDB='a.test,b.test'\n", l.Addr())
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(os.Stderr, "asked for", r.URL.Path)
		fmt.Fprint(w, os.Getenv("GREETING"))
	})}
	go func() { _ = s.Serve(l) }()
	<-ctx.Done()
	_ = s.Shutdown(context.Background())
	fmt.Fprintln(os.Stderr, "drained")
	if *fail {
		os.Exit(3)
	}
}
