package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"

	"github.com/athens-go/athens"
)

// ImportOptions configures [Import]. A nil *ImportOptions is the zero ImportOptions.
type ImportOptions struct {
	// Verifiers are the keys of which one must have signed the bundle. Nil means that
	// signatures are not checked.
	Verifiers note.Verifiers
	// MaxManifestBytes bounds the manifest, which is in memory. Zero means 256 MiB, about a
	// million versions.
	MaxManifestBytes int64
	// Workers is how many versions are verified or stored at once. Zero means 8.
	Workers int
	// VerifyOnly verifies the bundle and compares it with the store, and stores nothing.
	VerifyOnly bool
	// Progress is called after each version. If it is nil, nobody learns of it.
	Progress func(Progress)
}

// Import stores what the bundle r, of size bytes, carries. Nothing is stored unless all of the
// bundle is good and contradicts nothing that is held: otherwise the error is a [*FormatError],
// an [*athens.InvalidError], or an [*athens.ConflictError], which names both hashes. Nobody may
// change r meanwhile.
//
// Versions that this store has removed stay removed. What the bundle marks as removed or hidden
// is marked, also if it is held here. A mark that the bundle says was lifted is lifted if it has
// the same reason here. The Summary is not nil unless the bundle was refused.
func Import(ctx context.Context, store athens.Storage, r io.ReaderAt, size int64, opts *ImportOptions) (*Summary, error) {
	im := &importer{store: store}
	if opts != nil {
		im.opts = *opts
	}
	if im.opts.MaxManifestBytes < 0 || im.opts.Workers < 0 {
		return nil, errors.New("bundle: MaxManifestBytes or Workers is negative")
	}
	if im.opts.MaxManifestBytes == 0 {
		im.opts.MaxManifestBytes = defaultManifestBytes
	}
	if im.opts.Workers == 0 {
		im.opts.Workers = 8
	}
	var err error
	if im.file, err = open(r, size, im.opts.Verifiers, im.opts.MaxManifestBytes); err != nil {
		return nil, err
	}
	im.sum = im.file.manifest.summary()
	im.sum.SignedBy = im.file.signedBy
	if err := im.check(ctx); err != nil {
		return nil, err
	}
	if !im.opts.VerifyOnly {
		err = im.apply(ctx)
	}
	return im.sum, err
}

// importer is one Import.
type importer struct {
	store athens.Storage
	opts  ImportOptions
	file  *file
	sums  joined

	mu    sync.Mutex
	sum   *Summary
	done  Progress
	wants int // files that are not held, as the check found
}

// note changes what is counted.
func (im *importer) note(change func(*Summary)) {
	im.mu.Lock()
	defer im.mu.Unlock()
	change(im.sum)
}

// want notes that the bundle has something that the store lacks.
func (im *importer) want() {
	im.mu.Lock()
	defer im.mu.Unlock()
	im.wants++
}

// progress tells of a version that is done.
func (im *importer) progress(v *version) {
	if im.opts.Progress == nil {
		return
	}
	im.mu.Lock()
	defer im.mu.Unlock()
	im.done.Versions++
	im.done.Bytes += v.info.size + v.mod.size + v.zip.size
	im.opts.Progress(im.done)
}

// check verifies the bundle and compares it with the store.
func (im *importer) check(ctx context.Context) error {
	defer im.sums.close()
	im.done = Progress{Of: im.sum.Versions, TotalBytes: im.sum.Bytes}
	err := im.each(ctx, visitor{
		answer: func(a *answer, data []byte) error { return im.checkAnswer(ctx, a, data) },
		other:  func(v *version) error { return im.checkOther(ctx, v) },
	}, im.checkVersion)
	if err == nil {
		err = im.checkHeads(ctx)
	}
	return err
}

// apply stores what the bundle has, after it was checked.
func (im *importer) apply(ctx context.Context) error {
	if im.wants == 0 {
		return nil
	}
	im.done = Progress{Of: im.sum.Versions, TotalBytes: im.sum.Bytes, Verified: true}
	err := im.each(ctx, visitor{
		answer: func(a *answer, data []byte) error { return im.putAnswer(ctx, a, data) },
		other:  func(v *version) error { return im.mark(ctx, v) },
	}, im.put)
	if err == nil {
		err = im.putHeads(ctx)
	}
	return err
}

// each reads the bundle and runs do for each version, several at once.
func (im *importer) each(ctx context.Context, to visitor, do func(context.Context, *version, *content) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type job struct {
		v *version
		c *content
	}
	jobs := make(chan job)
	var workers sync.WaitGroup
	for range im.opts.Workers {
		workers.Go(func() {
			for j := range jobs {
				if err := do(ctx, j.v, j.c); err != nil {
					cancel(err)
					return
				}
				im.progress(j.v)
			}
		})
	}
	to.version = func(v *version, c *content) error {
		if c.small() {
			select {
			case jobs <- job{v, c}:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := do(ctx, v, c); err != nil {
			return err
		}
		im.progress(v)
		return nil
	}
	err := im.file.each(ctx, to)
	if err != nil {
		cancel(err)
	}
	close(jobs)
	workers.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// checkVersion checks the files of a version, and that they are those that are held.
func (im *importer) checkVersion(ctx context.Context, v *version, c *content) error {
	if err := checkMeta(v, c); err != nil {
		return err
	}
	if v.hasZip {
		h1, err := im.hashZip(ctx, v, c)
		if err != nil {
			return err
		}
		if h1 != v.h1 {
			return invalid(v, fmt.Errorf("its zip has the hash %s; the manifest says %s", h1, v.h1))
		}
	}
	return im.agrees(ctx, v, c)
}

// checkMeta checks the .info and the .mod of a version.
func checkMeta(v *version, c *content) error {
	if _, err := parseInfo(v.m, c.info); err != nil {
		return invalid(v, fmt.Errorf("its .info: %w", err))
	}
	if err := checkMod(c.mod); err != nil {
		return invalid(v, err)
	}
	return nil
}

// agrees checks that a version does not contradict what the store has.
func (im *importer) agrees(ctx context.Context, v *version, c *content) error {
	err := im.compare(ctx, v, c)
	if removedError(err) {
		im.note(func(s *Summary) { s.RemovedHere++ })
		return nil
	}
	if err == nil && v.mark != noMark {
		err = im.checkOther(ctx, v)
	}
	return err
}

// hashZip checks a zip and returns its h1. A large one is read from a stage of the store, which
// is on the disk where it goes later.
func (im *importer) hashZip(ctx context.Context, v *version, c *content) (h1 string, err error) {
	if c.zip != nil {
		h1, err = checkZip(bytes.NewReader(c.zip), v)
	} else {
		stage, serr := im.store.Stage(ctx)
		if serr != nil {
			return "", serr
		}
		defer func() { err = errors.Join(err, stage.Close()) }()
		if _, err := io.Copy(stage, c.stream); err != nil {
			return "", err
		}
		h1, err = checkZip(stage, v)
	}
	if err != nil {
		return "", invalid(v, fmt.Errorf("its zip: %w", err))
	}
	return h1, nil
}

// put stores a version.
func (im *importer) put(ctx context.Context, v *version, c *content) error {
	// What is to be hidden is hidden first, so that it is in no list for a moment.
	if err := im.mark(ctx, v); err != nil {
		return err
	}
	info, err := parseInfo(v.m, c.info)
	if err != nil {
		return err
	}
	held, err := im.holds(ctx, v.m, athens.ModFile)
	if err == nil {
		err = im.store.Put(ctx, v.m, info, c.mod)
	}
	hasZip := false
	if err == nil && v.hasZip {
		if hasZip, err = im.holds(ctx, v.m, athens.ZipFile); err == nil && !hasZip {
			err = im.putZip(ctx, v, c)
		}
	}
	if removedError(err) { // between the check and now, or before
		return nil
	}
	if err == nil && (!held || v.hasZip && !hasZip) {
		im.note(func(s *Summary) { s.Stored++ })
	}
	return err
}

// putZip stores a zip.
func (im *importer) putZip(ctx context.Context, v *version, c *content) (err error) {
	stage, err := im.store.Stage(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.Close()) }()
	var r io.Reader = bytes.NewReader(c.zip)
	if c.stream != nil {
		r = c.stream
	}
	if _, err := io.Copy(stage, r); err != nil {
		return err
	}
	return stage.Commit(ctx, v.m, v.h1)
}

// holds reports whether a file is held.
func (im *importer) holds(ctx context.Context, m module.Version, f athens.File) (bool, error) {
	o, err := im.store.Open(ctx, m, f)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, o.Body.Close()
}
