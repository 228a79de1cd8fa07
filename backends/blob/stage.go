package blob

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/athens-go/athens"
	"gocloud.dev/blob"
	"golang.org/x/mod/module"
)

// h1Name is the metadata of a zip that holds its hash.
const h1Name = "h1"

// How a zip is uploaded: S3 and Azure get it in parts of this many bytes, so many
// at once, which is what an upload takes of memory.
const (
	partSize  = 8 << 20
	partsOnce = 3
)

// atOnce is the size in bytes up to which a zip is sent twice, the second time to see that
// the service refuses it.
const atOnce = 1 << 20

// partsFrom is the size in bytes above which a zip is uploaded in parts.
const partsFrom = 16 << 20

// Stage creates a file in the folder for temporary files. If the system allows it, Stage removes
// the file's name at once, so that nothing is left when the process dies. On Windows the file
// stays until somebody clears the folder.
func (s *Store) Stage(ctx context.Context) (athens.Stage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(s.opts.TempDir, "athens-*.zip")
	if err != nil {
		return nil, fault(ctx, "stage", module.Version{}, err)
	}
	st := &stage{s: s, f: f}
	if os.Remove(f.Name()) != nil {
		st.name = f.Name()
	}
	return st, nil
}

// A stage is a zip that is being written.
type stage struct {
	s    *Store
	f    *os.File
	name string // what Close removes; empty if that is done
	size int64  // written so far; only the writer and Commit use it
	fail error  // why nothing more can be written or committed

	closing sync.Once
}

func (st *stage) Write(p []byte) (int, error) {
	if st.fail != nil {
		return 0, st.fail
	}
	n, err := st.f.Write(p)
	st.size += int64(n)
	if err != nil {
		st.fail = fault(context.Background(), "write stage", module.Version{}, err)
		return n, st.fail
	}
	return n, nil
}

func (st *stage) ReadAt(p []byte, off int64) (int, error) { return st.f.ReadAt(p, off) }

// Close ends the stage. It does not wait for readers: a concurrent ReadAt fails.
func (st *stage) Close() (err error) {
	st.closing.Do(func() {
		st.fail = os.ErrClosed
		err = st.f.Close()
		if st.name != "" {
			err = errors.Join(err, os.Remove(st.name))
		}
	})
	return err
}

// Commit uploads the file.
func (st *stage) Commit(ctx context.Context, m module.Version, h1 string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if st.fail != nil {
		return st.fail
	}
	switch {
	case !isHash(h1):
		return fault(ctx, "commit", m, errors.New("not an h1 hash: "+h1))
	case st.size == 0:
		return fault(ctx, "commit", m, errors.New("nothing was written"))
	}
	key, err := zipKey(m)
	if err != nil {
		return fault(ctx, "commit", m, err)
	}
	put, err := st.s.meta(ctx, m)
	if err != nil {
		return fault(ctx, "commit", m, err)
	}
	if put == nil {
		return absent(m, athens.ModFile)
	}
	held, err := st.upload(ctx, m, key, h1, put)
	for try := 1; try < tries && errors.Is(err, errEmptied); try++ {
		held, err = st.upload(ctx, m, key, h1, put)
	}
	if err == nil && held != nil {
		err = held.compare(m, h1)
	}
	if err == nil {
		st.fail = errors.New("blob: the stage was committed")
	}
	return fault(ctx, "commit", m, err)
}

// upload makes the file the zip of m, or returns the zip that m has. As [Store.Put] it
// asks first what is held, and last makes sure that conditions are honored.
func (st *stage) upload(ctx context.Context, m module.Version, key, h1 string, put *meta) (held *zipObject, err error) {
	s := st.s
	since, empty := s.seen.epoch.Load(), false
	if held, err := within(ctx, s.opts.Timeout, s.head(key)); err == nil {
		if held.size > 0 {
			return held, nil
		}
		if err := s.exhume(ctx, m, key, athens.ZipFile, h1); err != nil {
			return nil, err
		}
		since, empty = s.seen.epoch.Load(), true
	}
	look := func() (bool, error) {
		var emptied bool
		if held, emptied, err = s.zipOrEmpty(ctx, m, key); emptied && err == nil {
			err = errEmptied
		}
		return held != nil, err
	}
	write := func() error { return st.write(ctx, key, h1, s.opts.UploadTimeout) }
	mine, err := s.create(ctx, write, look)
	if err != nil || !mine {
		return held, err
	}
	if held, err = st.prove(ctx, m, key, h1, put, since); err == nil && empty {
		err = s.stillAllowed(ctx, m)
	}
	return held, err
}

// prove makes sure that the service honors conditions, and that what it has of a large zip
// now is what was written.
func (st *stage) prove(ctx context.Context, m module.Version, key, h1 string, put *meta, since int64) (held *zipObject, err error) {
	s := st.s
	if st.size <= atOnce {
		return nil, s.proofs.after(ctx, func() error {
			return s.accepted(ctx, m, since, refused(st.write(ctx, key, h1, s.opts.Timeout)))
		})
	}
	// A large zip is not sent twice: the .info and .mod are, a large object is tried
	// now and then, and what is there now must be this zip.
	metaKey, err := metaKey(m)
	if err == nil {
		err = s.proofs.after(ctx, func() error {
			return s.accepted(ctx, m, since, refused(s.writeMeta(ctx, metaKey, put.object)))
		})
	}
	if err == nil && st.size > partsFrom {
		err = s.probeParts(ctx)
	}
	if err == nil {
		held, err = within(ctx, s.opts.Timeout, s.head(key))
	}
	if err == nil && held.size == 0 {
		return nil, s.buried(ctx, m)
	}
	return held, err
}

// write uploads the file within a time, if there is no such object.
func (st *stage) write(ctx context.Context, key, h1 string, limit time.Duration) error {
	_, err := within(ctx, limit, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, st.s.bucket.Upload(ctx, key, io.NewSectionReader(st.f, 0, st.size), &blob.WriterOptions{
			ContentType:    "application/zip",
			Metadata:       map[string]string{h1Name: h1},
			BufferSize:     partSize,
			MaxConcurrency: partsOnce,
			IfNotExist:     true,
		})
	})
	return err
}

// compare returns a ConflictError if what is offered of m is not what is held.
func (z *zipObject) compare(m module.Version, h1 string) error {
	switch z.h1 {
	case h1:
		return nil
	case "":
		return errors.New("the object with the zip has no h1 in its metadata: it was not written by this package, or was copied without its metadata")
	}
	return &athens.ConflictError{Module: m, File: athens.ZipFile, Held: z.h1, Got: h1}
}

// isHash reports whether h1 is a hash as dirhash.Hash1 makes it.
func isHash(h1 string) bool {
	sum, ok := strings.CutPrefix(h1, "h1:")
	raw, err := base64.StdEncoding.Strict().DecodeString(sum)
	return ok && err == nil && len(raw) == 32
}
