package athens

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync/atomic"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/cache"
	"github.com/athens-go/athens/internal/limit"
	"github.com/athens-go/athens/internal/modcheck"
)

// keeper takes one file of a version at a time from a source, checks it, and puts it into
// the store. Every file that the store gets from a source passes here.
type keeper struct {
	opts      *Options
	storage   Storage
	book      *ledgerBook                         // nil: there is no ledger
	denied    *cache.Cache[module.Version, error] // what Options.Admit refused within a MissingTTL
	conflicts atomic.Uint64                       // see Stats
}

func newKeeper(opts *Options, storage Storage) *keeper {
	return &keeper{
		opts:    opts,
		storage: storage,
		denied:  cache.New(recentBytes, func(m module.Version, err error) int64 { return int64(len(m.Path) + len(m.Version) + len(err.Error())) }),
	}
}

// holds reports whether all of the files are stored.
func (k *keeper) holds(ctx context.Context, m module.Version, files ...File) (bool, error) {
	for _, f := range files {
		obj, err := k.storage.Open(ctx, m, f)
		if err != nil {
			return false, storageError(err)
		}
		_ = obj.Body.Close() // nothing was read
	}
	return true, nil
}

// read reads a stored file of at most that many bytes.
func (k *keeper) read(ctx context.Context, m module.Version, f File, most int64) ([]byte, error) {
	obj, err := k.storage.Open(ctx, m, f)
	if err != nil {
		return nil, storeFault(err)
	}
	defer obj.Body.Close()
	b, err := limit.ReadAll(obj.Body, most)
	if err != nil {
		return nil, &storeError{fmt.Errorf("%s.%s: %w", m, f, err)}
	}
	return b, nil
}

// checkCommit checks that content is of the commit that the stored .info names.
func (k *keeper) checkCommit(ctx context.Context, src source, content Content, m module.Version) error {
	got, err := k.getInfo(ctx, src, content, m)
	if err != nil {
		return err
	}
	held, err := k.read(ctx, m, InfoFile, maxInfo)
	if err != nil {
		return err
	}
	return k.noteConflict(m, compareHeld(m, held, got, src.vcs))
}

// getInfo gets the .info from a source and checks it.
func (k *keeper) getInfo(ctx context.Context, src source, content Content, m module.Version) (info *Info, err error) {
	op := k.opts.begin(ctx, OpInfo, src.name, m)
	defer func() { op.end(err) }()
	if info, err = content.Info(op.ctx); err != nil {
		return nil, k.evictRemoved(ctx, src, m, err)
	}
	if info = cmp.Or(info, new(Info)); info.Version != m.Version {
		return nil, &InvalidError{m.Path, m.Version, fmt.Errorf("the source's .info names version %.80q", info.Version)}
	}
	if err := checkInfo(info, src.vcs); err != nil {
		return nil, &InvalidError{m.Path, m.Version, err}
	}
	k.opts.named(op.ctx, m.Path, *info)
	return info, nil
}

// named tells Options.Named of versions that a source has named.
func (o *Options) named(ctx context.Context, path string, versions ...Info) {
	if o.Named != nil && len(versions) > 0 {
		o.Named(ctx, path, versions)
	}
}

// maxInfo is the size in bytes of the largest .info.
const maxInfo = 1 << 20

// checkInfo checks that info can be encoded. It sets Raw in the .info of an upstream, so
// that the store takes it as a hint, and clears Raw in one from version control.
func checkInfo(info *Info, vcs bool) error {
	if vcs {
		info.Raw = nil
	}
	b, err := info.Encode()
	if err == nil && len(b) > maxInfo {
		err = fmt.Errorf("the source's .info has %d bytes, more than %d", len(b), maxInfo)
	}
	if err == nil && !vcs {
		info.Raw = b
	}
	return err
}

// evictRemoved returns err, a source's. If it says that the upstream has removed m, the
// store drops m as well: it can be fetched again once the upstream restores it.
func (k *keeper) evictRemoved(ctx context.Context, src source, m module.Version, err error) error {
	removed, ok := outermost(err).(*BlockedError)
	store, able := k.storage.(Remover)
	if !ok || !removed.Removed || src.vcs || !able {
		return err
	}
	if evictErr := store.Evict(ctx, m); evictErr != nil {
		warn(k.opts.Logger, "version that the upstream removed is still held", m, evictErr)
	}
	return err
}

// getMod gets the .mod from a source and checks its size and form.
func (k *keeper) getMod(ctx context.Context, src source, content Content, m module.Version) (mod []byte, err error) {
	op := k.opts.begin(ctx, OpMod, src.name, m)
	defer func() { op.end(err) }()
	if mod, err = content.Mod(op.ctx); err != nil {
		return nil, k.evictRemoved(ctx, src, m, err)
	}
	op.event.Bytes = int64(len(mod))
	if err := modcheck.Mod(mod, k.opts.MaxModBytes); err != nil {
		return nil, &InvalidError{m.Path, m.Version, err}
	}
	return mod, nil
}

// checkMod checks that neither the ledger nor the checksum database has another .mod.
func (k *keeper) checkMod(ctx context.Context, src source, m module.Version, mod []byte) error {
	if err := k.agreesMod(ctx, m, mod); err != nil {
		return err
	}
	if !k.verifies(src) {
		return nil
	}
	h1, err := modcheck.ModHash(mod)
	if err != nil {
		return &InvalidError{m.Path, m.Version, err}
	}
	return k.verify(src, m, "/go.mod", h1)
}

// agreesMod is agrees for a .mod.
func (k *keeper) agreesMod(ctx context.Context, m module.Version, mod []byte) error {
	if k.book == nil {
		return nil
	}
	hash, err := modcheck.ModHash(mod)
	if err != nil {
		return &InvalidError{m.Path, m.Version, err}
	}
	return k.agrees(ctx, m, ModFile, hash)
}

// agrees compares a hash with the ledger's record of m, before the store changes: the
// record counts even if the store has lost the version and its tag has moved.
func (k *keeper) agrees(ctx context.Context, m module.Version, f File, hash string) error {
	if k.book == nil {
		return nil
	}
	text, err := k.book.text(ctx, m)
	if errors.Is(err, fs.ErrNotExist) && outermost(err) == nil {
		return nil
	}
	if err != nil {
		return ledgerFault(err)
	}
	version := m.Version
	if f == ModFile {
		version += "/go.mod"
	}
	for line := range strings.Lines(string(text)) {
		recorded, ok := strings.CutPrefix(strings.TrimSpace(line), m.Path+" "+version+" ")
		if ok && recorded != hash {
			return k.noteConflict(m, &ConflictError{Module: m, File: f, Held: recorded, Got: hash})
		}
	}
	return nil
}

// getZip writes the zip of a source to the stage and returns its size.
func (k *keeper) getZip(ctx context.Context, src source, content Content, m module.Version, stage io.Writer) (size int64, err error) {
	op := k.opts.begin(ctx, OpZip, src.name, m)
	defer func() { op.end(err) }()
	w := limit.NewWriter(stage, k.opts.MaxZipBytes) // the source need not return the stage's error
	err = content.Zip(op.ctx, w)
	op.event.Bytes = w.Written()
	switch {
	case w.Exceeded():
		return 0, &InvalidError{m.Path, m.Version, fmt.Errorf("zip has more than %d bytes", k.opts.MaxZipBytes)}
	case w.Err() != nil:
		return 0, &storeError{w.Err()}
	}
	return w.Written(), k.evictRemoved(ctx, src, m, err)
}

// storeStaged checks a staged zip and stores it.
func (k *keeper) storeStaged(ctx context.Context, src source, stage Stage, size int64, m module.Version) (err error) {
	var mod []byte
	if src.vcs {
		if mod, err = k.read(ctx, m, ModFile, k.opts.MaxModBytes); err != nil {
			return err
		}
	}
	h1, err := k.checkZip(src, stage, size, m, mod)
	if err != nil {
		return err
	}
	return k.commitZip(ctx, stage, size, m, h1)
}

// checkZip checks a staged zip, asks the checksum database about it, and returns its
// hash. A zip from version control must contain mod as its go.mod. That of an upstream
// may have no go.mod, or another one: the go command accepts it, and verifies the .mod by
// a hash of its own.
func (k *keeper) checkZip(src source, stage Stage, size int64, m module.Version, mod []byte) (h1 string, err error) {
	if src.vcs {
		h1, err = modcheck.Zip(stage, size, m, mod, k.opts.MaxZipBytes)
	} else {
		h1, err = modcheck.ZipAlone(stage, size, m, k.opts.MaxZipBytes)
	}
	if err != nil {
		return "", &InvalidError{m.Path, m.Version, err}
	}
	return h1, k.verify(src, m, "", h1)
}

// verifies reports whether the checksum database must know what src returns.
func (k *keeper) verifies(src source) bool { return k.opts.Checksums != nil && !src.Private }

// verify checks that the checksum database has this hash of m. A version that it does not
// know is not stored, but it is not missing either.
func (k *keeper) verify(src source, m module.Version, suffix, h1 string) error {
	if !k.verifies(src) {
		return nil
	}
	version := m.Version + suffix
	lines, err := k.opts.Checksums.Lookup(m.Path, version)
	if missing, ok := outermost(err).(*MissingError); ok {
		return &InvalidError{m.Path, m.Version, fmt.Errorf("not found in the checksum database: %v", missing.Err)}
	}
	if Final(err) { // the error is about the database, not about the source
		return &InvalidError{m.Path, m.Version, fmt.Errorf("checksum database lookup failed: %w", err)}
	}
	if err != nil {
		return err
	}
	if err := modcheck.Vouched(lines, module.Version{Path: m.Path, Version: version}, h1); err != nil {
		return &InvalidError{m.Path, m.Version, err}
	}
	return nil
}

// put stores .info and .mod.
func (k *keeper) put(ctx context.Context, m module.Version, info *Info, mod []byte) (err error) {
	op := k.opts.begin(ctx, OpPut, SourceStore, m)
	defer func() { op.end(err) }()
	op.event.Bytes = int64(len(mod))
	return k.noteConflict(m, k.storage.Put(op.ctx, m, info, mod))
}

// commitZip stores a staged zip that was checked, if mayCommit allows it, and records it.
func (k *keeper) commitZip(ctx context.Context, stage Stage, size int64, m module.Version, h1 string) error {
	if err := k.mayCommit(ctx, stage, size, m, h1); err != nil {
		return err
	}
	return k.commit(ctx, stage, size, m, h1)
}

// mayCommit returns why a staged zip must not be stored: the ledger has another one, or
// Options.Admit refuses it.
func (k *keeper) mayCommit(ctx context.Context, stage Stage, size int64, m module.Version, h1 string) error {
	if err := k.agrees(ctx, m, ZipFile, h1); err != nil {
		return err
	}
	return k.admit(ctx, stage, size, m)
}

// admit asks Options.Admit about a staged zip. It returns errors of kinds that keep a go
// command from asking elsewhere.
func (k *keeper) admit(ctx context.Context, stage Stage, size int64, m module.Version) error {
	if k.opts.Admit == nil {
		return nil
	}
	err := k.opts.Admit(ctx, m, io.NewSectionReader(stage, 0, size), size)
	switch outermost(err).(type) {
	case *BlockedError:
		k.denied.PutFor(m, err, k.opts.MissingTTL)
		return err
	case *UnavailableError:
		return err
	}
	if err != nil {
		return &UnavailableError{Source: "the check of new zips", Err: err}
	}
	return nil
}

// commit stores a staged zip and records the version in the ledger.
func (k *keeper) commit(ctx context.Context, stage Stage, size int64, m module.Version, h1 string) (err error) {
	op := k.opts.begin(ctx, OpCommit, SourceStore, m)
	defer func() { op.end(err) }()
	op.event.Bytes = size
	if err := k.noteConflict(m, stage.Commit(op.ctx, m, h1)); err != nil {
		return err
	}
	_, err = k.record(ctx, m, h1)
	return err
}

// record adds m, whose zip has that hash, to the ledger, and returns the record's number.
func (k *keeper) record(ctx context.Context, m module.Version, zipHash string) (id int64, err error) {
	if k.book == nil {
		return 0, nil
	}
	mod, err := k.read(ctx, m, ModFile, k.opts.MaxModBytes)
	if err != nil {
		return 0, err
	}
	modHash, err := modcheck.ModHash(mod)
	if err != nil {
		return 0, &InvalidError{m.Path, m.Version, err}
	}
	op := k.opts.begin(ctx, OpRecord, SourceStore, m)
	defer func() { op.end(err) }()
	if id, err = k.book.ledger.Add(op.ctx, m, zipHash, modHash); err == nil {
		k.book.grow(id + 1)
	}
	return id, k.noteConflict(m, err)
}

// noteConflict raises an alarm if err is a [*ConflictError]: a source offers content that
// differs from what is stored or recorded. Any other error is the store's.
func (k *keeper) noteConflict(m module.Version, err error) error {
	if err == nil {
		return nil
	}
	if conflict, ok := errors.AsType[*ConflictError](err); ok {
		k.conflicts.Add(1)
		alarm(k.opts.Logger, "conflict", m, err)
		return conflict
	}
	return storeFault(err)
}

// storageError tells "not held", which is nil, and "removed" from a store that failed.
func storageError(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return storeFault(err)
}

// storeFault tells "removed" from a store that failed.
func storeFault(err error) error {
	if fault, ok := err.(*storeError); ok {
		return fault
	}
	if removed, ok := errors.AsType[*BlockedError](err); ok && removed.Removed {
		return removed
	}
	return &storeError{err}
}

// compareHeld returns the [*ConflictError] of the stored .info of m and that of a source,
// or nil if they agree as compareInfos says.
func compareHeld(m module.Version, held []byte, got *Info, vcs bool) error {
	var info Info
	if err := json.Unmarshal(held, &info); err != nil {
		return fmt.Errorf("the stored .info is not JSON: %w", err)
	}
	if was, is := compareInfos(&info, got, vcs); was != is {
		return &ConflictError{m, InfoFile, was, is}
	}
	return nil
}
