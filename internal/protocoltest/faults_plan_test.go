package protocoltest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
)

// fault is one way for one call of a contract or a hook to go wrong.
type fault struct {
	call string // "put", "zip", "schedule", "route", …
	how  string
	nth  int // only that call, counted from 1; 0 is each call until it is mended
}

// plan makes faults happen, and watches what must not overlap or stay open.
type plan struct {
	mu     sync.Mutex
	faults []fault
	mended bool
	calls  map[string]int
	now    map[string]int // questions of a kind that are under way
	twice  []string       // questions that were asked while they were
	open   int            // bodies and stages
}

// enter counts a call and says how it goes wrong, if it does.
func (p *plan) enter(site string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls[site]++
	for _, f := range p.faults {
		if !p.mended && f.call == site && (f.nth == 0 || f.nth == p.calls[site]) {
			return f.how
		}
	}
	return ""
}

// opened counts what somebody has to close; d is 1 or -1.
func (p *plan) opened(d int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open += d
}

// question watches one that is asked of a source.
func (p *plan) question(what string) (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now[what]++; p.now[what] > 1 {
		p.twice = append(p.twice, what)
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.now[what]--
	}
}

// deafTime is how long a call goes on that does not heed its context: longer than any
// limit of the handler.
const deafTime = 25 * time.Minute

var errLate = errors.New("connection reset although all was there")

// callUnder does what is called, or fails it.
func callUnder[T any](ctx context.Context, p *plan, site string, m module.Version, do func() (T, error)) (T, error) {
	if how := p.enter(site); how != "" {
		return failCall(ctx, site, how, m, do)
	}
	return do()
}

// failCall fails a call: before it happened, although it happened, or not at all for a
// while.
func failCall[T any](ctx context.Context, site, how string, m module.Version, do func() (T, error)) (v T, err error) {
	waitFor(time.Second) // so that others come to wait for the same
	switch how {
	case "happened":
		if v, err = do(); err == nil {
			err = errLate
		}
	case "nothing":
	case "failed":
		err = errors.New("input/output error")
	case "full":
		err = &athenstest.SyscallError{Err: syscall.ENOSPC}
	case "lost":
		err = &fs.PathError{Op: "rename", Path: "/store", Err: fs.ErrNotExist}
	case "canceled":
		err = context.Canceled
	case "deadline":
		err = context.DeadlineExceeded
	case "deaf":
		waitFor(deafTime)
		if v, err = do(); err == nil {
			err = errLate
		}
	default: // how a source fails: see there
		if err = athenstest.Failure(ctx, site, how, m); err == nil {
			return do()
		}
	}
	return v, err
}

// brokenStore is a Storage under a plan.
type brokenStore struct {
	athens.Storage
	p *plan
}

func (s brokenStore) Open(ctx context.Context, m module.Version, f athens.File) (*athens.Object, error) {
	obj, err := callUnder(ctx, s.p, "open", m, func() (*athens.Object, error) { return s.Storage.Open(ctx, m, f) })
	if obj != nil && err == nil {
		s.p.opened(1)
		obj.Body = &brokenFile{ReadSeekCloser: obj.Body, p: s.p}
	} else if obj != nil {
		_ = obj.Body.Close() // who gets an error has nothing to close
	}
	return obj, err
}

// brokenFile is a Body under a plan. It is read a few bytes at a time.
type brokenFile struct {
	io.ReadSeekCloser
	p     *plan
	close sync.Once
}

func (b *brokenFile) Read(data []byte) (int, error) {
	switch how := b.p.enter("read"); how {
	case "":
	case "early":
		return 0, io.EOF
	default:
		return failCall(context.Background(), "read", how, athenstest.Example, func() (int, error) { return b.ReadSeekCloser.Read(data) })
	}
	return b.ReadSeekCloser.Read(data[:min(len(data), 50)])
}

func (b *brokenFile) Close() error {
	b.close.Do(func() { b.p.opened(-1) })
	return b.ReadSeekCloser.Close()
}

func (s brokenStore) Put(ctx context.Context, m module.Version, info *athens.Info, mod []byte) error {
	_, err := callUnder(ctx, s.p, "put", m, func() (struct{}, error) { return struct{}{}, s.Storage.Put(ctx, m, info, mod) })
	return err
}

func (s brokenStore) Versions(ctx context.Context, path string) ([]string, error) {
	return callUnder(ctx, s.p, "versions", module.Version{Path: path}, func() ([]string, error) { return s.Storage.Versions(ctx, path) })
}

func (s brokenStore) Stage(ctx context.Context) (athens.Stage, error) {
	stage, err := callUnder(ctx, s.p, "stage", athenstest.Example, func() (athens.Stage, error) { return s.Storage.Stage(ctx) })
	if err != nil {
		if stage != nil {
			_ = stage.Close() // who gets an error has nothing to close
		}
		return nil, err
	}
	if stage == nil {
		return nil, nil
	}
	s.p.opened(1)
	return &brokenStage{Stage: stage, p: s.p}, nil
}

// brokenStage is a Stage under a plan.
type brokenStage struct {
	athens.Stage
	p     *plan
	close sync.Once
}

func (g *brokenStage) Write(data []byte) (int, error) {
	return callUnder(context.Background(), g.p, "write", athenstest.Example, func() (int, error) { return g.Stage.Write(data) })
}

func (g *brokenStage) ReadAt(data []byte, off int64) (int, error) {
	return callUnder(context.Background(), g.p, "readat", athenstest.Example, func() (int, error) { return g.Stage.ReadAt(data, off) })
}

func (g *brokenStage) Commit(ctx context.Context, m module.Version, h1 string) error {
	_, err := callUnder(ctx, g.p, "commit", m, func() (struct{}, error) { return struct{}{}, g.Stage.Commit(ctx, m, h1) })
	return err
}

func (g *brokenStage) Close() error {
	g.close.Do(func() { g.p.opened(-1) })
	_, err := callUnder(context.Background(), g.p, "close", athenstest.Example, func() (struct{}, error) { return struct{}{}, g.Stage.Close() })
	return err
}

// brokenSource is version control or an upstream under a plan.
type brokenSource struct {
	athenstest.SumDBUpstream
	p *plan
}

// askSource puts a question to the source. Each takes a moment, so that two at a time are
// seen to be.
func askSource[T any](ctx context.Context, s brokenSource, site string, m module.Version, do func() (T, error)) (T, error) {
	defer s.p.question(site + " " + m.String())()
	waitFor(100 * time.Millisecond)
	return callUnder(ctx, s.p, site, m, do)
}

func (s brokenSource) Versions(ctx context.Context, path string) ([]string, error) {
	return askSource(ctx, s, "list", module.Version{Path: path}, func() ([]string, error) { return s.Source.Versions(ctx, path) })
}

func (s brokenSource) Resolve(ctx context.Context, path, query string) (*athens.Info, error) {
	site := "query"
	if query == "latest" {
		site = "latest"
	}
	return askSource(ctx, s, site, module.Version{Path: path, Version: query}, func() (*athens.Info, error) { return s.Source.Resolve(ctx, path, query) })
}

func (s brokenSource) Location(ctx context.Context, path string) (string, error) {
	return callUnder(ctx, s.p, "location", module.Version{Path: path}, func() (string, error) { return s.Upstream.Location(ctx, path) })
}

func (s brokenSource) SumDB(ctx context.Context, path string) ([]byte, error) {
	return askSource(ctx, s, "sumdb", module.Version{Path: path}, func() ([]byte, error) { return s.SumDBUpstream.SumDB(ctx, path) })
}

func (s brokenSource) Fetch(ctx context.Context, m module.Version) (athens.Content, error) {
	c, err := callUnder(ctx, s.p, "fetch", m, func() (athens.Content, error) { return s.Source.Fetch(ctx, m) })
	if c == nil {
		return nil, err
	}
	return brokenContent{c, s, m}, err
}

type brokenContent struct {
	athens.Content
	s brokenSource
	m module.Version
}

func (c brokenContent) Info(ctx context.Context) (*athens.Info, error) {
	return askSource(ctx, c.s, "info", c.m, func() (*athens.Info, error) { return c.Content.Info(ctx) })
}

func (c brokenContent) Mod(ctx context.Context) ([]byte, error) {
	return askSource(ctx, c.s, "mod", c.m, func() ([]byte, error) { return c.Content.Mod(ctx) })
}

func (c brokenContent) Zip(ctx context.Context, w io.Writer) error {
	_, err := askSource(ctx, c.s, "zip", c.m, func() (struct{}, error) { return struct{}{}, c.Content.Zip(ctx, w) })
	return err
}

// Lookup is a checksum database's: it knows what the source has.
func (s brokenSource) Lookup(path, version string) ([]string, error) {
	return callUnder(context.Background(), s.p, "lookup", module.Version{Path: path, Version: version}, func() ([]string, error) {
		v := s.Version(athenstest.Example)
		if bare, ok := strings.CutSuffix(version, "/go.mod"); ok {
			return []string{path + " " + bare + "/go.mod " + v.GoModSum}, nil
		}
		return []string{path + " " + version + " " + v.Sum}, nil
	})
}

// brokenFills is a FillScheduler under a plan.
type brokenFills struct {
	athens.FillScheduler
	p *plan
}

func (q brokenFills) Schedule(ctx context.Context, f athens.Fill, after time.Duration) error {
	_, err := callUnder(ctx, q.p, "schedule", f.Module, func() (struct{}, error) { return struct{}{}, q.FillScheduler.Schedule(ctx, f, after) })
	return err
}

func (f fault) String() string {
	if f.nth == 0 {
		return f.call + " " + f.how
	}
	return fmt.Sprintf("%s %s at call %d", f.call, f.how, f.nth)
}
