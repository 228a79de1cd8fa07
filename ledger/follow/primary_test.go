package follow_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/ledger"
	"github.com/athens-go/athens/ledger/follow"
	"github.com/athens-go/athens/ledger/ledgertest"
)

const ledgerName = "sum.corp.example"

// newKey makes the keys of a ledger.
func newKey(t testing.TB) (private, public string) {
	t.Helper()
	private, err := ledger.NewKey(ledgerName)
	require.NoError(t, err)
	public, err = ledger.PublicKey(private)
	require.NoError(t, err)
	return private, public
}

// primary is a ledger that is asked over HTTP, in this process. Answer, if it is set, may
// change what it says.
type primary struct {
	athens.Ledger
	asked atomic.Int64

	mu     sync.Mutex
	answer func(path string, body []byte, err error) ([]byte, error)
}

// newPrimary opens an empty ledger.
func newPrimary(t testing.TB, key string) *primary {
	t.Helper()
	l, err := ledger.New(t.TempDir(), key, nil)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return &primary{Ledger: l}
}

// SumDB implements [athens.SumDBUpstream].
func (p *primary) SumDB(ctx context.Context, path string) ([]byte, error) {
	p.asked.Add(1)
	path = strings.TrimPrefix(path, "sumdb/"+ledgerName+"/")
	w := httptest.NewRecorder()
	sumdb.NewServer(p.Ledger).ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/"+path, nil))
	body, err := w.Body.Bytes(), error(nil)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if w.Code != 200 {
		body, err = nil, &athens.MissingError{Err: errors.New(w.Body.String())}
	}
	p.mu.Lock()
	answer := p.answer
	p.mu.Unlock()
	if answer != nil {
		return answer(path, body, err)
	}
	return body, err
}

// says makes the primary answer otherwise; nil is the truth.
func (p *primary) says(answer func(path string, body []byte, err error) ([]byte, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

// add records samples from one number up to another.
func (p *primary) add(t testing.TB, from, to int) {
	t.Helper()
	var group sync.WaitGroup
	errs := make([]error, to-from)
	for i := range errs {
		group.Go(func() { _, errs[i] = ledgertest.NewSample(from+i, "").Add(context.WithoutCancel(t.Context()), p) })
	}
	group.Wait()
	require.NoError(t, errors.Join(errs...))
}

// newFollower opens a follower in a folder.
func newFollower(t testing.TB, dir, key string, p athens.SumDBUpstream, opts *follow.Options) *follow.Follower {
	t.Helper()
	f, err := follow.New(dir, key, p, opts)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// same requires that a follower serves what the primary does: head, records and tiles.
func same(t testing.TB, p *primary, l athens.Ledger) {
	t.Helper()
	ctx := t.Context()
	want, err := p.Signed(ctx)
	require.NoError(t, err)
	got, err := l.Signed(ctx)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
	tree, err := ledgertest.Head(ctx, l)
	require.NoError(t, err)
	records, err := p.ReadRecords(ctx, 0, tree.N)
	require.NoError(t, err)
	copied, err := l.ReadRecords(ctx, 0, tree.N)
	require.NoError(t, err)
	require.Equal(t, records, copied)
	require.NoError(t, ledgertest.Extends(ctx, l, tree))
}
