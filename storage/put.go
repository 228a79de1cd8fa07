package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/durable"
	"github.com/athens-go/athens/internal/modcheck"
	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"
)

// Put stores .info and .mod. The version is held once the .mod has its name;
// an error after that says that it, or the list, may not survive a power cut,
// and another Put of the same puts that right.
func (s *Store) Put(ctx context.Context, m module.Version, info *athens.Info, mod []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	base, err := s.base(m)
	if err != nil {
		return fault("put", m, err)
	}
	if info == nil || len(mod) == 0 {
		return fault("put", m, errors.New("the .info or the .mod is empty"))
	}
	n := lockOf(m.Path)
	unlock, err := s.locks.lock(ctx, n)
	if err != nil {
		return s.unlocked(ctx, "put", m, err)
	}
	p := put{Store: s, m: m, base: base, lock: n, info: info, mod: mod}
	err = p.run(ctx)
	unlock()
	if err == nil {
		s.repairLists()
	}
	return p.fault(ctx, err)
}

// run stores the version, for a caller that has the module's lock.
func (p *put) run(ctx context.Context) error {
	if err := p.removal(p.m, p.base); err != nil {
		return err
	}
	held, err := p.exists(p.base + ext(athens.ModFile))
	if err != nil {
		return err
	}
	if held {
		err = p.again(ctx)
	} else {
		err = p.first(ctx)
	}
	if err == nil {
		err = p.putAgain(p.lock, p.m, p.base)
	}
	if err == nil {
		err = p.finish()
	}
	if p.note != "" {
		p.dropNote(p.note, err)
	}
	return err
}

// finish brings the list up to date, and puts it and the record on the medium.
func (p *put) finish() error {
	dir := filepath.Dir(p.base)
	listed, err := p.writeList(p.lock, p.m.Path, dir)
	if err == nil && (listed || p.loose) {
		err = durable.SyncDir(p.fs, dir)
	}
	if err == nil {
		p.known.add(p.m, known{base: p.base, info: true, synced: true})
	}
	return err
}

// unlocked is the error for a lock that could not be had.
func (s *Store) unlocked(ctx context.Context, op string, m module.Version, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fault(op, m, err)
}

// put is one Put that has the module's lock.
type put struct {
	*Store
	m    module.Version
	base string
	lock int
	info *athens.Info
	mod  []byte

	loose bool   // a file was renamed and the folder not synced yet
	note  string // the file that says that the list will change; empty if there is none
}

// fault dresses err, unless it is one that the contract names.
func (p *put) fault(ctx context.Context, err error) error {
	var conflict *athens.ConflictError
	var invalid *athens.InvalidError
	if err == nil || errors.As(err, &conflict) || errors.As(err, &invalid) || isRemoved(err) || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return err
	}
	return fault("put", p.m, err)
}

// first stores a version that is not held. An .info that lies there already is
// of a Put that was cut off, and may be of another commit; what a record says was
// held once, and binds. The record comes after the .mod, so that there is none of
// what was never held.
func (p *put) first(ctx context.Context) error {
	info, err := p.bound()
	if err != nil {
		return err
	}
	if err := p.makeFolder(module.Version{Path: p.m.Path}, filepath.Dir(p.base)); err != nil {
		return err
	}
	if err := p.writeFile(p.lock, p.base+ext(athens.InfoFile), info); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	p.note = p.Store.note(p.lock, p.m.Path)
	if err := p.writeNote(p.note, p.m.Path); err != nil {
		return err
	}
	if err := p.writeFile(p.lock, p.base+ext(athens.ModFile), p.mod); err != nil {
		return err
	}
	return p.record(info)
}

// bound compares with what the record says, and returns the .info to write: that
// of the record, if it has one.
func (p *put) bound() (info []byte, err error) {
	if info, err = p.encode(); err != nil {
		return nil, err
	}
	rec, err := p.readRecord(p.m, p.base)
	if err != nil {
		return nil, err
	}
	if rec.mod != "" {
		got, err := modcheck.ModHash(p.mod)
		if err != nil {
			return nil, err
		}
		if got != rec.mod {
			return nil, p.conflict(athens.ModFile, rec.mod, got)
		}
	}
	if rec.info == nil {
		return info, nil
	}
	was, err := parseInfo(p.m, bytes.NewReader(rec.info))
	if err != nil || was == nil {
		return nil, errRecord
	}
	return rec.info, p.compareInfo(was)
}

// record adds the version to its record, where that lacks it.
func (p *put) record(info []byte) error {
	mod, err := modcheck.ModHash(p.mod)
	if err == nil {
		var written bool
		written, err = p.addRecord(p.lock, p.m, p.base, record{mod: mod, info: info})
		p.loose = p.loose || written
	}
	return err
}

// makeFolder makes a folder, and puts it on the medium, once as long as mark,
// which is no version, is remembered.
func (s *Store) makeFolder(mark module.Version, dir string) error {
	if _, ok := s.known.Get(mark); ok {
		if _, err := s.fs.Stat(dir); err == nil {
			return nil
		}
	}
	err := durable.MkdirAll(s.fs, s.dir, dir)
	if err == nil {
		s.known.add(mark, known{})
	}
	return err
}

// encode returns the .info to store.
func (p *put) encode() ([]byte, error) {
	data, err := p.info.Encode()
	if err == nil && p.info.Version != p.m.Version {
		err = fmt.Errorf("the .info names version %q", p.info.Version)
	}
	if err == nil && len(data) > maxInfo {
		err = fmt.Errorf("the .info has %d bytes, more than %d", len(data), maxInfo)
	}
	if err == nil && !isInfo(p.m, data) {
		err = errors.New("the .info does not parse")
	}
	if err != nil {
		return nil, &athens.InvalidError{Path: p.m.Path, Version: p.m.Version, Err: err}
	}
	return data, nil
}

// again compares with what is held, and adds the .info if that is missing.
func (p *put) again(ctx context.Context) error {
	if err := p.compareMod(); err != nil {
		return err
	}
	held, err := p.readInfo(p.m, p.base)
	if err != nil {
		return err
	}
	if held == nil {
		info, err := p.bound()
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := p.writeFile(p.lock, p.base+ext(athens.InfoFile), info); err != nil {
			return err
		}
	} else if err := p.compareInfo(held); err != nil {
		return err
	}
	return p.settle()
}

// settle puts on the medium what others wrote: they may have died before they
// did, and the go command leaves that to the system. It records what has no
// record, as what others wrote has not; a damaged one is for Verify to find.
func (p *put) settle() error {
	if k, ok := p.known.Get(p.m); ok && k.synced {
		return nil
	}
	dir := filepath.Dir(p.base)
	for _, f := range []athens.File{athens.InfoFile, athens.ModFile} {
		if err := durable.SyncFile(p.fs, p.base+ext(f)); err != nil {
			return err
		}
	}
	if err := durable.SyncDir(p.fs, dir); err != nil {
		return err
	}
	if err := durable.MkdirAll(p.fs, p.dir, dir); err != nil {
		return err
	}
	info, err := p.readSmall(p.base+ext(athens.InfoFile), maxInfo)
	if err == nil {
		err = p.record(info)
	}
	if errors.Is(err, errRecord) {
		return nil
	}
	return err
}

func (p *put) compareMod() error {
	f, err := p.fs.Open(p.base + ext(athens.ModFile))
	if err != nil {
		return err
	}
	defer f.Close()
	held, err := io.ReadAll(io.LimitReader(f, max(modzip.MaxGoMod, int64(len(p.mod)))+1))
	if err != nil {
		return err
	}
	if bytes.Equal(held, p.mod) {
		return nil
	}
	heldHash, err := modcheck.ModHash(held)
	if err != nil {
		return err
	}
	gotHash, err := modcheck.ModHash(p.mod)
	if err != nil {
		return err
	}
	if rec, err := p.readRecord(p.m, p.base); err == nil && rec.mod != "" && rec.mod != heldHash {
		return fmt.Errorf("the stored .mod is damaged: its hash is %s, not %s", heldHash, rec.mod)
	}
	return p.conflict(athens.ModFile, heldHash, gotHash)
}

func (p *put) compareInfo(held *athens.Info) error {
	if held.Version != p.info.Version {
		return p.conflict(athens.InfoFile, "version "+held.Version, "version "+p.info.Version)
	}
	if p.info.Raw == nil && !held.Time.Equal(p.info.Time) {
		return p.conflict(athens.InfoFile, "of "+stamp(held.Time), "of "+stamp(p.info.Time))
	}
	if was, is := commit(held), commit(p.info); was != "" && is != "" && was != is {
		return p.conflict(athens.InfoFile, "commit "+was, "commit "+is)
	}
	return nil
}

func (p *put) conflict(f athens.File, held, got string) error {
	return &athens.ConflictError{Module: p.m, File: f, Held: held, Got: got}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func commit(info *athens.Info) string {
	if info.Origin == nil {
		return ""
	}
	return info.Origin.Hash
}
