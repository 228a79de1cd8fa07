package follow

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens"
)

// Signed returns the newest head that was verified. Before the first one the error is an
// [*athens.UnavailableError].
func (f *Follower) Signed(ctx context.Context) ([]byte, error) { return f.mirror.Signed(ctx) }

// ReadRecords returns records, as [athens.Ledger] says.
func (f *Follower) ReadRecords(ctx context.Context, id, n int64) ([][]byte, error) {
	return f.mirror.ReadRecords(ctx, id, n)
}

// ReadTileData returns the hashes of a tile, as [athens.Ledger] says.
func (f *Follower) ReadTileData(ctx context.Context, t tlog.Tile) ([]byte, error) {
	return f.mirror.ReadTileData(ctx, t)
}

// Since calls each for the records, as [athens.Ledger] says, with the times at which this
// server took them over.
func (f *Follower) Since(ctx context.Context, since time.Time, each func(m module.Version, at time.Time) bool) error {
	return f.mirror.Since(ctx, since, each)
}

// VerifierKey returns the public key of the log.
func (f *Follower) VerifierKey() string { return f.mirror.VerifierKey() }

// Recorded returns the number of the record of m without asking the primary. One that is
// not here is [fs.ErrNotExist].
func (f *Follower) Recorded(ctx context.Context, m module.Version) (int64, error) {
	return f.mirror.Lookup(ctx, m)
}

// Lookup returns the number of the record of m. What is not recorded here is looked up at
// the primary, which fetches and records it; its log is then read that far. The error is
// an [*athens.MissingError] if the primary says that there is no such version.
func (f *Follower) Lookup(ctx context.Context, m module.Version) (int64, error) {
	id, err := f.mirror.Lookup(ctx, m)
	if err == nil || !errors.Is(err, fs.ErrNotExist) || f.primary == nil {
		return id, err
	}
	return f.lookups.Do(ctx, m, func(ctx context.Context) (int64, error) { return f.ask(ctx, m) })
}

// ask looks a version up at the primary.
func (f *Follower) ask(ctx context.Context, m module.Version) (int64, error) {
	path, err := lookupPath(m)
	if err != nil {
		return 0, &athens.MissingError{Path: m.Path, Query: m.Version, Err: err}
	}
	size := f.mirror.Size()
	body, err := f.get(ctx, path, maxLookup)
	if err != nil {
		return 0, err
	}
	id, signed, err := parseLookup(body, m)
	if err != nil {
		return 0, f.wrong("the record of %s can't be used: %w", m, err)
	}
	if err := f.advance(ctx, signed, size); err != nil {
		f.noteRound(err)
		return 0, refused(err)
	}
	got, err := f.mirror.Lookup(ctx, m)
	if errors.Is(err, fs.ErrNotExist) || err == nil && got != id {
		return 0, f.wrong("it says that %s is record %d, and its log does not", m, id)
	}
	return got, err
}

// refused makes a fork an answer of the primary that can't be right.
func refused(err error) error {
	if fork, ok := errors.AsType[*ForkError](err); ok {
		return &athens.InvalidError{Err: fork}
	}
	return err
}

// Add compares a version with its record, which the primary makes if there is none. Other
// hashes are an [*athens.ConflictError].
func (f *Follower) Add(ctx context.Context, m module.Version, zipHash, modHash string) (int64, error) {
	if _, err := f.Lookup(ctx, m); err != nil {
		return 0, err
	}
	return f.mirror.Add(ctx, m, zipHash, modHash)
}
