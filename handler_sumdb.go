package athens

import (
	"context"
	"errors"
	"strings"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/protocol"
)

var errNoSumDB = errors.New("this server does not pass on to that checksum database")

// serveSumDB answers a checksum database request from what is kept, or passes it
// on to the upstream. Clients of a server that does neither will ask the
// database themselves. What is blocked is looked up like the rest: its .mod is
// served, and a go command verifies that.
func (x *exchange) serveSumDB() error {
	// Neither what is looked up nor the database's name may tell of a
	// private module.
	private, err := x.h.mentionsPrivate(x.r.Context(), x.req.DB)
	if err != nil {
		return err
	}
	if x.route.Private || private {
		return &BlockedError{Path: x.req.Module.Path, Version: x.req.Module.Version, Reason: "private modules are in no public checksum database; set GONOSUMDB"}
	}
	if _, ok := x.h.opts.Upstream.(SumDBUpstream); ok {
		x.source, x.outcome = SourceUpstream, OutcomeFetch
	}
	body, held, err := x.sumDBAnswer()
	if err != nil {
		return err
	}
	if held {
		x.source, x.outcome = SourceStore, OutcomeHeld
	}
	contentType, age := "text/plain; charset=utf-8", x.maxAge()
	switch x.req.Op {
	case protocol.TileRequest:
		contentType, age = "application/octet-stream", forever
	case protocol.LatestTree:
		age = "no-cache"
	}
	return x.serveAnswer(contentType, age, body)
}

// sumDBAnswer returns the answer, and whether it was kept.
func (x *exchange) sumDBAnswer() (body []byte, held bool, err error) {
	// Parsed paths have one spelling, so this is just what was understood.
	q := sumDBQuestion{db: x.req.DB, path: strings.TrimPrefix(x.r.URL.Path, "/"), module: x.req.Module, chain: x.chain}
	switch {
	case x.h.sums == nil:
		body, err = x.h.askSumDB(x.r.Context(), q, nil)
		return body, false, err
	case x.req.Op == protocol.Supported || x.req.Op == protocol.LatestTree:
		return x.h.sums.changing(x.r.Context(), q, x.req.Op)
	}
	return x.h.sums.lasting(x.r.Context(), q)
}

// sumDBQuestion is a request to a checksum database.
type sumDBQuestion struct {
	db     string // its name
	path   string // of the URL, sumdb/NAME/…
	module module.Version
	chain  string
}

// askSumDB asks the upstream, once however many want it, and remembers the
// answer for a while, as check, which may be nil, returns it.
func (h *Handler) askSumDB(ctx context.Context, q sumDBQuestion, check func(context.Context, []byte) ([]byte, error)) ([]byte, error) {
	up, ok := h.opts.Upstream.(SumDBUpstream)
	if !ok {
		return nil, &MissingError{Err: errNoSumDB}
	}
	ask := func(ctx context.Context) (body []byte, err error) {
		op := h.opts.begin(h.onward(ctx, source{}, q.chain), OpSumDB, SourceUpstream, q.module)
		defer func() { op.event.Bytes = int64(len(body)); op.end(err) }()
		return up.SumDB(op.ctx, q.path)
	}
	a := h.answers.ask(ctx, inquiry{question: question{op: OpSumDB, path: q.path}, chain: q.chain, source: SourceUpstream}, func(ctx context.Context) (a answer, err error) {
		a.body, err = ask(ctx)
		if err == nil && check != nil {
			a.body, err = check(ctx, a.body)
		}
		return a, err
	})
	return a.body, a.failure()
}
