package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"strings"
	"time"

	"gocloud.dev/blob"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// Limits of one answer of a checksum database, as [athens.SumDBStore] has them.
const (
	maxSumName = 4096
	maxSumData = 1 << 20
)

// sumBlock is the least that an answer counts against Options.MaxSumDBBytes, in bytes.
const sumBlock = 4096

// countEvery is how long the store uses its own count of the answers before it lists them again:
// other processes store answers too.
const countEvery = time.Hour

// sums bounds the stored answers of checksum databases.
type sums struct {
	most int64 // bytes

	turn chan struct{} // taken while what follows is used
	size int64         // bytes, as counted
	at   time.Time     // when they were counted
}

// GetSumDB returns what is stored under name: one request. It remembers nothing, for the handler
// remembers what it has proved.
func (s *Store) GetSumDB(ctx context.Context, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	key, err := sumKey(name)
	if err != nil {
		return nil, sumFault(ctx, "read", name, err)
	}
	data, held, err := find(ctx, s, key, func(ctx context.Context) ([]byte, error) { return s.readWhole(ctx, key, maxSumData) })
	switch {
	case err != nil:
		return nil, sumFault(ctx, "read", name, err)
	case !held || len(data) == 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return data, nil
}

// PutSumDB stores data under name, in place of older data, if [Options.MaxSumDBBytes] allows: one
// request, and once an hour one for each thousand answers. Of several writers the last wins.
func (s *Store) PutSumDB(ctx context.Context, name string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	key, err := sumKey(name)
	if err == nil && (len(data) == 0 || len(data) > maxSumData) {
		err = fmt.Errorf("%d bytes, not between 1 and %d", len(data), maxSumData)
	}
	var undo func()
	if err == nil {
		undo, err = s.reserve(ctx, name, int64(len(data)))
	}
	if err != nil {
		return sumFault(ctx, "put", name, err)
	}
	_, err = within(ctx, s.opts.Timeout, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.bucket.WriteAll(ctx, key, data, &blob.WriterOptions{ContentType: "application/octet-stream"})
	})
	if err != nil {
		undo()
	}
	return sumFault(ctx, "put", name, err)
}

// AllSumDB yields the names under which answers of checksum databases are stored, in order: one
// request for each thousand. An error is the last.
func (s *Store) AllSumDB(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for o, err := range s.objects(ctx, sumsRoot) {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield("", sumFault(ctx, "list", "", err))
				return
			}
			name := strings.TrimPrefix(o.Key, sumsRoot)
			if again, err := sumKey(name); err == nil && again == o.Key && o.Size > 0 && !yield(name, nil) {
				return
			}
		}
	}
}

// ZipHash returns the h1 of the zip of m that is held, as it was recorded when it was stored. If
// no zip is held, the error is [fs.ErrNotExist]; if m was removed, an [*athens.BlockedError].
func (s *Store) ZipHash(ctx context.Context, m module.Version) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	key, err := zipKey(m)
	if err != nil {
		return "", fault(ctx, "hash", m, err)
	}
	z := s.seen.get(m).zip
	if z == nil {
		z, err = s.zip(ctx, m, key)
	}
	switch {
	case err != nil:
		return "", fault(ctx, "hash", m, err)
	case z == nil:
		return "", absent(m, athens.ZipFile)
	case z.h1 == "":
		return "", fault(ctx, "hash", m, errors.New("the zip's object lacks the metadata "+h1Name))
	}
	return z.h1, nil
}

// sumKey is the name of the object with an answer. Those of a [Ledger] lie elsewhere.
func sumKey(name string) (string, error) {
	if !fs.ValidPath(name) || name == "." || len(name) > maxSumName {
		return "", errors.New("malformed name")
	}
	return sumsRoot + name, nil
}

// reserve counts an answer that is about to be written, and fails if that would be too much. A
// head replaces another one, and is not counted.
func (s *Store) reserve(ctx context.Context, name string, size int64) (undo func(), err error) {
	more := sumBlocks(size)
	if path.Base(name) == "head" {
		more = 0
	}
	select {
	case s.sums.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-s.sums.turn }()
	if err := s.countSums(ctx); err != nil {
		return nil, err
	}
	if s.sums.size+more > s.sums.most {
		return nil, fmt.Errorf("the stored answers of checksum databases would exceed MaxSumDBBytes, %d bytes", s.sums.most)
	}
	s.sums.size += more
	return func() {
		s.sums.turn <- struct{}{}
		s.sums.size -= more
		<-s.sums.turn
	}, nil
}

// countSums counts what is stored, unless that was done lately. The caller has the turn.
func (s *Store) countSums(ctx context.Context) error {
	now := time.Now()
	if s.sums.most <= 0 || !s.sums.at.IsZero() && now.Sub(s.sums.at) <= countEvery {
		return nil
	}
	size := int64(0)
	for o, err := range s.objects(ctx, sumsRoot) {
		if err != nil {
			return err
		}
		size += sumBlocks(o.Size)
	}
	s.sums.size, s.sums.at = size, now
	return nil
}

// sumBlocks rounds up to what an answer counts.
func sumBlocks(size int64) int64 { return (size + sumBlock - 1) / sumBlock * sumBlock }

// sumFault is the error of an operation that failed, which does not say that nothing is stored.
func sumFault(ctx context.Context, op, name string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return ctx.Err()
	}
	return fmt.Errorf("blob: %s the answer %.200q of a checksum database: %w", op, name, opaque(err))
}
