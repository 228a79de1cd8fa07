package blob

import (
	"context"
	"errors"
	"fmt"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modcheck"
	"gocloud.dev/blob"
	"golang.org/x/mod/module"
)

// Put stores .info and .mod, in one object. It asks first what is held, so that a service
// that no longer honors conditions replaces nothing, and last makes sure that the
// service refuses to replace what was stored, see [proofs].
func (s *Store) Put(ctx context.Context, m module.Version, info *athens.Info, mod []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if info == nil || len(mod) == 0 {
		return fault(ctx, "put", m, errors.New("the .info or the .mod is empty"))
	}
	if int64(len(mod)) > s.opts.MaxModBytes {
		return fault(ctx, "put", m, fmt.Errorf("the .mod has %d bytes, more than %d", len(mod), s.opts.MaxModBytes))
	}
	held, err := s.put(ctx, m, info, mod)
	for try := 1; try < tries && errors.Is(err, errEmptied); try++ {
		held, err = s.put(ctx, m, info, mod)
	}
	if err == nil && held != nil {
		err = held.compare(m, info, mod)
	}
	return fault(ctx, "put", m, err)
}

// put stores m, or returns what is held of it.
func (s *Store) put(ctx context.Context, m module.Version, info *athens.Info, mod []byte) (held *meta, err error) {
	since := s.seen.epoch.Load()
	held, empty, err := s.metaOrEmpty(ctx, m)
	if held != nil || err != nil {
		return held, err
	}
	key, err := metaKey(m)
	if err != nil {
		return nil, err
	}
	made, err := encodeMeta(m, info, mod)
	if err != nil {
		return nil, err
	}
	if empty {
		hash, err := modcheck.ModHash(mod)
		if err == nil {
			err = s.exhume(ctx, m, key, athens.ModFile, hash)
		}
		if err != nil {
			return nil, err
		}
		since = s.seen.epoch.Load()
	}
	write := func() error { return s.writeMeta(ctx, key, made.object) }
	mine, err := s.create(ctx, write, func() (bool, error) {
		var emptied bool
		var err error
		if held, emptied, err = s.metaOrEmpty(ctx, m); emptied && err == nil {
			err = errEmptied
		}
		return held != nil, err
	})
	if mine {
		err = s.proofs.after(ctx, func() error { return s.accepted(ctx, m, since, refused(write())) })
	}
	if mine && err == nil && empty {
		err = s.stillAllowed(ctx, m)
	}
	if mine && err == nil {
		s.seen.addMeta(m, made, since)
	}
	return held, err
}

// writeMeta creates the object of an .info and a .mod, if there is none.
func (s *Store) writeMeta(ctx context.Context, key string, object []byte) error {
	_, err := within(ctx, s.opts.Timeout, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.bucket.WriteAll(ctx, key, object, &blob.WriterOptions{
			ContentType: "text/plain; charset=utf-8",
			IfNotExist:  true,
		})
	})
	return err
}

// refused turns the error of a second, equal write of what was just created into whether
// the service honored the condition: then it has refused that write. One that has not may
// have let this writer replace what another stored, or the other way around.
func refused(err error) error {
	switch {
	case err == nil:
		return errUnconditional
	case contended(err):
		return nil
	}
	return fmt.Errorf("can't tell whether the service honors conditions: %w", err)
}
