package auth

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/cache"
	"github.com/athens-go/athens/internal/limit"
	"github.com/athens-go/athens/internal/reload"
)

// Options configures a [File].
type Options struct {
	// Realm is what a client that has to log in is told it logs in to. Empty means
	// "modules".
	Realm string
	// MaxVerified bounds how many logins are remembered after they were verified, with
	// about 300 bytes each. Zero means 10,000.
	MaxVerified int
	// CheckInterval is how often Run looks whether the file has changed. Zero means
	// one second; a negative value means never.
	CheckInterval time.Duration
	// Verify returns who presents a secret that no token file has. It is asked before the
	// file is, with each request; the file decides about a secret of which it knows nothing
	// (nil, nil). A secret that it refuses is an [*athens.RefusedError] of Status 401, and
	// one that it can't verify now any other error, which is answered as [athens.Status]
	// says. If it is nil, there are no other secrets.
	Verify func(ctx context.Context, secret string) (*Identity, error)
	// MaxWrongLogins is how many wrong logins an address (of IPv6 a /64) may present at
	// once, and how many in a minute. Further ones are answered with 429 and are not
	// compared with a hash; a right one is admitted all the same if it was verified before,
	// or its line has a check. A line without one has a number of its own, so that wrong
	// logins with other names don't lock its token out. Zero means 10; a negative value
	// means no limit.
	MaxWrongLogins int
	// Logger receives a line when tokens come into force, an error when a changed file is
	// bad, and a warning when an address reaches MaxWrongLogins, at most once a minute for
	// each. If it is nil, nothing is logged.
	Logger *slog.Logger
}

// File is a token file in force. All methods may be called at once. Make one with [Open].
type File struct {
	name     string
	text     *reload.File
	opts     Options
	key      []byte // of the keyed hashes, made anew by each process
	slots    *limit.Keyed[[sha256.Size]byte]
	wrong    *wrongLogins
	verified *cache.Cache[[sha256.Size]byte, verdict]
	now      atomic.Pointer[inForce]
}

// inForce is a version of the tokens.
type inForce struct {
	*Tokens
	version uint64
}

// verdict is what became of a secret that was compared with the tokens of a version.
type verdict struct {
	t       *token // nil: it was wrong
	version uint64
}

// token returns the token that a verdict is of, if it is still in force. What was wrong may
// be right by other tokens.
func (now *inForce) token(v verdict) (t *token, holds bool) {
	if v.version == now.version {
		return v.t, true
	}
	if v.t == nil {
		return nil, false
	}
	t = now.byName[v.t.Name]
	return t, t != nil && bytes.Equal(t.hash, v.t.hash)
}

// wrongTTL is how long a wrong secret is remembered, and not hashed again.
const wrongTTL = time.Minute

// Open reads a token file, see [Parse]. Its tokens are in force until [File.Reload], or
// [File.Run], has read other ones. An empty name is no file: then [Options.Verify], which must
// not be nil, alone lets clients in. A nil opts means the zero [Options].
func Open(name string, opts *Options) (*File, error) {
	f := &File{name: name, text: reload.New(name), key: make([]byte, 32), slots: limit.NewKeyed[[sha256.Size]byte](1, max(runtime.GOMAXPROCS(0)/2, 1), 1000)}
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
	if name == "" && f.opts.Verify == nil {
		return nil, errors.New("auth: Open needs the name of a token file, or Options.Verify")
	}
	if f.opts.MaxWrongLogins == 0 {
		f.opts.MaxWrongLogins = 10
	}
	f.wrong = newWrongLogins(f.opts.MaxWrongLogins, f.opts.Logger)
	const each = 320 // bytes, roughly what the cache counts for an entry
	f.verified = cache.New(int64(f.opts.MaxVerified)*each, func([sha256.Size]byte, verdict) int64 { return 0 })
	_, _ = rand.Read(f.key) // it never fails
	return f, f.text.Read(f.load)
}

// Reload reads the file again. If its text is wrong, or it is gone or has become empty, the
// tokens that are in force stay, the error names the line, and the log has it.
func (f *File) Reload() error {
	err := f.text.Read(f.load)
	if err != nil {
		f.opts.Logger.Error("the token file has an error; the previous tokens stay in force", "file", f.name, "error", err)
		return err
	}
	f.opts.Logger.Info("tokens reloaded", "file", f.name, "tokens", len(f.now.Load().byName))
	return nil
}

func (f *File) load(empty bool) error {
	tokens, err := &Tokens{}, error(nil)
	if f.name != "" {
		tokens, err = ReadFile(f.name)
	}
	if err != nil {
		return err
	}
	next := &inForce{Tokens: tokens}
	if before := f.now.Load(); before != nil {
		if empty {
			return fmt.Errorf("%s: the file has become empty; to have no tokens, put a comment in it", f.name)
		}
		next.version = before.version + 1
	}
	f.now.Store(next)
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

// verify returns who makes a request that presents something. The error says why it was not
// accepted: an [*athens.RefusedError] of Status 401 if it is wrong and 429 if too many from its
// address were, and any other if it could not be compared.
func (f *File) verify(r *http.Request) (*Identity, error) {
	if f.opts.Verify != nil {
		if who, err := f.askVerify(r); who != nil || err != nil {
			return who, err
		}
	}
	now, sum := f.now.Load(), f.sum(r.Header.Get("Authorization"))
	if v, known := f.verified.Get(sum); known && v.t != nil {
		if t, holds := now.token(v); holds {
			return &t.Identity, nil
		}
	}
	t, err := f.compare(r, now, sum)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, &athens.RefusedError{Status: http.StatusUnauthorized, Reason: "this login is not valid"}
	}
	return &t.Identity, nil
}

// askVerify asks Options.Verify about what a request presents.
func (f *File) askVerify(r *http.Request) (*Identity, error) {
	_, secret := login(r)
	who, err := f.opts.Verify(r.Context(), secret)
	if wrong, ok := errors.AsType[*athens.RefusedError](err); ok && wrong.Status == http.StatusUnauthorized {
		if wait := f.wrong.count(guessOf(r, nil)); wait > 0 {
			return nil, tooMany(wait)
		}
	}
	return who, err
}

// sum is the keyed hash under which a login is remembered, as the header has it. It does not
// leave this process, and the key, which nobody else knows, comes first.
func (f *File) sum(header string) [sha256.Size]byte {
	var space [256]byte // as much as most need
	return sha256.Sum256(append(append(space[:0], f.key...), header...))
}

// compare returns the token of a login that is not known to be right, nil if it is none. It
// hashes no secret of an address that has presented too many wrong ones, unless the line's
// check says that it is the right one. Of equal logins it hashes one at a time.
func (f *File) compare(r *http.Request, now *inForce, sum [sha256.Size]byte) (right *token, err error) {
	user, secret := login(r)
	t := now.find(user, secret)
	guess := guessOf(r, t)
	likely := t != nil && t.check != "" && t.check == checkOf(secret)
	if wait := f.wrong.look(guess); wait > 0 && !likely {
		return nil, tooMany(wait)
	}
	release, err := f.slots.Acquire(r.Context(), sum, 10*time.Second)
	if err != nil {
		return nil, &athens.UnavailableError{Source: "the login", Err: errors.New("too many others are compared at once; try again")}
	}
	defer release()
	v, known := f.verified.Get(sum)
	if known { // also of another request with the same
		if t, holds := now.token(v); holds && t != nil {
			return t, nil
		}
		known = v.version == now.version // and wrong
	}
	if !likely {
		if wait := f.wrong.begin(guess); wait > 0 {
			return nil, tooMany(wait)
		}
		defer func() { f.wrong.end(guess, right == nil) }()
	}
	if known || secret == "" || len(secret) > maxSecret {
		return nil, nil
	}
	hash := []byte(noToken)
	if t != nil {
		hash = t.hash
	}
	if bcrypt.CompareHashAndPassword(hash, []byte(secret)) != nil || t == nil {
		f.verified.PutFor(sum, verdict{nil, now.version}, wrongTTL)
		return nil, nil
	}
	f.verified.Put(sum, verdict{t, now.version})
	return t, nil
}
