package athens

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/internal/flight"
	"github.com/athens-go/athens/internal/protocol"
	"github.com/athens-go/athens/internal/sumcheck"
)

var errNoSumDB = errors.New("this server does not proxy that checksum database")

// serveSumDB answers a request to a checksum database from the store, or passes it on to
// the upstream. Without both it answers 404, and clients ask the database themselves.
// Blocked versions are looked up like others, because their .mod is served and a go
// command verifies it.
func (x *exchange) serveSumDB() error {
	if x.h.book.carries(x.req.DB) {
		return x.serveLedger()
	}
	// Neither the module nor the database's name may tell the upstream of a private
	// module.
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
	a, err := x.sumDBAnswer()
	x.remembered = a.remembered
	if err != nil {
		return err
	}
	if a.held {
		x.source, x.outcome = SourceStore, OutcomeHeld
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

// sumDBAnswer returns the answer from the store, from memory or from the upstream.
func (x *exchange) sumDBAnswer() (sumAnswer, error) {
	// A path that was parsed has one spelling, so this is the path that was understood.
	q := sumDBQuestion{db: x.req.DB, path: strings.TrimPrefix(x.r.URL.Path, "/"), module: x.req.Module, chain: x.chain}
	switch {
	case x.h.sums == nil:
		return x.h.askSumDB(x.r.Context(), q, nil)
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

// askSumDB asks the upstream once for all clients that wait. It remembers the answer that
// check makes of the upstream's for a while; check may be nil.
func (h *Handler) askSumDB(ctx context.Context, q sumDBQuestion, check func(context.Context, []byte) ([]byte, error)) (sumAnswer, error) {
	up, ok := h.opts.Upstream.(SumDBUpstream)
	if !ok {
		return sumAnswer{}, &MissingError{Err: errNoSumDB}
	}
	src := source{parent: RequestInfoFrom(ctx).TraceParent}
	ask := func(ctx context.Context) (body []byte, err error) {
		op := h.opts.begin(h.server.onward(ctx, src, q.chain), OpSumDB, SourceUpstream, q.module)
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
	return sumAnswer{body: a.body, remembered: a.remembered}, a.failure()
}

// maxSumDBs bounds the number of checksum databases whose newest tree is in memory, because
// clients choose the names. A tree that is dropped is read from the store again.
const maxSumDBs = 64

// sumDBs proxies checksum databases and stores what it has verified of them.
type sumDBs struct {
	opts     *Options
	store    SumDBStore
	answers  *answers
	upstream askDatabase
	alarm    func()        // counts databases that contradict themselves
	verifier note.Verifier // of the database whose key is known; nil if none is
	calls    *flight.Calls[questionKey, sumAnswer]

	mu     sync.Mutex
	byName map[string]*sumcheck.Database
	warned time.Time // when storing last failed and the log said so
}

// askDatabase asks the upstream. It is [Handler.askSumDB].
type askDatabase func(ctx context.Context, q sumDBQuestion, check func(context.Context, []byte) ([]byte, error)) (sumAnswer, error)

// A sumAnswer is an answer of a checksum database.
type sumAnswer struct {
	body       []byte
	held       bool // it came from the store
	remembered bool // it came from memory: the upstream was not asked for any part of it
}

// newSumDBs returns nil if the store does not keep answers of checksum databases.
func newSumDBs(ctx context.Context, storage Storage, opts *Options, answers *answers) (*sumDBs, error) {
	store, ok := storage.(SumDBStore)
	if !ok {
		return nil, nil
	}
	s := &sumDBs{opts: opts, store: store, answers: answers, calls: flight.NewCalls[questionKey, sumAnswer](ctx), byName: make(map[string]*sumcheck.Database)}
	if key, ok := opts.Checksums.(SumDBKey); ok {
		var err error
		if s.verifier, err = note.NewVerifier(key.VerifierKey()); err != nil {
			return nil, fmt.Errorf("athens: the key of Checksums: %w", err)
		}
	}
	return s, nil
}

// wait waits for running checks.
func (s *sumDBs) wait() {
	if s != nil {
		s.calls.Wait()
	}
}

// database returns the database of that name.
func (s *sumDBs) database(name string) *sumcheck.Database {
	s.mu.Lock()
	defer s.mu.Unlock()
	db := s.byName[name]
	if db == nil {
		var verifier note.Verifier
		if s.verifier != nil && s.verifier.Name() == name {
			verifier = s.verifier
		}
		for other := range s.byName {
			if len(s.byName) < maxSumDBs {
				break
			}
			delete(s.byName, other)
		}
		db = sumcheck.New(name, verifier, s.store, proved{s.answers, name}, func(err error) { s.notKept(name, err) })
		s.byName[name] = db
	}
	return db
}

// notKept logs, at most once a minute, that an answer could not be stored.
func (s *sumDBs) notKept(name string, err error) {
	s.mu.Lock()
	say := time.Since(s.warned) > time.Minute
	if say {
		s.warned = time.Now()
	}
	s.mu.Unlock()
	if say {
		s.opts.Logger.Warn("could not store an answer of a checksum database", "database", name, "error", printable(err.Error(), maxErrorBody))
	}
}

// proved keeps in memory what was proved of one database.
type proved struct {
	answers *answers
	name    string
}

func (p proved) question(path string) question {
	return question{op: "proved", path: p.name, query: path}
}

// Get implements [sumcheck.Memory].
func (p proved) Get(path string) []byte { return p.answers.get(p.question(path)).body }

// Put implements [sumcheck.Memory].
func (p proved) Put(path string, data []byte) {
	p.answers.put(p.question(path), answer{body: data, at: time.Now()})
}

// ask returns a function that gets the parts of a proof from the database of q. It sets
// asked when the upstream was asked, and not only memory.
func (s *sumDBs) ask(q sumDBQuestion, asked *atomic.Bool) sumcheck.Ask {
	return func(ctx context.Context, path string) ([]byte, error) {
		q := q
		q.path = "sumdb/" + q.db + "/" + path
		a, err := s.upstream(ctx, q, nil)
		if !a.remembered {
			asked.Store(true)
		}
		return a.body, err
	}
}

// lasting answers a request for a record or a tile from the store, otherwise from the
// upstream, whose answer is stored once it is proved.
func (s *sumDBs) lasting(ctx context.Context, q sumDBQuestion) (sumAnswer, error) {
	return s.calls.Do(ctx, questionKey{question{op: "sumdb", path: q.path}, q.chain}, func(ctx context.Context) (a sumAnswer, err error) {
		ctx, cancel := context.WithTimeout(ctx, s.opts.FetchTimeout)
		defer cancel()
		db, path := s.database(q.db), strings.TrimPrefix(q.path, "sumdb/"+q.db+"/")
		var asked atomic.Bool
		if q.module.Path != "" {
			a.body, a.held, err = db.Lookup(ctx, q.module, path, s.ask(q, &asked))
		} else {
			var t tlog.Tile
			if t, err = tlog.ParseTilePath(path); err == nil {
				a.body, a.held, err = db.Tile(ctx, t, s.ask(q, &asked))
			}
		}
		a.remembered = !a.held && !asked.Load()
		return a, s.judge(q, err)
	})
}

// changing answers a request for the newest tree, or whether the database is supported,
// from the upstream, otherwise from the store.
func (s *sumDBs) changing(ctx context.Context, q sumDBQuestion, op protocol.Op) (sumAnswer, error) {
	db := s.database(q.db)
	var check func(context.Context, []byte) ([]byte, error)
	if op == protocol.LatestTree {
		check = func(ctx context.Context, body []byte) ([]byte, error) {
			body, err := db.Latest(ctx, body, s.ask(q, new(atomic.Bool)))
			return body, s.judge(q, err)
		}
	}
	if head := db.Head(ctx); head != nil {
		var body []byte
		if op == protocol.LatestTree {
			body = head.Note
		}
		if _, ok := s.opts.Upstream.(SumDBUpstream); !ok {
			return sumAnswer{body: body, held: true}, nil
		}
		s.answers.standIn(question{op: "sumdb", path: q.path}, body)
	}
	return s.upstream(ctx, q, check)
}

// judge turns a failed check into an [*InvalidError], and reports a database that
// contradicts itself.
func (s *sumDBs) judge(q sumDBQuestion, err error) error {
	wrong, ok := errors.AsType[*sumcheck.Error](err)
	if !ok {
		return err
	}
	if wrong.Alarm {
		s.alarm()
		s.opts.Logger.Error("checksum database contradicts itself", "database", q.db, "path", printable(q.path, maxErrorBody), "error", printable(err.Error(), maxErrorBody))
	}
	return &InvalidError{Path: q.module.Path, Version: q.module.Version, Err: err}
}
