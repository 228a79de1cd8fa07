package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/athens-go/athens/internal/cache"
	"github.com/athens-go/athens/internal/limit"
	"github.com/athens-go/athens/internal/reload"
)

// Options configures a [File].
type Options struct {
	// Realm is what a client that has to log in is told it logs in to. Empty means
	// "modules".
	Realm string
	// MaxVerified bounds how many secrets are remembered after they were verified, with
	// about 300 bytes each. Zero means 10,000.
	MaxVerified int
	// CheckInterval is how often Run looks whether the file has changed. Zero means
	// one second; a negative value means never.
	CheckInterval time.Duration
	// Logger receives a line when tokens come into force, and an error when a changed
	// file is bad. If it is nil, nothing is logged.
	Logger *slog.Logger
}

// File is a token file in force. All methods may be called at once. Make one with [Open].
type File struct {
	name  string
	text  *reload.File
	opts  Options
	key   []byte // of the keyed hashes, made anew by each process
	slots *limit.Semaphore
	now   atomic.Pointer[inForce]
}

// inForce is a version of the tokens, with the secrets that were compared with them.
type inForce struct {
	*Tokens
	verified *cache.Cache[[sha256.Size]byte, *token] // nil: a wrong secret
}

// wrongTTL is how long a wrong secret is remembered, and not hashed again.
const wrongTTL = time.Minute

// Open reads a token file, see [Parse]. Its tokens are in force until [File.Reload], or
// [File.Run], has read other ones. A nil opts means the zero [Options].
func Open(name string, opts *Options) (*File, error) {
	f := &File{name: name, text: reload.New(name), key: make([]byte, 32), slots: limit.NewSemaphore(max(runtime.GOMAXPROCS(0)/2, 1))}
	if opts != nil {
		f.opts = *opts
	}
	if f.opts.MaxVerified < 0 {
		return nil, errors.New("auth: MaxVerified is negative")
	}
	if f.opts.MaxVerified == 0 {
		f.opts.MaxVerified = 10_000
	}
	if f.opts.Realm == "" {
		f.opts.Realm = "modules"
	}
	if f.opts.CheckInterval == 0 {
		f.opts.CheckInterval = time.Second
	}
	if f.opts.Logger == nil {
		f.opts.Logger = slog.New(slog.DiscardHandler)
	}
	_, _ = rand.Read(f.key) // it never fails
	return f, f.text.Read(f.load)
}

// Reload reads the file again. If its text is wrong, or it is gone or has become empty, the
// tokens that are in force stay, the error names the line, and the log has it.
func (f *File) Reload() error {
	err := f.text.Read(f.load)
	if err != nil {
		f.opts.Logger.Error("the token file is bad; the tokens from before stay in force", "file", f.name, "error", err)
		return err
	}
	f.opts.Logger.Info("tokens reloaded", "file", f.name, "tokens", len(f.now.Load().byName))
	return nil
}

func (f *File) load(empty bool) error {
	tokens, err := ReadFile(f.name)
	if err != nil {
		return err
	}
	if before := f.now.Load(); before != nil && empty {
		return fmt.Errorf("%s: the file has become empty; a comment in it says that no tokens are meant", f.name)
	}
	const each = 300 // bytes, roughly what the cache counts for an entry
	f.now.Store(&inForce{tokens, cache.New(int64(f.opts.MaxVerified)*each, func([sha256.Size]byte, *token) int64 { return 0 })})
	return nil
}

// Run reads the file again whenever it has changed, until ctx is done. A file that changes
// is left alone until it has been the same for one CheckInterval.
func (f *File) Run(ctx context.Context) {
	f.text.Run(ctx, f.opts.CheckInterval, func() { _ = f.Reload() }) // the log has what is wrong
}

// noToken is the hash that the secret of an unknown name is compared with, so that the time
// an answer takes does not tell whether there is such a name.
const noToken = "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"

// verify returns the token of a secret, nil if it is none. The error is that it could not be
// compared: too many others are.
func (f *File) verify(ctx context.Context, user, secret string) (*token, error) {
	now := f.now.Load()
	mac := hmac.New(sha256.New, f.key)
	_, _ = mac.Write([]byte(user))
	_, _ = mac.Write([]byte{0})
	_, _ = mac.Write([]byte(secret))
	var sum [sha256.Size]byte
	mac.Sum(sum[:0])
	if t, known := now.verified.Get(sum); known {
		return t, nil
	}
	if secret == "" || len(secret) > maxSecret {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := f.slots.Acquire(ctx); err != nil {
		return nil, err
	}
	defer f.slots.Release()
	if t, known := now.verified.Get(sum); known { // another request with the same
		return t, nil
	}
	t, hash := now.find(user, secret), []byte(noToken)
	if t != nil {
		hash = t.hash
	}
	if bcrypt.CompareHashAndPassword(hash, []byte(secret)) != nil || t == nil {
		now.verified.PutFor(sum, nil, wrongTTL)
		return nil, nil
	}
	now.verified.Put(sum, t)
	return t, nil
}
