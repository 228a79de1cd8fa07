package storage

import (
	"context"
	"errors"

	"golang.org/x/mod/module"
)

// Writable returns an error if the store can't take anything now: it writes a
// small file, syncs it and removes it. A server asks it for its
// readiness, so that lists which a full disk left behind are brought up to date soon
// after there is room.
func (s *Store) Writable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f, name, err := s.createZip()
	if err != nil {
		return fault("probe", module.Version{}, err)
	}
	_, err = f.Write([]byte("probe\n"))
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if rerr := s.fs.Remove(name); !isAbsent(rerr) { // otherwise another process has removed it
		err = errors.Join(err, rerr)
	}
	if err != nil {
		return fault("probe", module.Version{}, err)
	}
	s.repairLists()
	return nil
}
