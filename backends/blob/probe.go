package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
	"golang.org/x/mod/module"
)

// errUnconditional is why a service is refused.
var errUnconditional = errors.New("the service created an object that exists: it ignores the condition (If-None-Match) that keeps writers from replacing what others have stored")

// probe makes sure that the service honors the condition of a write: of two
// that create the same object one at least must fail. The object is left there, so
// that the next time one request is enough.
func (s *Store) probe(ctx context.Context) error {
	for range 2 {
		err := s.writeProbe(ctx, 1)
		if gcerrors.Code(err) == gcerrors.FailedPrecondition {
			return nil
		}
		if err != nil {
			return fault(ctx, "probe conditional writes", module.Version{}, err)
		}
	}
	return fmt.Errorf("blob: %w", errUnconditional)
}

// largeProbe is more than any driver sends in one request, in bytes.
const largeProbe = 17 << 20

// Check does what New does, and tries the condition also with an object that is
// uploaded in parts, as large zips are: some services honor it for whole ones
// only. It sends 17 MiB, of which nothing stays; once for each new kind of service
// is enough.
func (s *Store) Check(ctx context.Context) error {
	if err := s.probe(ctx); err != nil {
		return err
	}
	return fault(ctx, "probe conditional uploads", module.Version{}, s.tryParts(ctx))
}

// partsEvery is how long a store that uploads in parts believes that conditions on that
// are honored.
const partsEvery = time.Hour

// probeParts is tryParts, once in partsEvery.
func (s *Store) probeParts(ctx context.Context) error {
	select {
	case s.parts <- struct{}{}:
		defer func() { <-s.parts }()
	case <-ctx.Done():
		return ctx.Err()
	}
	now := time.Now()
	if !s.partsSeen.IsZero() && now.Sub(s.partsSeen) < partsEvery {
		return nil
	}
	err := s.tryParts(ctx)
	if err == nil {
		s.partsSeen = now
	}
	return err
}

// tryParts uploads an object that exists in parts, and wants to be refused.
func (s *Store) tryParts(ctx context.Context) error {
	err := s.writeProbe(ctx, largeProbe)
	switch {
	case err == nil:
		return fmt.Errorf("uploaded in parts: %w", errUnconditional)
	case gcerrors.Code(err) == gcerrors.FailedPrecondition:
		return nil
	}
	return err
}

// writeProbe writes an object of so many bytes, if there is none.
func (s *Store) writeProbe(ctx context.Context, size int64) error {
	limit := s.opts.Timeout
	if size > atOnce {
		limit = s.opts.UploadTimeout
	}
	_, err := within(ctx, limit, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.bucket.Upload(ctx, probeKey, io.LimitReader(dots{}, size), &blob.WriterOptions{
			ContentType: "text/plain", BufferSize: partSize, MaxConcurrency: partsOnce, IfNotExist: true,
		})
	})
	return err
}

// dots reads as an endless line.
type dots struct{}

func (dots) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '.'
	}
	return len(p), nil
}

// Writable returns why nothing can be stored now, nil if something can. It costs one
// request: the service is asked to create an object that exists, and must refuse.
func (s *Store) Writable(ctx context.Context) error { return s.probe(ctx) }
