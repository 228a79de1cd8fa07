package athens

import (
	"context"
	"errors"
	"strings"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/protocol"
)

var errNoSumDB = errors.New("this server does not pass on to that checksum database")

// serveSumDB passes a checksum database request on to the upstream. Clients of a
// server that does not will ask the database themselves.
func (x *exchange) serveSumDB() error {
	// Neither what is looked up nor the database's name may tell of a
	// private module.
	host, _, _ := strings.Cut(x.req.DB, ":")
	if x.route.Private || x.h.route(module.Version{Path: host}).Private {
		return &BlockedError{Path: x.req.Module.Path, Version: x.req.Module.Version, Reason: "private modules are in no public checksum database; set GONOSUMDB"}
	}
	up, ok := x.h.opts.Upstream.(SumDBUpstream)
	if !ok {
		return &MissingError{Err: errNoSumDB}
	}
	x.source, x.outcome = "upstream", "fetch"
	// Parsed paths have one spelling, so this is just what was understood.
	path := strings.TrimPrefix(x.r.URL.Path, "/")
	a := x.h.answers.ask(x.r.Context(), question{op: "sumdb", path: path}, x.chain, func(ctx context.Context) (a answer, err error) {
		ctx, end := x.h.opts.trace(x.h.onward(ctx, x.chain), "sumdb", x.req.Module)
		defer func() { end(err) }()
		a.body, err = up.SumDB(ctx, path)
		return a, err
	})
	if err := a.failure(); err != nil {
		return err
	}
	contentType, age := "text/plain; charset=utf-8", x.maxAge()
	switch x.req.Op {
	case protocol.TileRequest:
		contentType, age = "application/octet-stream", forever
	case protocol.LatestTree:
		age = "no-cache"
	}
	return x.serveAnswer(contentType, age, a.body)
}
