package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"gocloud.dev/blob"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/internal/sumlog"
)

// maxSeq is more bundles than a log has: their numbers have ten digits.
const maxSeq = 9_999_999_999

func (l *Ledger) prefix() string { return "sumdb/" + l.keys.Name() + "/" }

// bundleKey is the name of a bundle.
func (l *Ledger) bundleKey(seq int64) string { return fmt.Sprintf("%slog/%010d", l.prefix(), seq) }

// headKey is the name of the head of all records up to a bundle. The newest sorts first.
func (l *Ledger) headKey(seq int64) string {
	return fmt.Sprintf("%shead/%010d", l.prefix(), maxSeq-seq)
}

func (l *Ledger) tileKey(t tlog.Tile) string { return l.prefix() + t.Path() }

// read returns an object of at most limit bytes, or nil if there is none.
func (l *Ledger) read(ctx context.Context, key string, limit int64) ([]byte, error) {
	data, held, err := find(ctx, l.store, key, func(ctx context.Context) ([]byte, error) { return l.store.readWhole(ctx, key, limit) })
	if err != nil || !held {
		return nil, err
	}
	if len(data) == 0 {
		return nil, fmt.Errorf("%s is empty", key)
	}
	return data, nil
}

// How caches may keep what is below sumdb/NAME/.
const (
	keepForever = "public, max-age=31536000, immutable"
	keepNot     = "no-cache"
)

// write writes an object, or creates it if there must be none.
func (l *Ledger) write(ctx context.Context, key string, data []byte, opts blob.WriterOptions) error {
	opts.ContentType = "text/plain; charset=utf-8"
	if strings.HasPrefix(key, l.prefix()+"tile/") {
		opts.ContentType = "application/octet-stream"
	}
	_, err := within(ctx, l.store.opts.Timeout, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, l.store.bucket.WriteAll(ctx, key, data, &opts)
	})
	return err
}

// createBundle creates a bundle under its name, and reports whether it is there now and
// not another one.
func (l *Ledger) createBundle(ctx context.Context, seq int64, data []byte) (mine bool, err error) {
	key, same := l.bundleKey(seq), false
	mine, err = l.store.create(ctx, func() error {
		return l.write(ctx, key, data, blob.WriterOptions{IfNotExist: true, CacheControl: keepForever})
	}, func() (bool, error) {
		there, err := l.read(ctx, key, maxBundleObject)
		same = bytes.Equal(there, data)
		return there != nil, err
	})
	return mine || same, err
}

// refuseBundle makes sure that the service refuses to replace a bundle.
func (l *Ledger) refuseBundle(ctx context.Context, seq int64, data []byte) error {
	return refused(l.write(ctx, l.bundleKey(seq), data, blob.WriterOptions{IfNotExist: true, CacheControl: keepForever}))
}

// renewedKey is the name of the same head with a signature of the ledger's present key,
// where the first one has none.
func (l *Ledger) renewedKey(seq int64) string {
	return fmt.Sprintf("%s+%08x", l.headKey(seq), l.keys.Signers[0].KeyHash())
}

// readHead returns the tree whose head is in the bucket, and its signed form, which is nil
// if there is none.
func (l *Ledger) readHead(ctx context.Context, seq int64) (t tlog.Tree, signed []byte, err error) {
	for _, key := range []string{l.headKey(seq), l.renewedKey(seq)} {
		data, rerr := l.read(ctx, key, sumlog.MaxHead)
		if rerr != nil {
			return t, nil, rerr
		}
		if data == nil {
			break
		}
		if t, err = sumlog.ParseHead(data, l.keys.Known); err == nil {
			return t, data, nil
		}
		err = fmt.Errorf("the head in %s can't be used: %w", key, err)
	}
	return t, nil, err
}

// createHead creates the head of a state that nobody has published, unless that happens
// meanwhile; then it is the same, or the ledger is forked.
func (l *Ledger) createHead(ctx context.Context, next *logState, signed []byte) error {
	seq := next.seq - 1
	_, err := l.store.create(ctx, func() error {
		return l.write(ctx, l.headKey(seq), signed, blob.WriterOptions{IfNotExist: true, CacheControl: keepNot})
	}, func() (bool, error) {
		held, err := l.sameHead(ctx, next)
		if damage, ok := errors.AsType[*DamagedLedgerError](err); ok {
			return true, damage
		}
		return held != nil, err
	})
	if damage := l.broken.Load(); damage != nil {
		return damage
	}
	return err
}

// sameHead returns the head of a state if it is in the bucket. It must be of the same
// tree.
func (l *Ledger) sameHead(ctx context.Context, next *logState) ([]byte, error) {
	t, signed, err := l.readHead(ctx, next.seq-1)
	if err != nil || signed == nil {
		return nil, err
	}
	if t.N != next.tree.N || t.Hash != next.hash {
		return nil, l.damaged("the head %s is of %d records, and not of the %d that are in the bundles up to %s: a record was changed, or the service has let one writer replace what another had stored; restore the bucket from a copy with which that head agrees",
			l.headKey(next.seq-1), t.N, next.tree.N, l.bundleKey(next.seq-1))
	}
	return signed, nil
}

// newestHead returns the number of the bundle that the newest head in the bucket is of,
// -1 if there is none.
func (l *Ledger) newestHead(ctx context.Context) (int64, error) {
	prefix := l.prefix() + "head/"
	objects, _, err := l.store.page(ctx, prefix, blob.FirstPageToken, 1)
	if err != nil || len(objects) == 0 {
		return -1, err
	}
	var inverse int64
	if _, err := fmt.Sscanf(strings.TrimPrefix(objects[0].Key, prefix), "%010d", &inverse); err != nil {
		return 0, fmt.Errorf("%q is not the name of a head", objects[0].Key)
	}
	return maxSeq - inverse, nil
}

// renew lets the ledger's key sign the newest head if only the one before it has.
func (l *Ledger) renew(ctx context.Context, held []byte) error {
	own, err := note.NewVerifier(l.keys.Public)
	if err != nil {
		return err
	}
	if _, err := sumlog.ParseHead(held, note.VerifierList(own)); err == nil {
		return nil
	}
	err = l.write(ctx, l.renewedKey(l.state.seq-1), l.head.Load().note, blob.WriterOptions{IfNotExist: true, CacheControl: keepNot})
	if contended(err) {
		return nil // another process has
	}
	return err
}
