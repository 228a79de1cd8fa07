package blob

import (
	"context"
	"errors"
	"fmt"

	"github.com/athens-go/athens"
	"gocloud.dev/blob"
	"golang.org/x/mod/module"
)

// Put stores .info and .mod, in one object and with one request where m is not
// held; where it is, a second one reads what is.
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
	if err == nil && held != nil {
		err = held.compare(m, info, mod)
	}
	return fault(ctx, "put", m, err)
}

// put stores m, or returns what is held of it.
func (s *Store) put(ctx context.Context, m module.Version, info *athens.Info, mod []byte) (held *meta, err error) {
	if held = s.seen.get(m).meta; held != nil {
		return held, nil
	}
	key, err := metaKey(m)
	if err != nil {
		return nil, err
	}
	made, err := encodeMeta(m, info, mod)
	if err != nil {
		if held, lerr := s.meta(ctx, m); held != nil || lerr != nil {
			return held, lerr // what is in conflict with it is told so
		}
		return nil, err
	}
	mine, err := s.create(ctx, func() error {
		_, err := within(ctx, s.opts.Timeout, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, s.bucket.WriteAll(ctx, key, made.object, &blob.WriterOptions{
				ContentType: "text/plain; charset=utf-8",
				IfNotExist:  true,
			})
		})
		return err
	}, func() (bool, error) {
		var err error
		held, err = s.meta(ctx, m)
		return held != nil, err
	})
	if mine {
		s.seen.addMeta(m, made)
	}
	return held, err
}
