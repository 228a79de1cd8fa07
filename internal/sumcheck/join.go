package sumcheck

import (
	"context"
	"errors"

	"golang.org/x/mod/sumdb/tlog"
)

// Join compares a stored head of the database of that name, nil if there is none, with one that
// was stored elsewhere. It reports whether the other one is newer, and whether the older of the
// two is proved to be the beginning of the newer, for which it reads tiles in the store. The error
// is an [*Error] if the other head is malformed, or the two contradict each other.
func Join(ctx context.Context, name string, stored, other []byte, tiles Store) (newer, proved bool, err error) {
	theirs, err := decodeHead(other, name, nil)
	if err != nil || stored == nil {
		return true, err == nil, err
	}
	ours, err := decodeHead(stored, name, nil)
	if err != nil {
		return true, true, nil //nolint:nilerr // a damaged head counts as none
	}
	if err := ours.agrees(theirs.Tree); err != nil {
		return false, false, err
	}
	older, later := theirs, ours
	if newer = theirs.Tree.N > ours.Tree.N; newer {
		older, later = ours, theirs
	}
	if older.Tree.N == later.Tree.N {
		return false, true, nil
	}
	d := New(name, nil, tiles, nothing{}, func(error) {})
	// Not d.prove, for which a stored tile that is wrong counts as none.
	p := &proof{ctx: ctx, db: d, head: later, ask: nobody, tiles: make(map[tlog.Tile]*tile)}
	err = p.check(claim{tree: later.Tree, older: older.Tree})
	if _, open := errors.AsType[*unproven](err); open {
		return newer, false, nil
	}
	return newer, err == nil, err
}

// nothing is a [Memory] that forgets.
type nothing struct{}

func (nothing) Get(string) []byte  { return nil }
func (nothing) Put(string, []byte) {}
