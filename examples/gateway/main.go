// Command gateway is a company's existing service, with its own mux, login and
// log, that mounts a module proxy under /go/.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"

	"github.com/athens-go/athens/examples/internal/command"
	"github.com/athens-go/athens/examples/internal/server"
	"github.com/athens-go/athens/serve"
)

func main() { command.Main(run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := server.NewFlags("gateway", "127.0.0.1:3002")
	upstream := flags.UpstreamFlag()
	plain := flags.Bool("plain", false, "serve plain HTTP, behind a load balancer that terminates TLS;\nnot given means TLS, without which the go command sends no login")
	tells := flags.EventsFlag()
	if err := flags.ParseArgs(args, stdout, stderr); err != nil {
		return err
	}
	log, flush := flags.NewLogger(stderr)
	defer flush()
	parts, err := server.Open(flags, log)
	if err != nil {
		return err
	}
	if err := parts.UseUpstream(*upstream); err != nil {
		return err
	}
	if err := parts.UseEvents(*tells); err != nil {
		return err
	}
	handler, err := parts.Handler()
	if err != nil {
		return err
	}
	dir, err := flags.StoreDir()
	if err != nil {
		return err
	}
	secrets := filepath.Join(dir, ".gateway")
	users, err := newLogin(secrets)
	if err != nil {
		return err
	}
	scheme, trust, err := useTLS(parts, *plain, secrets)
	if err != nil {
		return err
	}
	users.off = parts.Guarded() // clients of modules have tokens, and a request has one login

	modules, err := parts.Front(handler, nil)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "This is our company's gateway; Go modules are under /go/.")
	})
	mux.Handle("/go/", http.StripPrefix("/go", modules))
	root := serve.Front(logged(parts.Log, users.required(mux)), parts.Health, nil) // probes need no login
	return parts.Serve(ctx, handler, root, stdout, func(addr net.Addr) string {
		if addr.Network() == "unix" {
			return server.SocketLine(addr)
		}
		host := serve.LocalHost(addr)
		netrc, err := users.writeNetrc(host)
		if err != nil {
			parts.Log.Error("netrc", "error", err)
		}
		return serve.PasteLine(scheme+"://"+host+flags.Prefix()+"/go", parts.Private) + " NETRC=" + serve.Quote(netrc) + trust
	})
}
