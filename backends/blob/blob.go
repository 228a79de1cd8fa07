// Package blob keeps module versions in an object store: S3 and compatible services, Google
// Cloud Storage, or Azure, by way of gocloud.dev/blob. [Ledger] keeps a checksum database of
// them in the same bucket.
//
//	import _ "gocloud.dev/blob/s3blob" // or gcsblob, azureblob: link only the driver that you use
//
//	store, err := blob.OpenURL(ctx, "s3://modules?region=eu-central-1", nil)
//	handler, err := athens.NewHandler(store, &athens.Options{…})
//
// Any number of processes can share a bucket. There is no lock and no index. The store needs one
// promise of the service: of several writers that create the same object, one wins and the
// others are told. [New] tests this promise, and so does each write: it writes the new object a
// second time, and the service must refuse. Writes of one process that end at the same time
// share that request. If the service breaks the promise, the write returns an error that says so.
//
// # The life of a version
//
// Put creates one object with the .info as its first line and the .mod as the rest, so that
// readers see both or neither.
//
//	mod/example.com/!mod/@v/v1.0.0       {"Version":"v1.0.0","Time":…}⏎module example.com/Mod⏎…
//	zip/example.com/!mod/@v/v1.0.0.zip   the zip; its h1 is in the object's metadata
//	taken/example.com/!mod/@v/v1.0.0/0000000001   what was decided about it: removed, hidden, restored
//	sums/sum.example.com/…               answers of checksum databases, as [Store.PutSumDB] was given them
//	.athens/probe                        the object with which New tries conditional writes
//
// Stage is a local temporary file, which readers follow and the check reads. Commit uploads it,
// in parts if it is large, unless there is a zip already; the object appears as a whole with the
// last part. If another writer was faster, the store compares: the same content is success,
// other content is the [athens.ConflictError] that the contract promises.
//
// A request may fail although it took effect, and the SDKs repeat failed requests; the second
// one then meets the object of the first. So after any failed write, the store reads the object
// and compares.
//
// What is removed is an empty object in the place of each, which no writer replaces. Only a
// Remove or an Evict deletes objects, or a Put of what was restored.
//
// # What is missing
//
// Services also answer "no such object" for a missing bucket, a wrong region or, some of them,
// missing permissions. If the service does not say that the key itself is missing, a listing
// must confirm it. Everything else is a failure of the store.
package blob

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/cache"
	"gocloud.dev/blob"
)

// Options adjusts a [Store]. A nil *Options is the same as a zero one.
type Options struct {
	// Policy

	// ZipURLTTL lets clients read zips from the service itself: it is how long the
	// signed URLs that they are sent to are good. Zero means that the store
	// streams zips. See [Store.ZipURL].
	ZipURLTTL time.Duration
	// Unprobed leaves out the probe of New, which writes: for a server that
	// may only read. Nothing must be stored through it.
	Unprobed bool

	// Freshness

	// CacheTTL is how long the store uses what it has cached (see CacheBytes) without
	// asking the service again.
	// Versions don't change, so it matters only for objects that somebody deletes.
	// Zero means 5 minutes.
	//
	// It is also how long a process may serve a version that another one has removed. The
	// process that removes it stops at once, and another one that reads the marks of the
	// module meanwhile stops then.
	CacheTTL time.Duration
	// MarksTTL is how long the store uses the marks of a module's versions (see
	// [Store.Marks]) without asking the service again: how long a process may list what
	// another one has hidden, or refuse what another one has restored. Zero means 1 minute;
	// a negative value means none.
	MarksTTL time.Duration

	// Timeouts

	// Timeout bounds one request about a small object, one page of a listing,
	// and each wait for more of a zip, with all the SDK's own retries. Zero means 30
	// seconds.
	Timeout time.Duration
	// UploadTimeout bounds the upload of one zip. Zero means 10 minutes.
	UploadTimeout time.Duration

	// Limits

	// TempDir is the folder for zips that are being stored; it needs room for all that
	// arrive at once. Empty means the system's, see [os.TempDir].
	TempDir string
	// CacheBytes bounds the memory for versions that the store has seen: each
	// .info and .mod, the size of zips, and marks, which take an eighth of it at most.
	// Zero means 32 MiB; a negative value means none.
	CacheBytes int64
	// MaxModBytes bounds a .mod in bytes, read or written; each is held in memory.
	// Zero means 32 MiB, as in [athens.Options].
	MaxModBytes int64
	// MaxSumDBBytes bounds what the bucket holds of all checksum databases, in bytes, where
	// an answer counts as a multiple of 4 KiB. Several processes may exceed it by what they
	// store in an hour. Zero means 1 GiB; a negative value means none.
	MaxSumDBBytes int64
}

// Store is an [athens.Storage] in a bucket.
type Store struct {
	bucket *blob.Bucket
	owned  bool // opened here, and closed by Close
	opts   Options
	seen   memory
	marks  *cache.Cache[string, marked]
	proofs proofs
	sums   sums

	parts     chan struct{} // taken while conditions on parts are tried
	partsSeen time.Time     // when they were last honored
}

var (
	_ athens.Storage    = (*Store)(nil)
	_ athens.Lister     = (*Store)(nil)
	_ athens.ZipLocator = (*Store)(nil)
	_ athens.Remover    = (*Store)(nil)
	_ athens.SumDBStore = (*Store)(nil)
)

// New makes a store in a bucket, which stays the caller's to close. A store that
// is to share a bucket with other things is given a gocloud.dev/blob.PrefixedBucket.
//
// New asks the service, once or twice, to create an object that exists; so it fails
// while the service is down. A service that creates it would let one writer replace
// what another has stored, and is refused. [Store.Check] also tries that with a large
// object.
func New(ctx context.Context, bucket *blob.Bucket, opts *Options) (*Store, error) {
	if bucket == nil {
		return nil, errors.New("blob: New needs a bucket; bucket is nil")
	}
	var o Options
	if opts != nil {
		o = *opts
	}
	if err := o.withDefaults(); err != nil {
		return nil, err
	}
	s := &Store{bucket: bucket, opts: o, seen: newMemory(o.CacheBytes-o.CacheBytes/8, o.CacheTTL), marks: newMarks(o.CacheBytes / 8), parts: make(chan struct{}, 1)}
	s.sums = sums{most: max(o.MaxSumDBBytes, 0), turn: make(chan struct{}, 1)}
	if o.Unprobed {
		return s, nil
	}
	if err := s.probe(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// OpenURL opens a bucket by a URL, as gocloud.dev/blob.OpenBucket does, and makes a
// store in it that [Store.Close] ends. The driver of the URL's scheme must have been
// imported. Credentials come from where the service's SDK looks for them.
func OpenURL(ctx context.Context, url string, opts *Options) (*Store, error) {
	bucket, err := blob.OpenBucket(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("blob: %w", opaque(err))
	}
	s, err := New(ctx, bucket, opts)
	if err != nil {
		_ = bucket.Close()
		return nil, err
	}
	s.owned = true
	return s, nil
}

// Close closes the bucket if [OpenURL] has opened it. Nothing may be asked of
// the store afterwards.
func (s *Store) Close() error {
	if !s.owned {
		return nil
	}
	return s.bucket.Close()
}

// withDefaults sets the default for each zero, and refuses invalid values.
func (o *Options) withDefaults() error {
	for name, n := range map[string]int64{
		"CacheTTL": int64(o.CacheTTL), "MaxModBytes": o.MaxModBytes, "Timeout": int64(o.Timeout),
		"UploadTimeout": int64(o.UploadTimeout), "ZipURLTTL": int64(o.ZipURLTTL),
	} {
		if n < 0 {
			return fmt.Errorf("blob: Options.%s must not be negative", name)
		}
	}
	const mostMod, mostURL = 1 << 30, 7 * 24 * time.Hour
	if o.MaxModBytes > mostMod {
		return fmt.Errorf("blob: MaxModBytes is %d, more than %d", o.MaxModBytes, mostMod)
	}
	if o.ZipURLTTL > mostURL { // the most that S3 and GCS sign
		return fmt.Errorf("blob: ZipURLTTL is %v, more than %v", o.ZipURLTTL, mostURL)
	}
	o.TempDir = cmp.Or(o.TempDir, os.TempDir())
	if dir, err := os.Stat(o.TempDir); err != nil {
		return fmt.Errorf("blob: TempDir: %w", err)
	} else if !dir.IsDir() {
		return fmt.Errorf("blob: TempDir: %s is not a folder", o.TempDir)
	}
	o.CacheBytes = cmp.Or(o.CacheBytes, 32<<20)
	o.CacheTTL = cmp.Or(o.CacheTTL, 5*time.Minute)
	o.MarksTTL = cmp.Or(o.MarksTTL, time.Minute)
	o.MaxModBytes = cmp.Or(o.MaxModBytes, 32<<20)
	o.MaxSumDBBytes = cmp.Or(o.MaxSumDBBytes, 1<<30)
	o.Timeout = cmp.Or(o.Timeout, 30*time.Second)
	o.UploadTimeout = cmp.Or(o.UploadTimeout, 10*time.Minute)
	return nil
}
