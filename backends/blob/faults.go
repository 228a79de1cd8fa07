package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/athens-go/athens"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
	"golang.org/x/mod/module"
)

// errSlow is why a request was given up that the caller still waits for.
var errSlow = errors.New("the service did not answer in time")

// find reads an object, and reports whether it is held.
func find[T any](ctx context.Context, s *Store, key string, read func(context.Context) (T, error)) (T, bool, error) {
	var err error
	for range tries {
		value, rerr := within(ctx, s.opts.Timeout, read)
		if rerr == nil {
			return value, true, nil
		}
		err = rerr
		gone, lerr := s.gone(ctx, key, err)
		if lerr != nil {
			err = lerr
			break
		}
		if gone {
			return value, false, nil
		}
		// The listing has it: it was stored meanwhile.
	}
	var none T
	return none, false, err
}

// within bounds one request.
func within[T any](ctx context.Context, limit time.Duration, ask func(context.Context) (T, error)) (T, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, limit, errSlow)
	defer cancel()
	value, err := unpanicked(bounded, ask)
	switch {
	case err == nil:
		return value, nil
	case ctx.Err() != nil:
		return value, ctx.Err()
	case bounded.Err() != nil:
		return value, fmt.Errorf("%w: %w", errSlow, context.DeadlineExceeded)
	}
	return value, err
}

// unpanicked calls a driver, some of which panic where an answer lacks what every answer
// should have, such as an object's date.
func unpanicked[T any](ctx context.Context, ask func(context.Context) (T, error)) (value T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the driver panicked, perhaps on an incomplete answer: %v", r)
		}
	}()
	return ask(ctx)
}

// gone reports whether err, that of reading an object, means that there is none. It
// returns err if it means anything else.
func (s *Store) gone(ctx context.Context, key string, err error) (bool, error) {
	if gcerrors.Code(err) == gcerrors.NotFound && serviceCode(err) == "NotFound" {
		// What a HEAD did not find has no body to say what that was. A GET's does.
		_, err = within(ctx, s.opts.Timeout, func(ctx context.Context) (struct{}, error) {
			r, err := s.bucket.NewRangeReader(ctx, key, 0, 0, nil)
			if err == nil {
				err = r.Close()
			}
			return struct{}{}, err
		})
		if err == nil {
			return false, nil
		}
	}
	switch {
	case gcerrors.Code(err) != gcerrors.NotFound:
		return false, err
	case serviceCode(err) == "NoSuchKey":
		return true, nil
	}
	// Other services, and drivers, say the same of buckets and permissions.
	first, _, err := s.page(ctx, key, blob.FirstPageToken, 1)
	return err == nil && (len(first) == 0 || first[0].Key != key), err
}

// serviceCode is what S3 calls an error, without the SDK's types.
func serviceCode(err error) string {
	var coded interface{ ErrorCode() string }
	if errors.As(err, &coded) {
		return coded.ErrorCode()
	}
	return ""
}

// tries is how often something is tried that others do at the same time.
const tries = 4

// errEmptied is why a write that met a removal, and then its restoration, or an eviction
// begins anew.
var errEmptied = errors.New("the version was taken back while it was stored, store it again")

// create writes what is not there yet. Whatever comes of it, look says whether it
// is there now: a write may fail although it happened, and one that is repeated
// meets itself. create reports whether the object is the one just written.
func (s *Store) create(ctx context.Context, write func() error, look func() (held bool, err error)) (mine bool, err error) {
	for try := range tries {
		if err = write(); err == nil {
			return true, nil
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		held, lerr := look()
		switch {
		case held:
			return false, nil
		case ctx.Err() != nil:
			return false, ctx.Err()
		case isRemoved(lerr), errors.Is(lerr, errEmptied):
			return false, lerr
		case lerr != nil || !contended(err):
			return false, err
		}
		pause := time.NewTimer(50 * time.Millisecond << try)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return false, ctx.Err()
		}
	}
	return false, err
}

// contended reports whether a write failed because of another writer, which may
// not have come to its end.
func contended(err error) bool {
	return gcerrors.Code(err) == gcerrors.FailedPrecondition || serviceCode(err) == "ConditionalRequestConflict"
}

// opaque hides that err may be fs.ErrNotExist, where that would be taken for
// "this version is not held" although something else is missing.
func opaque(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New(err.Error())
	}
	return err
}

// fault is the error of an operation that failed for another reason than that
// m is not held. An error that the contract names stays as it is.
func fault(ctx context.Context, op string, m module.Version, err error) error {
	var conflict *athens.ConflictError
	var invalid *athens.InvalidError
	var blocked *athens.BlockedError
	switch {
	case err == nil || errors.As(err, &conflict) || errors.As(err, &invalid) || errors.As(err, &blocked):
		return err
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return ctx.Err()
	case m.Path == "":
		return fmt.Errorf("blob: %s: %w", op, opaque(err))
	}
	return fmt.Errorf("blob: %s %s: %w", op, m, opaque(err))
}

// absent is the error for what is not held.
func absent(m module.Version, f athens.File) error {
	return &fs.PathError{Op: "open", Path: m.String() + "." + f.String(), Err: fs.ErrNotExist}
}
