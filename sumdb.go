package athens

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/internal/flight"
	"github.com/athens-go/athens/internal/modcheck"
	"github.com/athens-go/athens/internal/protocol"
	"github.com/athens-go/athens/internal/sumcheck"
)

// maxSumDBs bounds of how many checksum databases the newest tree is in memory:
// clients choose the names. What falls out is read from the store again.
const maxSumDBs = 64

// sumDBs is what is kept of checksum databases.
type sumDBs struct {
	h        *Handler
	store    SumDBStore
	verifier note.Verifier // of the one whose key is known; may be nil
	calls    *flight.Calls[questionKey, sumAnswer]

	mu     sync.Mutex
	byName map[string]*sumcheck.Database
	warned time.Time // when the log last said that something is not kept
}

// sumAnswer is an answer, and whether it was kept.
type sumAnswer struct {
	body []byte
	held bool
}

// newSumDBs returns nil if h's store does not keep what databases said.
func newSumDBs(h *Handler) (*sumDBs, error) {
	store, ok := h.storage.(SumDBStore)
	if !ok {
		return nil, nil
	}
	s := &sumDBs{h: h, store: store, calls: flight.NewCalls[questionKey, sumAnswer](h.ctx), byName: make(map[string]*sumcheck.Database)}
	if key, ok := h.opts.Checksums.(SumDBKey); ok {
		var err error
		if s.verifier, err = note.NewVerifier(key.VerifierKey()); err != nil {
			return nil, fmt.Errorf("athens: the key of Checksums: %w", err)
		}
	}
	return s, nil
}

// wait waits until nothing is being checked.
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
		db = sumcheck.New(name, verifier, s.store, proved{s.h.answers, name}, func(err error) { s.notKept(name, err) })
		s.byName[name] = db
	}
	return db
}

// notKept says in the log, now and then, that something was not kept.
func (s *sumDBs) notKept(name string, err error) {
	s.mu.Lock()
	say := time.Since(s.warned) > time.Minute
	if say {
		s.warned = time.Now()
	}
	s.mu.Unlock()
	if say {
		s.h.opts.Logger.Warn("checksum database: not kept", "database", name, "error", printable(err.Error(), maxErrorBody))
	}
}

// proved remembers what was proved of one database, in memory.
type proved struct {
	answers *answers
	name    string
}

func (p proved) question(path string) question {
	return question{op: "proved", path: p.name, query: path}
}

// Get is that of a sumcheck.Memory.
func (p proved) Get(path string) []byte { return p.answers.get(p.question(path)).body }

// Put is, too.
func (p proved) Put(path string, data []byte) {
	p.answers.put(p.question(path), answer{body: data, at: time.Now()})
}

// ask returns how the database of q is asked for parts of a proof.
func (s *sumDBs) ask(q sumDBQuestion) sumcheck.Ask {
	return func(ctx context.Context, path string) ([]byte, error) {
		q := q
		q.path = "sumdb/" + q.db + "/" + path
		return s.h.askSumDB(ctx, q, nil)
	}
}

// lasting answers for a record or a tile: from what is kept, else the upstream's
// answer, which is kept once it is proved.
func (s *sumDBs) lasting(ctx context.Context, q sumDBQuestion) (body []byte, held bool, err error) {
	a, err := s.calls.Do(ctx, questionKey{question{op: "sumdb", path: q.path}, q.chain}, func(ctx context.Context) (a sumAnswer, err error) {
		ctx, cancel := context.WithTimeout(ctx, s.h.opts.FetchTimeout)
		defer cancel()
		db, path := s.database(q.db), strings.TrimPrefix(q.path, "sumdb/"+q.db+"/")
		if q.module.Path != "" {
			a.body, a.held, err = db.Lookup(ctx, q.module, path, s.ask(q))
		} else {
			var t tlog.Tile
			if t, err = tlog.ParseTilePath(path); err == nil {
				a.body, a.held, err = db.Tile(ctx, t, s.ask(q))
			}
		}
		return a, s.judge(q, err)
	})
	return a.body, a.held, err
}

// changing answers for the newest tree, or whether there is such a database: as
// the upstream does, else from what is kept.
func (s *sumDBs) changing(ctx context.Context, q sumDBQuestion, op protocol.Op) (body []byte, held bool, err error) {
	db := s.database(q.db)
	var check func(context.Context, []byte) ([]byte, error)
	if op == protocol.LatestTree {
		check = func(ctx context.Context, body []byte) ([]byte, error) {
			body, err := db.Latest(ctx, body, s.ask(q))
			return body, s.judge(q, err)
		}
	}
	if head := db.Head(ctx); head != nil {
		if op == protocol.LatestTree {
			body = head.Note
		}
		if _, ok := s.h.opts.Upstream.(SumDBUpstream); !ok {
			return body, true, nil
		}
		s.h.answers.standIn(question{op: "sumdb", path: q.path}, body)
	}
	body, err = s.h.askSumDB(ctx, q, check)
	return body, false, err
}

// judge gives an error its kind, and raises the alarm if somebody lies.
func (s *sumDBs) judge(q sumDBQuestion, err error) error {
	wrong, ok := errors.AsType[*sumcheck.Error](err)
	if !ok {
		return err
	}
	if wrong.Alarm {
		s.h.conflicts.Add(1)
		s.h.opts.Logger.Error("checksum database contradicts itself", "database", q.db, "path", printable(q.path, maxErrorBody), "error", printable(err.Error(), maxErrorBody))
	}
	return &InvalidError{Path: q.module.Path, Version: q.module.Version, Err: err}
}

// vouchMod checks the .mod of a public module by the checksum database.
func (h *Handler) vouchMod(src source, m module.Version, mod []byte) error {
	if h.opts.Checksums == nil {
		return nil
	}
	h1, err := modcheck.ModHash(mod)
	if err != nil {
		return &InvalidError{m.Path, m.Version, err}
	}
	return h.vouch(src, m, "/go.mod", h1)
}

// vouch checks a hash of a public module by the checksum database. What the
// database does not know is not stored, but it is not missing either.
func (h *Handler) vouch(src source, m module.Version, suffix, h1 string) error {
	if h.opts.Checksums == nil || src.Private {
		return nil
	}
	version := m.Version + suffix
	lines, err := h.opts.Checksums.Lookup(m.Path, version)
	if missing, ok := outermost(err).(*MissingError); ok {
		return &InvalidError{m.Path, m.Version, fmt.Errorf("the checksum database does not know it: %v", missing.Err)}
	}
	if Final(err) { // its words, not those of the source
		return &InvalidError{m.Path, m.Version, fmt.Errorf("the checksum database fails: %w", err)}
	}
	if err != nil {
		return err
	}
	if err := modcheck.Vouched(lines, module.Version{Path: m.Path, Version: version}, h1); err != nil {
		return &InvalidError{m.Path, m.Version, err}
	}
	return nil
}
