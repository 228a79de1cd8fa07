package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modcheck"
)

// invalid says that the content of a version can't be used.
func invalid(v *version, err error) error {
	return &athens.InvalidError{Path: v.m.Path, Version: v.m.Version, Err: err}
}

func checkMod(mod []byte) error { return modcheck.Mod(mod, maxMod) }

func checkZip(r io.ReaderAt, v *version) (h1 string, err error) {
	return modcheck.ZipAlone(r, v.zip.size, v.m, maxZip)
}

// removedError reports whether err says that the store has removed a version.
func removedError(err error) bool {
	blocked, ok := errors.AsType[*athens.BlockedError](err)
	return ok && blocked.Removed
}

// compare compares a version with the one that is held, if it is.
func (im *importer) compare(ctx context.Context, v *version, c *content) error {
	mod, _, err := read(ctx, im.store, v.m, athens.ModFile, maxMod)
	if errors.Is(err, fs.ErrNotExist) {
		im.want()
		return nil
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(mod, c.mod) {
		held, err1 := modcheck.ModHash(mod)
		got, err2 := modcheck.ModHash(c.mod)
		return errors.Join(err1, err2, conflict(v, athens.ModFile, held, got))
	}
	info, _, err := read(ctx, im.store, v.m, athens.InfoFile, maxInfo)
	switch {
	case errors.Is(err, fs.ErrNotExist): // of an adopted module cache
		im.want()
	case err != nil:
		return err
	default:
		held, err1 := parseInfo(v.m, info)
		got, err2 := parseInfo(v.m, c.info)
		if err := errors.Join(err1, err2); err != nil {
			return fmt.Errorf("%s: the stored .info: %w", v.m, err)
		}
		if a, b := commit(held), commit(got); a != "" && b != "" && a != b {
			return conflict(v, athens.InfoFile, "commit "+a, "commit "+b)
		}
	}
	if !v.hasZip {
		return nil
	}
	held, err := im.heldZip(ctx, v)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		im.want()
		return nil
	case err != nil:
		return err
	case held != v.h1:
		return conflict(v, athens.ZipFile, held, v.h1)
	}
	return nil
}

func conflict(v *version, f athens.File, held, got string) error {
	return &athens.ConflictError{Module: v.m, File: f, Held: held, Got: got}
}

func commit(info *athens.Info) string {
	if info.Origin == nil {
		return ""
	}
	return info.Origin.Hash
}

// heldZip returns the hash of the zip that is held.
func (im *importer) heldZip(ctx context.Context, v *version) (string, error) {
	if hasher, ok := im.store.(ZipHasher); ok {
		return hasher.ZipHash(ctx, v.m)
	}
	o, err := im.store.Open(ctx, v.m, athens.ZipFile)
	if err != nil {
		return "", err
	}
	defer o.Body.Close()
	h1, err := modcheck.ZipAlone(modcheck.ReaderAt(o.Body), o.Size, v.m, maxZip)
	if err != nil {
		return "", fmt.Errorf("%s: the stored zip: %w", v.m, err)
	}
	return h1, nil
}

// checkOther looks at a version that the bundle does not carry, or at the mark of one.
func (im *importer) checkOther(ctx context.Context, v *version) error {
	if v.state == before {
		switch held, err := im.holds(ctx, v.m, athens.ModFile); {
		case removedError(err):
			im.note(func(s *Summary) { s.RemovedHere++ })
		case err != nil:
			return err
		case !held:
			im.note(func(s *Summary) { s.Lacking++ })
		}
	}
	if v.mark == noMark {
		return nil
	}
	if _, ok := im.store.(athens.Remover); !ok {
		return errors.New("bundle: the bundle marks versions as removed or hidden, which this store can't do")
	}
	im.want()
	return nil
}

// mark sets or lifts the mark of a version, as the bundle says. What this store has removed stays
// removed, whatever the bundle says, unless the bundle has set that mark itself.
func (im *importer) mark(ctx context.Context, v *version) error {
	if v.mark == noMark {
		return nil
	}
	remover, ok := im.store.(athens.Remover)
	if !ok {
		return nil
	}
	marks, err := remover.Marks(ctx, v.m.Path)
	if err != nil {
		return err
	}
	is, marked := marks[v.m.Version]
	switch v.mark {
	case removed:
		if marked && is.Removed {
			return nil
		}
		err = remover.Remove(ctx, v.m, v.reason)
	case hidden:
		if marked {
			return nil
		}
		err = remover.Hide(ctx, v.m, v.reason)
	case restored:
		if !marked || is.Reason != v.reason {
			return nil
		}
		err = remover.Restore(ctx, v.m)
	}
	if err == nil {
		im.note(func(s *Summary) { s.Marked++ })
	}
	return err
}
