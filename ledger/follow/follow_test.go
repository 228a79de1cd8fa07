package follow_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/ledger"
	"github.com/athens-go/athens/ledger/follow"
	"github.com/athens-go/athens/ledger/ledgertest"
)

// pair is a primary and its follower as one ledger.
type pair struct {
	*follow.Follower
	primary *ledger.Ledger
}

func (p *pair) Add(ctx context.Context, m module.Version, zipHash, modHash string) (int64, error) {
	if _, err := p.primary.Add(ctx, m, zipHash, modHash); err != nil {
		return 0, err
	}
	return p.Follower.Add(ctx, m, zipHash, modHash)
}

func (p *pair) Signed(ctx context.Context) ([]byte, error) {
	if err := p.Poll(ctx); err != nil {
		return nil, err
	}
	return p.Follower.Signed(ctx)
}

func (p *pair) Close() error { return errors.Join(p.Follower.Close(), p.primary.Close()) }

var _ io.Closer = (*pair)(nil)

// TestKit has a follower keep the promises of a ledger, with what its primary records.
func TestKit(t *testing.T) {
	ledgertest.Run(t, func(t *testing.T) ledgertest.Open {
		dir := t.TempDir()
		key, public := newKey(t)
		return func() (athens.Ledger, error) {
			l, err := ledger.New(filepath.Join(dir, "primary"), key, nil)
			if err != nil {
				return nil, err
			}
			f, err := follow.New(filepath.Join(dir, "follower"), public, &primary{Ledger: l}, nil)
			if err != nil {
				return nil, errors.Join(err, l.Close())
			}
			return &pair{f, l}, nil
		}
	})
}

// TestReadsTheLog takes over heads of logs that end in and between bundles of 256.
func TestReadsTheLog(t *testing.T) {
	t.Parallel()
	key, public := newKey(t)
	p, dir := newPrimary(t, key), t.TempDir()
	f := newFollower(t, dir, public, p, nil)
	_, err := f.Signed(t.Context())
	require.ErrorAs(t, err, new(*athens.UnavailableError), "there is no head before the first one is verified")
	done := 0
	for _, size := range []int{0, 1, 2, 255, 256, 257, 600, 1024} {
		p.add(t, done, size)
		done = size
		require.NoError(t, f.Poll(t.Context()))
		same(t, p, f)
		if size%2 == 0 { // a restart goes on
			require.NoError(t, f.Close())
			f = newFollower(t, dir, public, p, nil)
			same(t, p, f)
		}
	}
	before := p.asked.Load()
	require.NoError(t, f.Poll(t.Context()))
	assert.EqualValues(t, 1, p.asked.Load()-before, "requests if nothing is new")
	status := f.Status()
	assert.EqualValues(t, 1024, status.Records)
	assert.Empty(t, status.Error)
}

// TestLooksUp asks the primary for what is not recorded here.
func TestLooksUp(t *testing.T) {
	t.Parallel()
	key, public := newKey(t)
	p := newPrimary(t, key)
	p.add(t, 0, 300)
	f := newFollower(t, t.TempDir(), public, p, nil)
	ctx, sample := t.Context(), ledgertest.NewSample(299, "")
	_, err := f.Recorded(ctx, sample.Module)
	require.ErrorIs(t, err, fs.ErrNotExist)
	id, err := f.Lookup(ctx, sample.Module)
	require.NoError(t, err)
	got, err := f.Recorded(ctx, sample.Module)
	require.NoError(t, err)
	assert.Equal(t, id, got)
	same(t, p, f)

	_, err = f.Lookup(ctx, ledgertest.NewSample(300, "").Module)
	require.ErrorAs(t, err, new(*athens.MissingError))
	_, err = f.Add(ctx, sample.Module, ledgertest.NewSample(299, "other").Zip, sample.ModHash)
	require.ErrorAs(t, err, new(*athens.ConflictError))

	p.says(func(string, []byte, error) ([]byte, error) {
		return nil, &athens.UnavailableError{Source: "it", Err: io.ErrUnexpectedEOF}
	})
	_, err = f.Lookup(ctx, ledgertest.NewSample(300, "").Module)
	require.ErrorAs(t, err, new(*athens.UnavailableError))
	require.Error(t, f.Poll(ctx))
	assert.Contains(t, f.Status().Error, "it is unavailable")
	assert.NotZero(t, f.Status().LagTime)
	got, err = f.Lookup(ctx, sample.Module)
	require.NoError(t, err)
	assert.Equal(t, id, got)
}
